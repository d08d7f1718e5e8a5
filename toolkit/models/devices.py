"""Training on several devices, by the engines of the backends: those of this machine, or those of
several processes, which may run on several hosts.

TensorFlow: tf.distribute. JAX: keras.distribution, and jax.distributed for several processes.
"""

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from toolkit.core.damage import describe
from toolkit.core.errors import CbtoolError, InputError, WorkerError
from toolkit.models import backend

# How Keras is told of the processes, where no cluster's manager does it. A text, because
# keras.distribution reads them itself.
VARIABLES = {
    "KERAS_DISTRIBUTION_JOB_ADDRESSES": "host:port of the first process",
    "KERAS_DISTRIBUTION_NUM_PROCESSES": "how many there are",
    "KERAS_DISTRIBUTION_PROCESS_ID": "the number of this one, from 0 on",
}
# What JAX says where another process is gone: its connection has ended, or the service that all
# of them report to has missed it.
LOST = ("Gloo", "NCCL", "Connection reset", "Connection closed", "heartbeat", "another task died")


@dataclass(frozen=True)
class Devices:
    """What shares each batch. count: of devices in all. processes: that run them; process: the
    number of this one."""

    count: int
    processes: int = 1
    process: int = 0


def count_processes() -> tuple[int, int]:
    """How many processes train together, and the number of this one: 1 and 0, unless `distribute`
    has joined several."""
    if backend.name() != "jax":
        return 1, 0
    jax = importlib.import_module("jax")
    return jax.process_count(), jax.process_index()


def distribute(strategy: str) -> AbstractContextManager[Devices]:
    """Networks that are built and trained in this block are copied to all devices, and each trains
    on its part of every batch.

    mirrored: to all GPUs of this machine, or where there is none to all CPU devices. multiworker:
    to the devices of all processes that were started for it (JAX only), which see one another by
    the manager of a cluster or by VARIABLES; all run the same program on the same data. Raises
    InputError where the backend cannot do that, where there is only one device, or where the other
    processes are not found.
    """
    if strategy == "multiworker":
        return _join_processes()
    return _mirror() if backend.name() == "tensorflow" else _split_batches()


@contextmanager
def _mirror() -> Iterator[Devices]:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    _require_several([device.name for device in devices], "TensorFlow", "mirrored")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        yield Devices(strategy.num_replicas_in_sync)


@contextmanager
def _split_batches() -> Iterator[Devices]:
    with _distribution("mirrored") as count:
        yield Devices(count)


@contextmanager
def _join_processes() -> Iterator[Devices]:
    if backend.name() != "jax":
        raise InputError(
            "--strategy multiworker is for JAX: Keras 3 does not train with TensorFlow's "
            "MultiWorkerMirroredStrategy.",
            "Train with --backend jax; or on the devices of one machine, --strategy mirrored.",
        )
    # Otherwise Keras draws a seed, for which all processes would have to agree. Each run sets its
    # own afterwards.
    keras.utils.set_random_seed(0)
    try:
        if not importlib.import_module("jax").distributed.is_initialized():
            keras.distribution.initialize()
    except (ValueError, LookupError, RuntimeError) as error:
        names = ", ".join(f"{name} ({what})" for name, what in VARIABLES.items())
        raise InputError(
            f"the other processes of --strategy multiworker are not found: {describe(error)}.",
            f"SLURM, Open MPI and TPU pods tell them of one another; elsewhere, set {names}.",
        ) from error
    with _distribution("multiworker") as count:
        jax = importlib.import_module("jax")
        # Each reads an equal part of a batch.
        require_same(jax.local_device_count(), "equal numbers of devices")
        yield Devices(count, *count_processes())


@contextmanager
def _distribution(strategy: str) -> Iterator[int]:
    """Distributes by Keras over all devices that JAX sees; yields their number."""
    devices = keras.distribution.list_devices()
    _require_several(devices, "JAX", strategy)
    # Each process reads its own part of a batch already (`toolkit.augment.parts`).
    with keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope():
        yield len(devices)


def _require_several(devices: list[str], engine: str, strategy: str) -> None:
    if len(devices) < 2:
        raise InputError(
            f"--strategy {strategy} needs two devices or more; {engine} sees {devices[0]}.",
            "cbtool doctor says whether a GPU is seen; without a second one, leave --strategy out.",
        )


def require_same(value: int, what: str) -> None:
    """Raises InputError unless all processes that train together give the same `value`, 32 bits,
    of `what`, such as "the same images"."""
    if count_processes()[0] == 1:
        return
    multihost = importlib.import_module("jax.experimental.multihost_utils")
    if len(np.unique(multihost.process_allgather(np.uint32(value)))) > 1:
        raise InputError(
            f"the processes of this training do not have {what}.",
            "Start all of them with the same command and the same files.",
        )


def explain_loss(error: BaseException) -> WorkerError | None:
    """What a user is told where `error` says that another process of the training is gone; None for
    other errors."""
    if isinstance(error, CbtoolError) or count_processes()[0] == 1:
        return None
    if not any(word in str(error) for word in LOST):
        return None
    return WorkerError(
        "another process of this training has ended, or its host cannot be reached.",
        "What it printed last says why; the run goes on without it, on one device, too.",
    )
