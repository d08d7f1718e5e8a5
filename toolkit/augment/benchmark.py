"""How fast a chain of augmentations is: ours, keras-cv's, albumentations' and Pillow's."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import tensorflow as tf

from toolkit.augment import chain, peers
from toolkit.augment.peers import PEERS, Workers
from toolkit.core.config import Operation
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.dataset import Samples

BATCH = 64
ROUNDS = 3  # in which the forms take turns: the machine's speed varies over time
# Before the first turn, or all the measuring time if that is less: XLA compiles each kernel of ours
# for several numbers of images, which a training of many minutes does once.
WARM_UP_SECONDS = 4.0
IDLE_SECONDS = 0.1  # between two looks at whether this process still computes
IDLE_SHARE = 0.2  # of a core, below which it does not
IDLE_LIMIT = 10.0  # seconds after which it is measured anyhow
THREADS = Path("/proc/self/task")  # one folder for each thread of this process

# From seconds to images/s in about that time.
Meter = Callable[[float], float]


@dataclass(frozen=True)
class Speeds:
    """Images/s of the forms of one chain, or of one operation at rate 1.

    subject: its name. threads: the number of cores. operations: how many are in it. of: how many
    the preset has. images_per_second: of "ours", and of each peer that has all of them.
    """

    subject: str
    threads: int
    operations: int
    of: int
    images_per_second: dict[str, float]

    @property
    def ours(self) -> float:
        return self.images_per_second["ours"]

    @property
    def ratios(self) -> dict[str, float]:
        """Ours to each peer's."""
        return {
            peer: round(self.ours / speed, 2)
            for peer, speed in self.images_per_second.items()
            if peer != "ours"
        }


def count_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def find_lacking(operations: Sequence[Operation]) -> dict[str, list[str]]:
    """For each peer those of `operations` that it has no form of; "keras-cv" is the naive map."""
    names = list(dict.fromkeys(operation.name for operation in operations))
    # RandomApply holds no layer that mixes images.
    lacking = {"keras-cv": [name for name in names if name in chain.MIXING]}
    for peer, (_, known) in PEERS.items():
        lacking[peer] = [name for name in names if name not in known]
    return lacking


def measure_chain(
    subject: str,
    operations: tuple[Operation, ...],
    samples: Samples,
    threads: int,
    seconds: float,
    progress: Progress = silent,
) -> list[Speeds]:
    """Images/s of `operations` on `threads` cores, from uint8 images to batches: ours, and each
    peer's on those of them that the peer has.

    Peers that have the same operations share a row. seconds: of measuring each form, in ROUNDS
    turns, of which the median counts. "keras-cv" is what its user writes: each layer under
    RandomApply, mapped over batches of 64. The peers that are not installed are left out. Raises
    InputError where there is nothing to measure, or fewer cores.
    """
    operations = _keep_active(operations)
    lacking = find_lacking(operations)
    rows: dict[tuple[Operation, ...], list[str]] = {}
    for peer, names in lacking.items():
        shared = tuple(each for each in operations if each.name not in names)
        if shared and _can_measure(peer):
            rows.setdefault(shared, []).append(peer)
    # Ours alone, where every peer lacks something.
    rows.setdefault(operations, [])
    measured = []
    with _use_cores(samples, threads) as workers:
        for number, (shared, having) in enumerate(rows.items()):
            progress(number, len(rows), f"{subject}: {', '.join(['ours', *having])}")
            speeds = _compare(shared, having, samples, threads, workers, seconds)
            measured.append(Speeds(subject, threads, len(shared), len(operations), speeds))
    return measured


def measure_each(
    operations: tuple[Operation, ...],
    samples: Samples,
    threads: int,
    seconds: float,
    progress: Progress = silent,
) -> list[Speeds]:
    """The same for each of `operations` alone, on every image; equal ones once."""
    operations = _keep_active(operations)
    alone = {(each.name, each.factor): each for each in operations}
    measured = []
    with _use_cores(samples, threads) as workers:
        for number, ((name, factor), _) in enumerate(alone.items()):
            progress(number, len(alone), name)
            operation = Operation(name=name, factor=factor)
            having = [
                peer
                for peer, names in find_lacking([operation]).items()
                if not names and _can_measure(peer)
            ]
            speeds = _compare((operation,), having, samples, threads, workers, seconds)
            measured.append(Speeds(f"{name} {factor:g}", threads, 1, 1, speeds))
    return measured


def _can_measure(peer: str) -> bool:
    return peer not in PEERS or peers.is_installed(peer)  # keras-cv always is


def _keep_active(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """Those that change anything. Raises InputError when none does."""
    active = tuple(operation for operation in operations if operation.rate and operation.factor)
    if not active:
        raise InputError(
            "the preset has no augmentations to measure.", "Choose a preset with augmentations."
        )
    return active


def _compare(
    operations: tuple[Operation, ...],
    having: Sequence[str],
    samples: Samples,
    threads: int,
    workers: Workers,
    seconds: float,
) -> dict[str, float]:
    """Images/s of ours and of the peers `having` the operations, in turns."""
    meters = {"ours": _make_stream_meter(chain.build_chain, operations, samples, threads)}
    for peer in having:
        if peer in PEERS:
            meters[peer] = _make_worker_meter(workers, peer, operations)
        else:
            build = chain.build_random_apply_chain
            meters[peer] = _make_stream_meter(build, operations, samples, threads)
    for meter in meters.values():
        meter(min(seconds, WARM_UP_SECONDS))
    turns = [
        {name: meter(seconds / ROUNDS) for name, meter in meters.items()} for _ in range(ROUNDS)
    ]
    return {name: round(median(turn[name] for turn in turns), 1) for name in meters}


def _make_worker_meter(workers: Workers, peer: str, operations: tuple[Operation, ...]) -> Meter:
    return lambda seconds: workers.measure(peer, operations, BATCH, seconds)


def _make_stream_meter(
    build: Callable[[tuple[Operation, ...], tuple[int, int]], chain.Chain],
    operations: tuple[Operation, ...],
    samples: Samples,
    threads: int,
) -> Meter:
    """Measures a chain of `build` in tf.data, whose threads make a batch each."""
    augmentation = build(operations, samples.images.shape[1:3])
    labels = tf.one_hot(samples.labels, len(samples.class_names))
    batches = tf.data.Dataset.from_tensor_slices((samples.images, labels))
    # Whole batches alone: what XLA compiles for a last, smaller one is not what is measured.
    batches = batches.repeat().batch(BATCH, drop_remainder=True).enumerate()

    def augment_batch(
        number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([0, tf.cast(number, tf.int32)])
        return augmentation(tf.cast(batch[0], tf.float32), batch[1], seed)

    stream = batches.map(augment_batch, num_parallel_calls=threads)

    def measure(seconds: float) -> float:
        iterator = iter(stream)
        for _ in range(threads + 1):  # tracing, and the batches that are begun at once
            next(iterator)
        started, images = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            images += len(next(iterator)[0])
        speed = images / (time.perf_counter() - started)
        # Batches that were begun must not take time from the next form.
        del iterator
        _wait_until_idle()
        return speed

    return measure


def _wait_until_idle() -> None:
    end = time.perf_counter() + IDLE_LIMIT
    while time.perf_counter() < end:
        used = time.process_time()
        time.sleep(IDLE_SECONDS)
        if time.process_time() - used < IDLE_SHARE * IDLE_SECONDS:
            return


@contextmanager
def _use_cores(samples: Samples, count: int) -> Iterator[Workers]:
    """In this block, this process and `count` workers run on `count` cores."""
    available = count_cores()
    if count > available:
        raise InputError(
            f"{count} cores were asked for, and cbtool may use {available}.",
            f"Use --threads {available} or less.",
        )
    with ExitStack() as stack:
        if count < available:
            stack.enter_context(_pin(count))
        yield stack.enter_context(peers.start_workers(samples.images, count))


@contextmanager
def _pin(count: int) -> Iterator[None]:
    """Within the block, all threads of this process, and what it starts, run on `count` cores.

    Raises InputError where the system cannot do it.
    """
    if not THREADS.exists():
        raise InputError(
            "only on Linux does cbtool keep its threads on fewer cores.", "Use --threads all."
        )
    cores = os.sched_getaffinity(0)
    chosen = set(sorted(cores)[:count])
    _set_affinity(chosen)
    try:
        yield
    finally:
        _set_affinity(cores)


def _set_affinity(cores: set[int]) -> None:
    for thread in THREADS.iterdir():
        try:
            os.sched_setaffinity(int(thread.name), cores)
        except ProcessLookupError:  # it ended meanwhile
            continue
