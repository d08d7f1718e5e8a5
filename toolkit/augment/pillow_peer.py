"""The operations of `toolkit.augment.registry` in Pillow, for `cbtool bench augment`.

The ranges are those of our operations. What differs: Pillow has no mirrored borders, so that what
comes from beyond an edge is black; its Gaussian blur is made of box blurs; its noise is grey.
"""

import io
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from toolkit.core.config import Operation

# From an image, a strength and random numbers to a changed image.
Change = Callable[[Image.Image, float, np.random.Generator], Image.Image]
LEVELS = np.arange(256)


def build_chain(
    operations: Sequence[Operation], size: tuple[int, int], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """The `operations` in turn, each at its rate, of one image uint8 [h, w, 3].

    Raises KeyError for an operation that is not in CHANGES.
    """
    steps = [
        (operation.rate, operation.factor, CHANGES[operation.name]) for operation in operations
    ]
    rng = np.random.default_rng(seed)

    def change(pixels: np.ndarray) -> np.ndarray:
        image = Image.fromarray(pixels)
        for rate, factor, step in steps:
            if rng.random() < rate:
                image = step(image, factor, rng)
        return np.asarray(image)

    return change


def _map_levels(image: Image.Image, tables: Sequence[np.ndarray]) -> Image.Image:
    """`image` with the levels of each channel sent through its table, float [256]."""
    table = np.concatenate(tables).round().clip(0, 255).astype(int)
    return image.point(table.tolist())


def _flip(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    if rng.random() < factor:
        image = ImageOps.mirror(image)
    return ImageOps.flip(image) if rng.random() < factor else image


def _rotate(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return image.rotate(360 * rng.uniform(-factor, factor), Image.Resampling.BILINEAR)


def _move(image: Image.Image, matrix: tuple[float, ...]) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _translate(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    x, y = rng.uniform(-factor, factor, 2) * image.size
    return _move(image, (1, 0, x, 0, 1, y))


def _shear(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    x, y = rng.uniform(-factor, factor, 2)
    return _move(image, (1 + x * y, x, 0, y, 1, 0))


def _jittered_resize(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    scale = rng.uniform(1 - 0.8 * factor, 1 + factor)
    width, height = image.size
    scaled = (max(1, round(scale * width)), max(1, round(scale * height)))
    if scale <= 1:
        small = image.resize(scaled, Image.Resampling.BILINEAR)
        canvas = Image.new("RGB", image.size)
        canvas.paste(small)
        return canvas
    # Only what is kept is enlarged.
    x, y = rng.uniform(0, 1, 2) * (np.array(image.size) * (1 - 1 / scale))
    box = (x, y, x + width / scale, y + height / scale)
    return image.resize(image.size, Image.Resampling.BILINEAR, box)


def _cutout(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    centre = rng.uniform(0, 1, 2) * image.size
    half = rng.uniform(0, factor, 2) * image.size / 2
    left, top = (int(place) for place in np.maximum(centre - half, 0))
    right, bottom = (int(place) for place in np.minimum(centre + half, image.size))
    image = image.copy()
    image.paste((0, 0, 0), (left, top, max(left, right), max(top, bottom)))
    return image


def _brightness(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return _map_levels(image, [LEVELS + 255 * rng.uniform(-factor, factor)] * 3)


def _contrast(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(image).enhance(rng.uniform(1 - factor, 1 + factor))


def _saturation(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    share = rng.uniform(0.5 - 0.5 * factor, 0.5 + 0.49 * factor)
    return ImageEnhance.Color(image).enhance(share / (1 - share))


def _hue(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turn = round(128 * rng.uniform(-factor, factor))
    hue = hue.point(((LEVELS + turn) % 256).tolist())
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")


def _colour_degeneration(
    image: Image.Image, factor: float, rng: np.random.Generator
) -> Image.Image:
    return ImageEnhance.Color(image).enhance(1 - rng.uniform(0, factor))


def _channel_shift(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    shifts = rng.uniform(-127.5 * factor, 127.5 * factor, 3)
    return _map_levels(image, [LEVELS + shift for shift in shifts])


def _channel_shuffle(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    channels = image.split()
    return Image.merge("RGB", [channels[place] for place in rng.permutation(3)])


def _solarise(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.solarize(image, round(rng.uniform(255 - 255 * factor, 255)))


def _posterise(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(7 * factor))


def _equalise(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.equalize(image)


def _auto_contrast(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.autocontrast(image)


def _sharpness(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Sharpness(image).enhance(1 + rng.uniform(0, factor))


def _blur(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.3 + 4.7 * factor)))


def _gaussian_noise(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    noise = Image.effect_noise(image.size, rng.uniform(0, 100 * factor))
    return ImageChops.add(image, Image.merge("RGB", [noise] * 3), offset=-128)


def _pixelate(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    scale = 1 - 0.9 * rng.uniform(0, factor)
    width, height = (max(1, round(scale * side)) for side in image.size)
    small = image.resize((width, height), Image.Resampling.NEAREST)
    return small.resize(image.size, Image.Resampling.NEAREST)


def _perspective(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    width, height = image.size
    x, y = rng.uniform(-0.4 * factor, 0.4 * factor, 2)
    # The slant is about the middle: coordinates are moved there and back.
    to_middle = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    slant = np.array([[1, 0, 0], [0, 1, 0], [x, y, 1]])
    matrix = np.linalg.inv(to_middle) @ slant @ to_middle
    coefficients = tuple((matrix / matrix[2, 2]).ravel()[:8])
    return image.transform(
        image.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR
    )


def _random_filter(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    strength = rng.uniform(0, factor)
    kernel = strength * rng.normal(size=25)
    kernel[12] += 1 - strength
    total = kernel.sum()
    # A sum next to 0 would blow the image up.
    scale = math.copysign(max(abs(total), 0.1), total)
    return image.filter(ImageFilter.Kernel((5, 5), kernel.tolist(), scale))


def _colour_curves(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    waves = np.arange(1, 6)[:, None]
    sines = np.sin(waves * math.pi / 255 * LEVELS) / waves
    heights = 64 * rng.uniform(0, factor) * rng.normal(size=(3, 5))
    return _map_levels(image, list(LEVELS + heights @ sines))


def _jpeg(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=round(100 - 95 * rng.uniform(0, factor)))
    return Image.open(stored).convert("RGB")


def _random_erasing(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    sides = (rng.uniform(0, 0.7 * factor, 2) * image.size).astype(int)
    x, y = (rng.uniform(0, 1, 2) * (image.size - sides)).astype(int)
    image = image.copy()
    if rng.random() < 0.25:
        noise = rng.integers(0, 256, (sides[1], sides[0], 3), np.uint8)
        if noise.size:
            image.paste(Image.fromarray(noise), (int(x), int(y)))
        return image
    red, green, blue = rng.integers(0, 256, 3).tolist()
    image.paste((red, green, blue), (int(x), int(y), int(x + sides[0]), int(y + sides[1])))
    return image


def _rand_augment(image: Image.Image, factor: float, rng: np.random.Generator) -> Image.Image:
    """Three times one of the ten operations of keras-cv's standard policy, or none."""
    for number in rng.integers(0, len(POLICY) + 1, 3):
        if number < len(POLICY):
            image = POLICY[number](image, factor, rng)
    return image


POLICY: tuple[Change, ...] = (
    _auto_contrast,
    _equalise,
    _solarise,
    _colour_degeneration,
    _contrast,
    _brightness,
    _shear,
    _shear,
    _translate,
    _translate,
)

# What is not here, Pillow lacks: it would be numpy's work.
CHANGES: dict[str, Change] = {
    "flip": _flip,
    "rotate": _rotate,
    "translate": _translate,
    "shear": _shear,
    "jittered-resize": _jittered_resize,
    "cutout": _cutout,
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "hue": _hue,
    "colour-degeneration": _colour_degeneration,
    "channel-shift": _channel_shift,
    "channel-shuffle": _channel_shuffle,
    "solarise": _solarise,
    "posterise": _posterise,
    "equalise": _equalise,
    "sharpness": _sharpness,
    "blur": _blur,
    "gaussian-noise": _gaussian_noise,
    "pixelate": _pixelate,
    "perspective": _perspective,
    "random-filter": _random_filter,
    "colour-curves": _colour_curves,
    "jpeg": _jpeg,
    "random-erasing": _random_erasing,
    "rand-augment": _rand_augment,
}
