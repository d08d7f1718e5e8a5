"""Pixels of other kinds: grey and RGBA images, 16 bits, numbers in 0..1.

All that cbtool does is done with RGB of 8 bits; a competition's own channels are made where
images come in and where a submission is shown them.
"""

import numpy as np

from toolkit.core.errors import InputError


def to_rgb(images: np.ndarray) -> np.ndarray:
    """`images` [n, height, width, channels] of 1, 3 or 4 channels as RGB: grey is repeated,
    transparency is left out."""
    channels = images.shape[3]
    if channels == 1:
        return np.repeat(images, 3, axis=3)
    return images if channels == 3 else np.ascontiguousarray(images[..., :3])


def from_rgb(images: np.ndarray, channels: int) -> np.ndarray:
    """RGB `images`, uint8 or float of 0..255, [n, height, width, 3], as a competition of that
    number of channels shows them: grey is the mean, and RGBA is opaque."""
    if channels == 3:
        return images
    if channels == 1:
        return images.mean(axis=3, keepdims=True).round().astype(images.dtype)
    opaque = np.full((*images.shape[:3], 1), 255, images.dtype)
    return np.concatenate([images, opaque], axis=3)


def to_bytes(values: np.ndarray, what: str) -> np.ndarray:
    """`values` as uint8: 16 bits and numbers in 0..1 scaled, numbers in 0..255 rounded.

    what: they are, for the sentence. Raises InputError for other numbers.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all() or values.min() < 0:
        raise InputError(
            f"{what} are {values.dtype}, not numbers from 0 on.", "Save them as uint8, 0 to 255."
        )
    highest = float(values.max())
    scale = 1.0
    if values.dtype.kind == "f" and highest <= 1:
        scale = 255.0
    elif highest > 255:
        scale = 255 / 65535
    if highest * scale > 255:
        raise InputError(f"{what} go up to {highest:g}.", "Save them as uint8, 0 to 255.")
    return np.round(values * scale).astype(np.uint8)
