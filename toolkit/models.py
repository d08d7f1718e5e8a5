"""The networks: a table of backbones, and the head on top."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_cv

from toolkit import weights
from toolkit.config import ModelConfig
from toolkit.errors import InputError

# Keras' 0.99 needs hundreds of steps before validation sees what training does; small sets have tens an epoch.
HEAD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Backbone:
    """How to build one backbone.

    build: from preprocessed images [n, h, w, 3] to a feature map or vector. scale, offset: preprocessing of
    pixels x in 0..255, scale · x + offset. imagenet: where its published weights are, or None.
    """

    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    scale: float
    offset: float
    imagenet: Callable[[], Path] | None


@dataclass(frozen=True)
class Network:
    """A Keras model from pixels 0..255 [n, h, w, 3] to class scores before the softmax, [n, classes].

    backbone: names of the layers under the head.
    """

    model: keras.Model
    backbone: frozenset[str]


def build(config: ModelConfig, image_shape: tuple[int, int, int], classes: int) -> Network:
    """Builds the network of `config` for images of `image_shape` (height, width, 3), weights loaded.

    Raises InputError for an unknown backbone or weights that are missing or do not fit.
    """
    if config.backbone not in BACKBONES:
        raise InputError(f"there is no backbone '{config.backbone}'.", f"Backbones: {', '.join(BACKBONES)}.")
    entry = BACKBONES[config.backbone]
    pixels = keras.Input(image_shape, name="pixels")
    features = entry.build(keras.layers.Rescaling(entry.scale, entry.offset, name="preprocess")(pixels))
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    trunk = keras.Model(pixels, features)
    _load_weights(trunk, entry, config)
    for number, units in enumerate(config.head_units):
        # The batch norm that follows makes a bias redundant.
        features = keras.layers.Dense(units, use_bias=False, name=f"head_{number}_dense")(features)
        features = keras.layers.BatchNormalization(momentum=HEAD_MOMENTUM, name=f"head_{number}_norm")(features)
        features = keras.layers.Activation("relu", name=f"head_{number}_relu")(features)
        features = keras.layers.Dropout(config.dropout, name=f"head_{number}_dropout")(features)
    # float32 whatever the precision policy: softmax and cross-entropy need it.
    scores = keras.layers.Dense(classes, dtype="float32", name="scores")(features)
    return Network(keras.Model(pixels, scores, name=config.backbone), frozenset(layer.name for layer in trunk.layers))


def imagenet_lite0(image_shape: tuple[int, int, int]) -> keras.Model:
    """EfficientNet-Lite0 with its own 1,000-way ImageNet classifier: pixels 0..255 to scores [n, 1000]."""
    entry = BACKBONES["efficientnet-lite0"]
    pixels = keras.Input(image_shape)
    features = entry.build(keras.layers.Rescaling(entry.scale, entry.offset)(pixels))
    scores = keras.layers.Dense(1000)(keras.layers.GlobalAveragePooling2D()(features))
    model = keras.Model(pixels, scores)
    model.set_weights(weights.as_keras(weights.read_torch(weights.efficientnet_lite0_file())))
    return model


def _simple_cnn(images: keras.KerasTensor) -> keras.KerasTensor:
    """The report's base model without its dense layer: two convolutions, each with max pooling."""
    for number, filters in enumerate((32, 64)):
        images = keras.layers.Conv2D(filters, 3, activation="relu", name=f"conv_{number}")(images)
        images = keras.layers.MaxPooling2D(name=f"pool_{number}")(images)
    return keras.layers.Flatten(name="flatten")(images)


def _efficientnet_lite0(images: keras.KerasTensor) -> keras.KerasTensor:
    # Written out because keras-cv's named presets download their weights; the numbers are those of the paper.
    backbone = keras_cv.models.EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        input_shape=images.shape[1:],
    )
    # A Function's `call` runs through the layers one by one, so they become layers of our own flat graph.
    return keras.Function(backbone.input, backbone.output).call(images)


BACKBONES = {
    # the report's base model
    "simple-cnn": Backbone(_simple_cnn, 1 / 255, 0.0, None),
    # Tan and Le, EfficientNet, arXiv:1905.11946, without squeeze-and-excitation and with ReLU6
    "efficientnet-lite0": Backbone(_efficientnet_lite0, 1 / 128, -127 / 128, weights.efficientnet_lite0_file),
}


def _load_weights(trunk: keras.Model, entry: Backbone, config: ModelConfig) -> None:
    if config.weights == "none":
        return
    if config.weights == "imagenet" and entry.imagenet is None:
        raise InputError(f"there are no ImageNet weights for {config.backbone}.", "Train with --weights none.")
    path = entry.imagenet() if config.weights == "imagenet" else Path(config.weights)
    if path.suffix == ".npz":
        weights.restore(trunk, path)
        return
    arrays = weights.as_keras(weights.read_torch(path))
    try:
        # Published files and Keras both run from input to output; what is left over is the classifier.
        trunk.set_weights(arrays[: len(trunk.weights)])
    except ValueError as error:
        raise InputError(
            f"the weights in {path} do not fit {config.backbone}: {error}.", "Give the weights of that backbone."
        ) from error
