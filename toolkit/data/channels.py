"""Grey and RGBA images: all that cbtool does is done with RGB, and a competition's own number of
channels is made where images come in and where a submission is shown them."""

import numpy as np


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
