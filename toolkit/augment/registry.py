"""The table of augmentations: each name's keras-cv layer for a strength in 0..1.

A table of lambdas, so that a line shows all there is to an operation: name, layer, range.
"""

from collections.abc import Callable

import keras
from keras_cv import layers

from toolkit.augment.layers import Edges, GaussianNoise, ImpulseNoise, Pixelate
from toolkit.augment.mixing import CutMix, FourierMix, MixUp

VALUE_RANGE = (0, 255)
RAND_AUGMENT_DEVIATION = 0.15  # of the magnitude; keras-cv's default

Size = tuple[int, int]  # height and width of the images in pixels

# name: layer for a strength and a size. Strength 0 changes nothing; the comment says what strength
# 1 is.
OPERATIONS: dict[str, Callable[[float, Size], keras.layers.Layer]] = {
    # both mirrors always; the strength is the chance of each
    "flip": lambda factor, size: layers.RandomFlip("horizontal_and_vertical", rate=factor),
    # a full turn either way; 0.5 reaches every angle
    "rotate": lambda factor, size: layers.RandomRotation(factor, fill_mode="reflect"),
    # by the whole side
    "translate": lambda factor, size: layers.RandomTranslation(factor, factor, fill_mode="reflect"),
    # by 45 degrees along each axis
    "shear": lambda factor, size: layers.RandomShear(factor, factor, fill_mode="reflect"),
    # from 1/5 of the size, black around it, to 2 times, cropped
    "jittered-resize": lambda factor, size: layers.JitteredResize(
        size, (1 - 0.8 * factor, 1 + factor)
    ),
    # black squares of a grid, touching
    "grid-mask": lambda factor, size: layers.GridMask((0.0, factor), rotation_factor=0.15),
    # a black rectangle up to the whole image
    "cutout": lambda factor, size: layers.RandomCutout(factor, factor),
    # by the whole range of values
    "brightness": lambda factor, size: layers.RandomBrightness(factor, VALUE_RANGE),
    # from a grey area to twice the contrast
    "contrast": lambda factor, size: layers.RandomContrast(VALUE_RANGE, factor),
    # from grey to pure colours
    "saturation": lambda factor, size: layers.RandomSaturation(
        (0.5 - 0.5 * factor, 0.5 + 0.49 * factor)
    ),
    # by half the circle of colours either way
    "hue": lambda factor, size: layers.RandomHue(factor, VALUE_RANGE),
    # to grey
    "colour-degeneration": lambda factor, size: layers.RandomColorDegeneration((0.0, factor)),
    # each channel by half the range of values
    "channel-shift": lambda factor, size: layers.RandomChannelShift(VALUE_RANGE, factor),
    # no strength: any order of the channels
    "channel-shuffle": lambda factor, size: layers.ChannelShuffle(3),
    # every value may be inverted
    "solarise": lambda factor, size: layers.Solarization(
        VALUE_RANGE, threshold_factor=(255 - 255 * factor, 255)
    ),
    # one bit a channel is left
    "posterise": lambda factor, size: layers.Posterization(VALUE_RANGE, bits=8 - round(7 * factor)),
    # no strength: the histogram of each channel made even
    "equalise": lambda factor, size: layers.Equalization(VALUE_RANGE),
    # from smoothed to strongly sharpened
    "sharpness": lambda factor, size: layers.RandomSharpness(factor, VALUE_RANGE),
    # standard deviation of 5 pixels
    "blur": lambda factor, size: layers.RandomGaussianBlur(11, (0.3, 0.3 + 4.7 * factor)),
    # standard deviation of 100 grey levels
    "gaussian-noise": lambda factor, size: GaussianNoise(factor),
    # half of the pixels
    "impulse-noise": lambda factor, size: ImpulseNoise(factor),
    # a tenth of the resolution
    "pixelate": lambda factor, size: Pixelate(factor),
    # edges alone
    "edges": lambda factor, size: Edges(factor),
    # Cubuk et al., arXiv:1909.13719; strength: magnitude, of three operations drawn from ten
    "rand-augment": lambda factor, size: layers.RandAugment(
        VALUE_RANGE,
        augmentations_per_image=3,
        magnitude=factor,
        magnitude_stddev=RAND_AUGMENT_DEVIATION,
    ),
    # Hendrycks et al., arXiv:1912.02781; strength: severity
    "aug-mix": lambda factor, size: layers.AugMix(VALUE_RANGE, severity=max(factor, 0.01)),
    # strength: alpha of the Beta distribution of the share
    "mix-up": lambda factor, size: MixUp(alpha=factor),
    "cut-mix": lambda factor, size: CutMix(alpha=factor),
    "fourier-mix": lambda factor, size: FourierMix(alpha=factor),
}

MIXING = ("mix-up", "cut-mix", "fourier-mix")
