"""What differs between the backends of Keras, TensorFlow and JAX.

tf.data and keras-cv feed the training whatever the backend, so TensorFlow is always there.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from toolkit.core.errors import InputError

# What JAX's errors of the machine say where memory ran out.
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


def name() -> str:
    """The backend that Keras runs on in this process."""
    return str(keras.backend.backend())


def require(wanted: str) -> None:
    """Raises InputError unless this process runs Keras on the backend `wanted`: Keras chooses it
    when it is imported, from the variable KERAS_BACKEND."""
    if name() != wanted:
        raise InputError(
            f"Keras runs on {name()} in this process, not on {wanted}.",
            f"Start a new one with the environment variable KERAS_BACKEND={wanted}.",
        )


@contextmanager
def distribute() -> Iterator[int]:
    """Networks that are built and trained in this block are copied to all GPUs, or where there is
    none to all CPU devices, and each trains on its part of every batch; yields their number.

    Raises InputError on a backend that cannot do it, and where there is only one device.
    """
    if name() != "tensorflow":
        # keras.distribution splits only batches that are divisible by the devices, and an epoch's
        # last batch is as large as it happens to be.
        raise InputError(
            f"--strategy mirrored is for TensorFlow, not for {name()}.",
            "Train with --backend tensorflow, or on one device.",
        )
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise InputError(
            f"--strategy mirrored needs two devices or more; TensorFlow sees {devices[0].name}.",
            "cbtool doctor says whether a GPU is seen; without a second one, leave --strategy out.",
        )
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    with strategy.scope():
        yield strategy.num_replicas_in_sync


def make_deterministic() -> None:
    """Has the same operations give the same bits. JAX on a CPU does so anyway; on a GPU it needs
    XLA_FLAGS=--xla_gpu_deterministic_ops=true before it starts."""
    tf.config.experimental.enable_op_determinism()


def compile_prediction(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """A function from a batch to what `model` gives for it, as in prediction, as an array.

    It sees the weights that the model has when it is called.
    """
    if name() == "tensorflow":

        def run(inputs: Any) -> Any:
            return model(inputs, training=False)

        compiled = tf.function(run, reduce_retracing=True)

        def predict(inputs: Any) -> np.ndarray:
            outputs: np.ndarray = compiled(inputs).numpy()
            return outputs

        return predict
    jax = importlib.import_module("jax")

    def run_stateless(trainable: Any, fixed: Any, inputs: Any) -> Any:
        return model.stateless_call(trainable, fixed, inputs, training=False)[0]

    stateless = jax.jit(run_stateless)

    def predict_stateless(inputs: Any) -> np.ndarray:
        trainable = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        return np.asarray(stateless(trainable, fixed, np.asarray(inputs)))

    return predict_stateless


def list_devices() -> list[str]:
    """The devices that a training runs on."""
    return [str(device) for device in keras.distribution.list_devices()]


def find_capability() -> tuple[int, int] | None:
    """The compute capability of the first GPU; None where there is none, or nobody says."""
    if name() == "jax":
        device = importlib.import_module("jax").devices()[0]
        text = str(getattr(device, "compute_capability", ""))
        major, _, minor = text.partition(".")
        return (int(major), int(minor or 0)) if major.isdigit() else None
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return None
    details = tf.config.experimental.get_device_details(devices[0])
    major, minor = details.get("compute_capability", (0, 0))
    return int(major), int(minor)


def measure_peak_bytes() -> int | None:
    """The most memory of the first GPU that this process has held; None where there is none."""
    if name() == "jax":
        found = importlib.import_module("jax").devices()[0].memory_stats()
        return int(found["peak_bytes_in_use"]) if found else None
    if not tf.config.list_physical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that a device's memory ran out."""
    return isinstance(error, tf.errors.ResourceExhaustedError) or OUT_OF_MEMORY in str(error)
