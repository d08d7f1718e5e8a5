"""The table of backbones: how each is built, and where its ImageNet weights come from. What each
costs is in `toolkit.core.catalogue`."""

import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import keras_cv
import numpy as np

from toolkit.core import hdf5
from toolkit.core.errors import InputError
from toolkit.models import depthwise, pretrained

# Mean and standard deviation of ImageNet's pixels in 0..1, red, green, blue.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])

Shape = tuple[int, int, int]  # height, width, 3


@dataclass(frozen=True)
class Backbone:
    """How to build one backbone.

    build: applies its layers to preprocessed images [n, h, w, 3]; gives a feature map or vector.
    scale, offset: the preprocessing of pixels x in 0..255 is scale · x + offset; one number, or one
    for each channel. read: reads the weights of the layers from the file at a path, or without
    a path the published ImageNet weights; None where nobody has published any. stock: builds the
    network as keras.applications has it, for a shape and "imagenet" or None; None where it has
    none.
    """

    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    scale: float | list[float]
    offset: float | list[float]
    read: Callable[[Shape, Path | None], list[np.ndarray]] | None = None
    stock: Callable[..., keras.Model] | None = None


def load(name: str, trunk: keras.Model, source: str) -> None:
    """Loads weights into `trunk`, the backbone `name`, from `source`: "imagenet", a path, or "none"
    to leave them random.

    A path is an earlier run's npz, or the published file: PyTorch's for EfficientNet-Lite, Keras'
    .h5 for the others. Raises InputError for weights that are missing or do not fit.
    """
    entry = BACKBONES[name]
    if source == "none":
        return
    path = None if source == "imagenet" else Path(source)
    if path is not None and not path.exists():
        raise InputError(
            f"there is no weights file {path}.", "Check the path, or train with --weights none."
        )
    if path is not None and path.suffix == ".npz":
        pretrained.restore(trunk, path)
        return
    if entry.read is None and path is None:
        raise InputError(f"there are no ImageNet weights for {name}.", "Train with --weights none.")
    try:
        if entry.read is None:
            raise ValueError("no weights are published for it; give the npz of an earlier run")
        trunk.set_weights(entry.read(trunk.input_shape[1:], path))
    except ValueError as error:
        raise InputError(
            f"the weights in {path} do not fit {name}: {error}.",
            "Give the weights of that backbone.",
        ) from error


def require_stock(name: str) -> Callable[[Shape], keras.Model]:
    """What builds keras.applications' own network for the backbone `name`, for an image's shape.

    Raises InputError when keras.applications has none.
    """
    stock: Callable[[Shape], keras.Model] | None = BACKBONES[name].stock
    if stock is None:
        known = [each for each, entry in BACKBONES.items() if entry.stock]
        raise InputError(
            f"keras.applications has no network '{name}' for the comparison.",
            f"Use one of {', '.join(known)}.",
        )
    return stock


def imagenet_lite0(image_shape: Shape) -> keras.Model:
    """EfficientNet-Lite0 with its own 1,000-way ImageNet classifier: pixels 0..255 to scores [n,
    1000]."""
    entry = BACKBONES["efficientnet-lite0"]
    pixels = keras.Input(image_shape)
    features = entry.build(keras.layers.Rescaling(entry.scale, entry.offset)(pixels))
    scores = keras.layers.Dense(1000)(keras.layers.GlobalAveragePooling2D()(features))
    model = keras.Model(pixels, scores)
    model.set_weights(
        pretrained.as_keras(pretrained.read_torch(pretrained.efficientnet_lite_file(0)))
    )
    return model


def fast_depthwise(model: keras.Model) -> keras.Model:
    """A copy of `model` in which convolutions with one channel a group are DepthwiseConv2D layers.

    CPUs train these 4 to 5 times as fast. The copy's weights are new: `depthwise_weights` gives
    those of `model` in its layouts.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        if not _is_depthwise(layer):
            return layer.__class__.from_config(layer.get_config())
        return depthwise.layer_class()(
            layer.kernel_size,
            layer.strides,
            layer.padding,
            use_bias=layer.use_bias,
            name=layer.name,
        )

    return keras.models.clone_model(model, clone_function=clone)


def depthwise_weights(model: keras.Model) -> list[np.ndarray]:
    """The weights of `model` in the order and layouts of `fast_depthwise(model)`: kernels [h, w,
    channels, 1]."""
    arrays = []
    for layer in model.layers:
        values = layer.get_weights()
        if _is_depthwise(layer):
            values[0] = values[0].transpose(0, 1, 3, 2)
        arrays += values
    return arrays


def _is_depthwise(layer: keras.layers.Layer) -> bool:
    """Whether `layer` is a Conv2D that computes what a DepthwiseConv2D would."""
    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.groups > 1
        and layer.groups == layer.filters
    )


def _simple_cnn(images: keras.KerasTensor) -> keras.KerasTensor:
    """The report's base model without its dense layer: two convolutions, each with max pooling."""
    for number, filters in enumerate((32, 64)):
        images = keras.layers.Conv2D(filters, 3, activation="relu", name=f"conv_{number}")(images)
        images = keras.layers.MaxPooling2D(name=f"pool_{number}")(images)
    return keras.layers.Flatten(name="flatten")(images)


def _lite(number: int, width: float, depth: float) -> Backbone:
    """EfficientNet-Lite: Tan and Le, arXiv:1905.11946, without squeeze-and-excitation and with
    ReLU6."""

    def build(images: keras.KerasTensor) -> keras.KerasTensor:
        # Written out because keras-cv's named presets download their weights; the numbers are those
        # of the paper.
        backbone = keras_cv.models.EfficientNetLiteBackbone(
            include_rescaling=False,
            width_coefficient=width,
            depth_coefficient=depth,
            stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
            stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
            stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
            stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
            stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
            stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
            input_shape=images.shape[1:],
        )
        return _inline(depthwise.replace_layers(backbone), images)

    def read(shape: Shape, path: Path | None) -> list[np.ndarray]:
        arrays = pretrained.as_keras(
            pretrained.read_torch(path or pretrained.efficientnet_lite_file(number))
        )
        # The file and Keras both run from input to output; what is left over is the classifier,
        # kernel and bias.
        return arrays[:-2]

    return Backbone(build, 1 / 128, -127 / 128, read)


def _application(
    name: str,
    scale: float | list[float],
    offset: float | list[float],
    bgr: bool = False,
    **options: Any,
) -> Backbone:
    """A network of keras.applications without its classifier, with fast depthwise convolutions.

    bgr: its published weights expect the channels in the order blue, green, red; `read` reverses
    them. options: of its function in keras.applications.
    """

    def stock(shape: Shape, source: str | None = None) -> keras.Model:
        return getattr(keras.applications, name)(
            include_top=False, weights=source, input_shape=shape, pooling="avg", **options
        )

    def build(images: keras.KerasTensor) -> keras.KerasTensor:
        return _inline(fast_depthwise(stock(images.shape[1:])), images)

    def read(shape: Shape, path: Path | None) -> list[np.ndarray]:
        arrays = depthwise_weights(
            _download(stock, name, shape) if path is None else _load_keras_file(stock(shape), path)
        )
        if bgr:
            arrays[0] = arrays[0][:, :, ::-1]
        return arrays

    return Backbone(build, scale, offset, read, stock)


def _download(stock: Callable[..., keras.Model], name: str, shape: Shape) -> keras.Model:
    try:
        # Keras prints what it downloads; stdout is for results.
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):
            # MobileNetV3 warns that its weights were trained on another input size.
            warnings.simplefilter("ignore")
            return stock(shape, "imagenet")
    except Exception as error:  # Keras wraps every failed download in a bare Exception
        if "fetch" not in str(error):
            raise
        raise InputError(
            f"the ImageNet weights of {name} could not be downloaded.",
            "Check the network connection; or give the published file (.h5, without the top) with "
            "--weights PATH; or train with --weights none.",
        ) from error


def _load_keras_file(model: keras.Model, path: Path) -> keras.Model:
    """Loads the weights of a .h5 file that Keras wrote into `model`, and returns it.

    Raises ValueError when the file holds the weights of another network: Keras skips some layers
    that do not fit instead of raising an error.
    """
    hdf5.require_readable(path, "Download it again, or train with --weights none.")
    before = model.get_weights()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the layers that it skips are counted below
            model.load_weights(path)
    except (OSError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"it is not a weights file of Keras ({error})") from error
    kept = sum(
        old.ndim > 1 and np.array_equal(old, new) for old, new in zip(before, model.get_weights())
    )
    if kept:
        raise ValueError(f"{kept} of its layers have no weights in the file")
    return model


def _inline(model: keras.Model, images: keras.KerasTensor) -> keras.KerasTensor:
    """The output of `model` for `images`. Its layers become layers of the surrounding network
    instead of one nested layer, so that they can be frozen and exported one by one."""
    return keras.Function(model.input, model.output).call(images)


_NORMALISED = (
    (1 / 255 / IMAGENET_DEVIATION).tolist(),
    (-IMAGENET_MEAN / IMAGENET_DEVIATION).tolist(),
)
_CENTRED = (1 / 128, -1.0)
_CAFFE = (1.0, [-123.68, -116.779, -103.939])
_BARE = {"include_preprocessing": False}

BACKBONES = {
    # the report's base model
    "simple-cnn": Backbone(_simple_cnn, 1 / 255, 0.0),
    "efficientnet-lite0": _lite(0, 1.0, 1.0),
    "efficientnet-lite1": _lite(1, 1.0, 1.1),
    "efficientnet-lite2": _lite(2, 1.1, 1.2),
    # Simonyan and Zisserman, arXiv:1409.1556
    "vgg16": _application("VGG16", *_CAFFE, bgr=True),
    "vgg19": _application("VGG19", *_CAFFE, bgr=True),
    # Liu et al., A ConvNet for the 2020s, arXiv:2201.03545
    "convnext-tiny": _application("ConvNeXtTiny", *_NORMALISED, **_BARE),
    "convnext-small": _application("ConvNeXtSmall", *_NORMALISED, **_BARE),
    "convnext-base": _application("ConvNeXtBase", *_NORMALISED, **_BARE),
    "convnext-large": _application("ConvNeXtLarge", *_NORMALISED, **_BARE),
    "convnext-xlarge": _application("ConvNeXtXLarge", *_NORMALISED, **_BARE),
    # Tan and Le, EfficientNetV2, arXiv:2104.00298
    "efficientnetv2-b0": _application("EfficientNetV2B0", *_NORMALISED, **_BARE),
    "efficientnetv2-b1": _application("EfficientNetV2B1", *_NORMALISED, **_BARE),
    "efficientnetv2-b2": _application("EfficientNetV2B2", *_NORMALISED, **_BARE),
    "efficientnetv2-b3": _application("EfficientNetV2B3", *_NORMALISED, **_BARE),
    "efficientnetv2-s": _application("EfficientNetV2S", *_CENTRED, **_BARE),
    "efficientnetv2-m": _application("EfficientNetV2M", *_CENTRED, **_BARE),
    "efficientnetv2-l": _application("EfficientNetV2L", *_CENTRED, **_BARE),
    # Howard et al., Searching for MobileNetV3, arXiv:1905.02244
    "mobilenetv3-small": _application("MobileNetV3Small", 1 / 127.5, -1.0, **_BARE),
    "mobilenetv3-large": _application("MobileNetV3Large", 1 / 127.5, -1.0, **_BARE),
}
