"""How fast other libraries augment: albumentations and Pillow, in one process a core.

Their Python holds a lock that threads wait for, so that their users start processes. Only the
making of batches counts; what it costs to send them to the process that trains does not.
"""

import importlib.util
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context, parent_process

import numpy as np

from toolkit.augment import albumentations_peer, pillow_peer
from toolkit.core.config import Operation

# name: the function that builds its chain, and the operations that it has.
PEERS = {
    "albumentations": (albumentations_peer.build_chain, frozenset(albumentations_peer.TRANSFORMS)),
    "pillow": (pillow_peer.build_chain, frozenset(pillow_peer.CHANGES)),
}
PACKAGES = {"albumentations": "albumentations", "pillow": "PIL"}

# The images of a worker, [n, h, w, 3], set once by `_begin`.
_IMAGES: list[np.ndarray] = []


def is_installed(peer: str) -> bool:
    """Whether the package of `peer`, one of PEERS, can be imported."""
    return importlib.util.find_spec(PACKAGES[peer]) is not None


class Workers:
    """Processes that augment, each on its own. `start_workers` makes them."""

    def __init__(self, pool: ProcessPoolExecutor, count: int):
        self._pool, self._count = pool, count

    def measure(
        self, peer: str, operations: Sequence[Operation], batch: int, seconds: float
    ) -> float:
        """Images/s of all processes together, in batches of `batch`, for `seconds` each."""
        jobs = [
            self._pool.submit(_measure, peer, tuple(operations), batch, seconds, seed)
            for seed in range(self._count)
        ]
        return sum(job.result() for job in jobs)


@contextmanager
def start_workers(images: np.ndarray, count: int) -> Iterator[Workers]:
    """`count` processes that augment `images` uint8 [n, h, w, 3].

    They run on the cores that the calling thread may use.
    """
    # A copy of this process would have TensorFlow's threads' locks, but not the threads.
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (images,))
    with pool:
        yield Workers(pool, count)


def _begin(images: np.ndarray) -> None:
    # Ctrl-C is for the process that waits: it ends this one after the measurement.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    _IMAGES[:] = [images]
    # A parent that is killed does not end its workers, which would wait for work for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _measure(
    peer: str, operations: tuple[Operation, ...], batch: int, seconds: float, seed: int
) -> float:
    """Images/s of this process."""
    images = _IMAGES[0]
    build, _ = PEERS[peer]
    change = build(operations, images.shape[1:3], seed)

    def make_batch(first: int) -> int:
        places = (np.arange(batch) + first) % len(images)
        return len(np.stack([change(images[place]) for place in places]))

    make_batch(0)  # imports, and tables that are made once
    started, made = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        made += make_batch(made)
    return made / (time.perf_counter() - started)
