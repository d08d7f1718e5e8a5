"""The table of augmentations: each name's layer, keras-cv's where it has one, for a strength in
0..1.

A table of lambdas, so that a line shows all there is to an operation: name, layer, range.
`toolkit.core.catalogue` says what strength 1 of each looks like.
"""

from collections.abc import Callable

import keras
from keras_cv import layers

from toolkit.augment.distortions import Elastic, Perspective
from toolkit.augment.geometry import Flip
from toolkit.augment.layers import Edges, GaussianBlur, GaussianNoise, ImpulseNoise, Pixelate
from toolkit.augment.mixing import CutMix, FourierMix, MixUp
from toolkit.augment.textures import (
    ColourCurves,
    GridMask,
    Jpeg,
    Overlay,
    RandomErasing,
    RandomFilter,
)

VALUE_RANGE = (0, 255)
RAND_AUGMENT_DEVIATION = 0.15  # of the magnitude; keras-cv's default

Size = tuple[int, int]  # height and width of the images in pixels

# name: layer for a strength and a size. Strength 0 changes nothing.
OPERATIONS: dict[str, Callable[[float, Size], keras.layers.Layer]] = {
    "flip": lambda factor, size: Flip("horizontal_and_vertical", rate=factor),
    "rotate": lambda factor, size: layers.RandomRotation(factor, fill_mode="reflect"),
    "translate": lambda factor, size: layers.RandomTranslation(factor, factor, fill_mode="reflect"),
    "shear": lambda factor, size: layers.RandomShear(factor, factor, fill_mode="reflect"),
    "jittered-resize": lambda factor, size: layers.JitteredResize(
        size, (1 - 0.8 * factor, 1 + factor)
    ),
    "grid-mask": lambda factor, size: GridMask(factor),
    "cutout": lambda factor, size: layers.RandomCutout(factor, factor),
    "brightness": lambda factor, size: layers.RandomBrightness(factor, VALUE_RANGE),
    "contrast": lambda factor, size: layers.RandomContrast(VALUE_RANGE, factor),
    "saturation": lambda factor, size: layers.RandomSaturation(
        (0.5 - 0.5 * factor, 0.5 + 0.49 * factor)
    ),
    "hue": lambda factor, size: layers.RandomHue(factor, VALUE_RANGE),
    "colour-degeneration": lambda factor, size: layers.RandomColorDegeneration((0.0, factor)),
    "channel-shift": lambda factor, size: layers.RandomChannelShift(VALUE_RANGE, factor),
    "channel-shuffle": lambda factor, size: layers.ChannelShuffle(3),
    "solarise": lambda factor, size: layers.Solarization(
        VALUE_RANGE, threshold_factor=(255 - 255 * factor, 255)
    ),
    "posterise": lambda factor, size: layers.Posterization(VALUE_RANGE, bits=8 - round(7 * factor)),
    "equalise": lambda factor, size: layers.Equalization(VALUE_RANGE),
    "sharpness": lambda factor, size: layers.RandomSharpness(factor, VALUE_RANGE),
    "blur": lambda factor, size: GaussianBlur(factor),
    "gaussian-noise": lambda factor, size: GaussianNoise(factor),
    "impulse-noise": lambda factor, size: ImpulseNoise(factor),
    "pixelate": lambda factor, size: Pixelate(factor),
    "edges": lambda factor, size: Edges(factor),
    "perspective": lambda factor, size: Perspective(factor),
    "elastic": lambda factor, size: Elastic(factor),
    "random-filter": lambda factor, size: RandomFilter(factor),
    "colour-curves": lambda factor, size: ColourCurves(factor),
    "jpeg": lambda factor, size: Jpeg(factor),
    "random-erasing": lambda factor, size: RandomErasing(factor),
    "overlay": lambda factor, size: Overlay(factor),
    "rand-augment": lambda factor, size: layers.RandAugment(
        VALUE_RANGE,
        augmentations_per_image=3,
        magnitude=factor,
        magnitude_stddev=RAND_AUGMENT_DEVIATION,
    ),
    "aug-mix": lambda factor, size: layers.AugMix(VALUE_RANGE, severity=max(factor, 0.01)),
    "mix-up": lambda factor, size: MixUp(alpha=factor),
    "cut-mix": lambda factor, size: CutMix(alpha=factor),
    "fourier-mix": lambda factor, size: FourierMix(alpha=factor),
}

# keras-cv's own, of those that are here replaced by faster ones of the same distribution.
REPLACED: dict[str, Callable[[float, Size], keras.layers.Layer]] = {
    "flip": lambda factor, size: layers.RandomFlip("horizontal_and_vertical", rate=factor),
    "blur": lambda factor, size: layers.RandomGaussianBlur(11, (0.3, 0.3 + 4.7 * factor)),
    "grid-mask": lambda factor, size: layers.GridMask((0.0, factor), rotation_factor=0.15),
}

MIXING = ("mix-up", "cut-mix", "fourier-mix")
