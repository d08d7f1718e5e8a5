"""Images of the data, as a page holds them: small JPEGs in its own text."""

import base64
import io

import numpy as np
from PIL import Image

THUMBNAIL = 72  # pixels a side, of an image in a page
GAP = 2  # pixels between the images of a strip
QUALITY = 85


def to_data_uri(image: np.ndarray) -> str:
    """An image, uint8 [h, w, 3], as the address of an <img>."""
    memory = io.BytesIO()
    Image.fromarray(image).save(memory, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(memory.getvalue()).decode()


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """`image`, uint8 [h, w, 3], with THUMBNAIL pixels a side at most."""
    height, width = image.shape[:2]
    factor = THUMBNAIL / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def to_strip(images: np.ndarray) -> str:
    """`images`, uint8 [n, h, w, 3], beside each other, as the address of an <img>."""
    thumbnails = [make_thumbnail(image) for image in images]
    height, width = thumbnails[0].shape[:2]
    strip = np.full((height, len(images) * (width + GAP) - GAP, 3), 255, np.uint8)
    for number, thumbnail in enumerate(thumbnails):
        left = number * (width + GAP)
        strip[:, left : left + width] = thumbnail
    return to_data_uri(strip)
