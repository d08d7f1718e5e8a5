"""The operations of `toolkit.augment.registry` in albumentations, for `cbtool bench augment`.

The ranges are those of our operations. What differs: GridDropout does not rotate its grid, Affine
shears about the middle, Sharpen is stronger, Perspective moves each corner, Erasing draws an area
and a ratio, ElasticTransform and RandomToneCurve draw one kind of field or curve, and SomeOf draws
its three operations without "none".
"""

import importlib
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from toolkit.core.config import Operation

# What is not here, albumentations lacks: Sobel edges alone, random kernels, other images laid
# over an image or mixed with it, and AugMix.
# name: transforms for the module, a strength and a height and width.
Make = Callable[[Any, float, tuple[int, int]], list[Any]]
# OpenCV's BORDER_REFLECT: mirrored about the outer edge, as fill_mode="reflect" of keras-cv.
REFLECT = 2


def build_chain(
    operations: Sequence[Operation], size: tuple[int, int], seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """The `operations` in turn, each at its rate, of one image uint8 [h, w, 3].

    Raises KeyError for an operation that is not in TRANSFORMS.
    """
    # Importing it would ask a server for the newest version.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    library = importlib.import_module("albumentations")
    # Workers share the cores already.
    importlib.import_module("cv2").setNumThreads(0)
    steps = [
        library.Sequential(
            TRANSFORMS[operation.name](library, operation.factor, size), p=operation.rate
        )
        for operation in operations
    ]
    chain = library.Compose(steps, seed=seed)

    def change(image: np.ndarray) -> np.ndarray:
        changed: np.ndarray = chain(image=image)["image"]
        return changed

    return change


def _flip(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.HorizontalFlip(p=factor), library.VerticalFlip(p=factor)]


def _rotate(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    turn = 360.0 * factor
    return [library.Rotate((-turn, turn), border_mode=REFLECT, p=1)]


def _translate(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    reach = {"x": (-factor, factor), "y": (-factor, factor)}
    return [library.Affine(translate_percent=reach, border_mode=REFLECT, p=1)]


def _shear(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    angle = math.degrees(math.atan(factor))
    reach = {"x": (-angle, angle), "y": (-angle, angle)}
    return [library.Affine(shear=reach, border_mode=REFLECT, p=1)]


def _jittered_resize(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [
        library.RandomScale((-0.8 * factor, factor), p=1),
        library.PadIfNeeded(*size, position="top_left", p=1),
        library.RandomCrop(*size, p=1),
    ]


def _grid_mask(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    # The mean ratio: GridDropout draws none.
    shortest = int(min(size[0] * 0.5, size[1] * 0.3))
    longest = int(max(size[0] * 0.5, size[1] * 0.3))
    return [library.GridDropout(factor / 2, unit_size_range=(shortest, longest), p=1)]


def _cutout(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    # In pixels: of shares, 1.0 is no valid end.
    height, width = (max(1, round(factor * side)) for side in size)
    return [library.CoarseDropout((1, 1), (1, height), (1, width), p=1)]


def _brightness(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.RandomBrightnessContrast((-factor, factor), (0, 0), p=1)]


def _contrast(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.ColorJitter((1, 1), (1 - factor, 1 + factor), (1, 1), (0, 0), p=1)]


def _saturation(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    low, high = 0.5 - 0.5 * factor, 0.5 + 0.49 * factor
    reach = (low / (1 - low), high / (1 - high))
    return [library.ColorJitter((1, 1), (1, 1), reach, (0, 0), p=1)]


def _hue(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    # Half the circle is 90 of OpenCV's units.
    return [library.HueSaturationValue((-90 * factor, 90 * factor), (0, 0), (0, 0), p=1)]


def _colour_degeneration(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.ColorJitter((1, 1), (1, 1), (1 - factor, 1), (0, 0), p=1)]


def _channel_shift(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    reach = (-127.5 * factor, 127.5 * factor)
    return [library.RGBShift(reach, reach, reach, p=1)]


def _channel_shuffle(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.ChannelShuffle(p=1)]


def _solarise(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.Solarize((1 - factor, 1), p=1)]


def _posterise(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    bits = 8 - round(7 * factor)
    # It takes at most 7: with 8, nothing changes.
    return [library.Posterize(bits, p=1)] if bits < 8 else [library.NoOp()]


def _equalise(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.Equalize(p=1)]


def _sharpness(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.Sharpen((0, factor), (1, 1), p=1)]


def _blur(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.GaussianBlur((11, 11), (0.3, 0.3 + 4.7 * factor), p=1)]


def _gaussian_noise(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.GaussNoise((0, 100 * factor / 255), p=1)]


def _impulse_noise(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.SaltAndPepper((0, 0.5 * factor), (0.5, 0.5), p=1)]


def _pixelate(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    # It takes less than 1.
    return [library.Downscale((1 - 0.9 * factor, 0.999), p=1)]


def _perspective(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    # Of the corners, as far on average as ours move.
    return [library.Perspective((0, 0.1 * factor), border_mode=REFLECT, p=1)]


def _elastic(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    width = max(size) / 10
    # Noise of deviation 1, blurred over that width, has a deviation of 1 / (2 · width · √π).
    reach = max(size) / 24 * factor * 2 * width * math.sqrt(math.pi)
    return [library.ElasticTransform(reach, width, border_mode=REFLECT, p=1)]


def _colour_curves(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.RandomToneCurve(factor / 4, per_channel=True, p=1)]


def _jpeg(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    return [library.ImageCompression("jpeg", (round(100 - 95 * factor), 100), p=1)]


def _random_erasing(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    area = (0.7 * factor) ** 2
    return [library.Erasing((area / 100, area / 2), fill="random_uniform", p=1)]


def _rand_augment(library: Any, factor: float, size: tuple[int, int]) -> list[Any]:
    """Three of the ten operations of keras-cv's standard policy."""
    policy = [
        library.AutoContrast(p=1),
        library.Equalize(p=1),
        *_solarise(library, factor, size),
        *_colour_degeneration(library, factor, size),
        *_contrast(library, factor, size),
        *_brightness(library, factor, size),
        *_shear(library, factor, size),
        *_shear(library, factor, size),
        *_translate(library, factor, size),
        *_translate(library, factor, size),
    ]
    return [library.SomeOf(policy, n=3, replace=True, p=1)]


TRANSFORMS: dict[str, Make] = {
    "flip": _flip,
    "rotate": _rotate,
    "translate": _translate,
    "shear": _shear,
    "jittered-resize": _jittered_resize,
    "grid-mask": _grid_mask,
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
    "impulse-noise": _impulse_noise,
    "pixelate": _pixelate,
    "perspective": _perspective,
    "elastic": _elastic,
    "colour-curves": _colour_curves,
    "jpeg": _jpeg,
    "random-erasing": _random_erasing,
    "rand-augment": _rand_augment,
}
