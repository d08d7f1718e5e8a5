"""The arithmetic of the layers: which of Keras' dtype policies suits this machine."""

import tensorflow as tf

BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA's Ampere, the first with bfloat16 matrix units


def policy(wanted: str) -> str:
    """The policy for `wanted`: itself, or for "auto" the fastest that this machine's first device
    has.

    CPUs get float32: a training step of ConvNeXt-Tiny took as long in bfloat16 (24.6 against 24.3
    images/s on 2 cores with bfloat16 units). Keras scales the loss by itself under mixed_float16.
    """
    if wanted != "auto":
        return wanted
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return "float32"
    capability = tf.config.experimental.get_device_details(devices[0]).get(
        "compute_capability", (0, 0)
    )
    return "mixed_bfloat16" if tuple(capability) >= BFLOAT16_CAPABILITY else "mixed_float16"
