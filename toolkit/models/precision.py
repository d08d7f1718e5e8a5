"""The arithmetic of the layers: which of Keras' dtype policies is the fastest on this machine."""

from toolkit.models import backend

BFLOAT16_CAPABILITY = (8, 0)  # NVIDIA's Ampere, the first with bfloat16 matrix units


def policy(wanted: str) -> str:
    """The name of the policy: `wanted` itself, or for "auto" the fastest of this machine's first
    GPU, or its CPU.

    CPUs get float32: a training step of ConvNeXt-Tiny took as long in bfloat16 (24.6 against 24.3
    images/s on 2 cores with bfloat16 units). Under mixed_float16, Keras scales the loss by itself.
    """
    if wanted != "auto":
        return wanted
    capability = backend.find_capability()
    if capability is None:
        return "float32"
    return "mixed_bfloat16" if capability >= BFLOAT16_CAPABILITY else "mixed_float16"
