"""What a configuration may name: the backbones and the augmentations, each with what a person
wants to know of it.

Without Keras, so that names are checked, listed and completed in an instant;
`toolkit.models.backbones` and `toolkit.augment.registry` build what has these names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from toolkit.core.damage import find_similar

# Where ImageNet weights come from: with the installation, with the extra `backbones`, from Keras on
# first use, or nowhere.
Weights = Literal["installed", "extra", "downloaded", "none"]


@dataclass(frozen=True)
class BackboneFacts:
    """A backbone. parameters: in millions, without a head. gflop: of one image of 96 × 96 pixels; a
    multiplication and an addition count as two. source: the paper."""

    parameters: float
    gflop: float
    weights: Weights
    source: str


_LITE = "Tan and Le, EfficientNet, arXiv:1905.11946; as Lite, without squeeze-and-excitation"
_VGG = "Simonyan and Zisserman, arXiv:1409.1556"
_CONVNEXT = "Liu et al., A ConvNet for the 2020s, arXiv:2201.03545"
_EFFICIENTNETV2 = "Tan and Le, EfficientNetV2, arXiv:2104.00298"
_MOBILENETV3 = "Howard et al., Searching for MobileNetV3, arXiv:1905.02244"

BACKBONES = {
    "simple-cnn": BackboneFacts(0.02, 0.09, "none", "two convolutions, each with max pooling"),
    "efficientnet-lite0": BackboneFacts(3.4, 0.14, "installed", _LITE),
    "efficientnet-lite1": BackboneFacts(4.2, 0.19, "extra", _LITE),
    "efficientnet-lite2": BackboneFacts(4.9, 0.21, "extra", _LITE),
    "vgg16": BackboneFacts(14.7, 5.6, "downloaded", _VGG),
    "vgg19": BackboneFacts(20.0, 7.2, "downloaded", _VGG),
    "convnext-tiny": BackboneFacts(27.8, 1.7, "downloaded", _CONVNEXT),
    "convnext-small": BackboneFacts(49.5, 3.2, "downloaded", _CONVNEXT),
    "convnext-base": BackboneFacts(87.6, 5.6, "downloaded", _CONVNEXT),
    "convnext-large": BackboneFacts(196.2, 12.6, "downloaded", _CONVNEXT),
    "convnext-xlarge": BackboneFacts(348.1, 22.3, "downloaded", _CONVNEXT),
    "efficientnetv2-b0": BackboneFacts(5.9, 0.27, "downloaded", _EFFICIENTNETV2),
    "efficientnetv2-b1": BackboneFacts(6.9, 0.38, "downloaded", _EFFICIENTNETV2),
    "efficientnetv2-b2": BackboneFacts(8.8, 0.44, "downloaded", _EFFICIENTNETV2),
    "efficientnetv2-b3": BackboneFacts(12.9, 0.6, "downloaded", _EFFICIENTNETV2),
    "efficientnetv2-s": BackboneFacts(20.3, 1.1, "downloaded", _EFFICIENTNETV2),
    "efficientnetv2-m": BackboneFacts(53.2, 2.2, "downloaded", _EFFICIENTNETV2),
    "efficientnetv2-l": BackboneFacts(117.7, 4.6, "downloaded", _EFFICIENTNETV2),
    "mobilenetv3-small": BackboneFacts(0.9, 0.02, "downloaded", _MOBILENETV3),
    "mobilenetv3-large": BackboneFacts(3.0, 0.1, "downloaded", _MOBILENETV3),
}

# What each augmentation does at strength (`factor`) 1; strength 0 changes nothing.
AUGMENTATIONS = {
    "flip": "mirrors along both axes; the strength is the chance of each",
    "rotate": "a full turn either way; 0.5 reaches every angle",
    "translate": "moves by the whole side, mirrored at the edges",
    "shear": "by 45 degrees along each axis, mirrored at the edges",
    "jittered-resize": "from 1/5 of the size, black around it, to 2 times, cropped",
    "grid-mask": "black squares of a grid, touching",
    "cutout": "a black rectangle up to the whole image",
    "brightness": "by the whole range of values",
    "contrast": "from a grey area to twice the contrast",
    "saturation": "from grey to pure colours",
    "hue": "by half the circle of colours either way",
    "colour-degeneration": "to grey",
    "channel-shift": "each channel by half the range of values",
    "channel-shuffle": "any order of the channels; has no strength",
    "solarise": "every value may be inverted",
    "posterise": "one bit a channel is left",
    "equalise": "the histogram of each channel is made even; has no strength",
    "sharpness": "from smoothed to strongly sharpened",
    "blur": "a Gaussian with a standard deviation of 5 pixels",
    "gaussian-noise": "with a standard deviation of 100 grey levels",
    "impulse-noise": "half of the pixels black or white",
    "pixelate": "a tenth of the resolution",
    "edges": "edges alone",
    "perspective": "from a slant, one side up to 2.3 times as large as the opposite one",
    "elastic": "bent like rubber, or as through frosted glass, by a twelfth of the side",
    "random-filter": "a random filter of up to 5 × 5 pixels; arXiv:2112.13547",
    "colour-curves": "levels through smooth random curves, a quarter of the range away",
    "jpeg": "stored as JPEG at a quality down to 5",
    "random-erasing": "a rectangle up to 0.7 of a side, in a colour or noise; arXiv:1708.04896",
    "overlay": "another image over it, at up to 0.45 of the weight; the label stays",
    "rand-augment": "three operations of magnitude 1, drawn from ten; arXiv:1909.13719",
    "aug-mix": "chains of operations mixed, severity 1; arXiv:1912.02781",
    "mix-up": "two images blended; the strength is alpha of the share's Beta distribution",
    "cut-mix": "a rectangle of another image; the strength is alpha of the area's distribution",
    "fourier-mix": "a blob of another image; the strength is alpha of the area's distribution",
}


def require_backbone(name: str) -> str:
    """`name`. Raises ValueError when no backbone has it."""
    return _require(name, BACKBONES, "backbone")


def require_augmentation(name: str) -> str:
    """`name`. Raises ValueError when no augmentation has it."""
    return _require(name, AUGMENTATIONS, "augmentation")


def _require(name: str, known: Iterable[str], kind: str) -> str:
    if name in known:
        return name
    near = find_similar(name, known)
    similar = f" ({near} is similar)" if near else ""
    raise ValueError(f"no {kind} has that name{similar}; cbtool {kind}s lists all")
