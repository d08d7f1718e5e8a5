"""What differs between the backends of Keras, TensorFlow and JAX.

tf.data and keras-cv feed the training whatever the backend, so TensorFlow is always there.
"""

import importlib
from collections.abc import Callable
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


def make_deterministic() -> None:
    """Has the same operations give the same bits. JAX on a CPU does so anyway; on a GPU it needs
    XLA_FLAGS=--xla_gpu_deterministic_ops=true before it starts."""
    tf.config.experimental.enable_op_determinism()


def compile_prediction(model: keras.Model) -> Callable[[Any], np.ndarray]:
    """A function from a batch to what `model` gives for it, as in prediction, as an array.

    It sees the weights that the model has when it is called. On JAX, the devices of a distribution
    share the batch; where several processes train together, all of them call it with the same one.
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

    distribution = keras.distribution.distribution()
    if distribution is None:
        stateless, share = jax.jit(run_stateless), np.asarray
    else:
        stateless, share = _spread(run_stateless, distribution, jax)

    def predict_stateless(inputs: Any) -> np.ndarray:
        trainable = [variable.value for variable in model.trainable_variables]
        fixed = [variable.value for variable in model.non_trainable_variables]
        outputs = stateless(trainable, fixed, share(np.asarray(inputs)))
        return np.asarray(outputs)[: len(inputs)]

    return predict_stateless


def _spread(run: Callable[..., Any], distribution: Any, jax: Any) -> tuple[Any, Any]:
    """`run`, compiled such that every process has all that it gives; and what lays a batch, filled
    up to a multiple of the devices, on all of them."""
    mesh = distribution.device_mesh.backend_mesh
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def share(batch: np.ndarray) -> Any:
        missing = -len(batch) % mesh.size
        batch = np.concatenate([batch, batch[:1].repeat(missing, axis=0)])
        layout = distribution.get_data_layout(batch.shape).backend_layout
        # Unlike device_put, without comparing the batches of all processes.
        return jax.make_array_from_callback(batch.shape, layout, lambda part: batch[part])

    return jax.jit(run, out_shardings=everywhere), share


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
