"""Corrupted copies of held-out images: how a network fares on pictures unlike those it trained on.

The operations are Pillow's and numpy's, none of keras-cv's, so that what is measured is not the training's own
augmentation. Each image suffers two operations of different families, at severities of its own.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

OPERATIONS_AN_IMAGE = 2
SEVERITIES = 5

# From a picture, a strength in 0.2..1 and a generator to a picture of the same size.
Corruption = Callable[[Image.Image, float, np.random.Generator], Image.Image]


def _affine(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    """Turned by any angle, moved by up to a third, scaled between a half and two; black around it."""
    angle = generator.uniform(-np.pi, np.pi) * strength
    scale = 2.0 ** (generator.uniform(-1, 1) * strength)
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    middle = np.array(picture.size) / 2
    offset = middle - np.array([[cosine, -sine], [sine, cosine]]) @ middle
    offset += generator.uniform(-1 / 3, 1 / 3, 2) * strength * picture.size
    values = (cosine, -sine, offset[0], sine, cosine, offset[1])
    return picture.transform(picture.size, Image.Transform.AFFINE, values, Image.Resampling.BILINEAR)


def _perspective(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    """Seen from a slant: each corner drawn inwards or outwards by up to a quarter of the side."""
    width, height = picture.size
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]], float)
    corners += generator.uniform(-0.25, 0.25, (4, 2)) * strength * picture.size
    return picture.transform(picture.size, Image.Transform.QUAD, corners.ravel().tolist(), Image.Resampling.BILINEAR)


def _enhance(kind) -> Corruption:
    """Brightness, contrast or colour times a factor between 1/4 and 4."""
    return lambda picture, strength, generator: kind(picture).enhance(4.0 ** (strength * generator.choice([-1.0, 1.0])))


def _cast(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    """A tint: each channel times a factor between 1/2 and 2."""
    pixels = np.asarray(picture, np.float32) * 2.0 ** (generator.uniform(-1, 1, 3) * strength)
    return _picture(pixels)


def _invert(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    return Image.blend(picture, ImageOps.invert(picture), 0.5 * strength)


def _normal_noise(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    return _picture(pixels + generator.normal(0, 60 * strength, pixels.shape))


def _speckle(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    return _picture(pixels * (1 + generator.normal(0, 0.5 * strength, pixels.shape)))


def _salt_and_pepper(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    pixels, draw = np.asarray(picture).copy(), generator.uniform(size=picture.size[::-1])
    pixels[draw < 0.1 * strength], pixels[draw > 1 - 0.1 * strength] = 0, 255
    return Image.fromarray(pixels)


def _blur(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    kind = generator.choice([ImageFilter.GaussianBlur, ImageFilter.BoxBlur])
    return picture.filter(kind(4 * strength))


def _median(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.MedianFilter(2 * round(1 + 4 * strength) + 1))


def _jpeg(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=round(35 - 30 * strength))
    return Image.open(memory).convert("RGB")


def _coarse(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    small = [max(4, round(side * (1 - 0.85 * strength))) for side in picture.size]
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, Image.Resampling.NEAREST)


def _few_levels(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    return ImageOps.posterize(picture, round(5 - 4 * strength))


def _patches(picture: Image.Image, strength: float, generator: np.random.Generator) -> Image.Image:
    """One to four rectangles of one colour each, together up to about half of the image."""
    pixels = np.asarray(picture).copy()
    for _ in range(generator.integers(1, 5)):
        sides = (np.array(pixels.shape[:2]) * generator.uniform(0.1, 0.5, 2) * (0.4 + 0.6 * strength)).astype(int)
        top, left = (generator.integers(0, size - side + 1) for size, side in zip(pixels.shape, sides))
        pixels[top : top + sides[0], left : left + sides[1]] = generator.integers(0, 256, 3)
    return Image.fromarray(pixels)


FAMILIES: dict[str, tuple[Corruption, ...]] = {
    "geometric": (_affine, _perspective),
    "photometric": (
        _enhance(ImageEnhance.Brightness),
        _enhance(ImageEnhance.Contrast),
        _enhance(ImageEnhance.Color),
        _cast,
        _invert,
    ),
    "noise": (_normal_noise, _speckle, _salt_and_pepper),
    "blur": (_blur, _median),
    "digital": (_jpeg, _coarse, _few_levels),
    "occlusion": (_patches,),
}


def corrupted(images: np.ndarray, ids: np.ndarray, seed: int = 0) -> np.ndarray:
    """A damaged copy of `images`, uint8 [n, h, w, 3]; the same for the same id and seed, whatever else is there."""
    copies = np.empty_like(images)
    for number, (image, id_) in enumerate(zip(images, ids)):
        generator = np.random.default_rng([seed, int(id_)])
        picture = Image.fromarray(image)
        for family in generator.choice(list(FAMILIES), OPERATIONS_AN_IMAGE, replace=False):
            corruption = FAMILIES[family][generator.integers(len(FAMILIES[family]))]
            picture = corruption(picture, int(generator.integers(1, SEVERITIES + 1)) / SEVERITIES, generator)
        copies[number] = picture
    return copies


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
