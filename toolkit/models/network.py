"""The networks: a backbone with the head on top."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import keras

from toolkit.core.config import ModelConfig
from toolkit.core.damage import describe
from toolkit.core.errors import InputError
from toolkit.models import backbones

# Of batch norm. With Keras' default of 0.99, the mean and variance that prediction uses follow
# those of training only after hundreds of steps; small sets have tens of steps an epoch.
HEAD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Network:
    """model: a Keras model from pixels 0..255 [n, h, w, 3] to class scores before the softmax, [n,
    classes].

    trunk: its first part, the backbone, from pixels to features [n, width]. head: its second part,
    from features to scores. The three share their layers.
    """

    model: keras.Model
    trunk: keras.Model
    head: keras.Model


def build(
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    classes: int,
    policy: str = "float32",
    remat: bool = False,
) -> Network:
    """Builds the network of `config` for images of `image_shape` (height, width, 3), and loads its
    weights.

    policy: Keras' dtype policy of its layers; the scores are float32 under every policy. remat: as
    in `rematerialise`. Raises
    InputError for an unknown backbone, for images too small for it, and for weights that are
    missing or do not fit.
    """
    outer = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        with rematerialise(remat):
            return _build(config, image_shape, classes)
    finally:
        keras.config.set_dtype_policy(outer)


def rematerialise(wanted: bool) -> AbstractContextManager[Any]:
    """Where `wanted`, layers that are built in this block compute their activations again for the
    gradients instead of storing them: Chen et al., arXiv:1604.06174.

    Only activations: with "full", Keras 3.15.1 passes `training` on to what it computes again,
    which fails on TensorFlow in every layer, and on JAX in those that ask for it.
    """
    return keras.RematScope(mode="activations") if wanted else nullcontext()


def _build(config: ModelConfig, image_shape: tuple[int, int, int], classes: int) -> Network:
    entry = backbones.BACKBONES[config.backbone]
    pixels = keras.Input(image_shape, name="pixels")
    images = pixels
    if config.input_size:
        images = keras.layers.Resizing(config.input_size, config.input_size, name="resize")(images)
    features = _build_backbone(
        entry, keras.layers.Rescaling(entry.scale, entry.offset, name="preprocess")(images), config
    )
    if len(features.shape) == 4:
        features = keras.layers.GlobalAveragePooling2D(name="pool")(features)
    trunk = keras.Model(pixels, features, name=config.backbone)
    backbones.load(config.backbone, trunk, config.weights)
    head = _head_layers(config, classes)
    stored = keras.Input(features.shape[1:], name="features")
    return Network(
        keras.Model(pixels, _apply(head, features), name=config.backbone),
        trunk,
        keras.Model(stored, _apply(head, stored), name="head"),
    )


def _build_backbone(
    entry: backbones.Backbone, images: keras.KerasTensor, config: ModelConfig
) -> keras.KerasTensor:
    try:
        return entry.build(images)
    except ValueError as error:
        height, width = images.shape[1:3]
        raise InputError(
            f"{config.backbone} cannot be built for images of {height}×{width}: {describe(error)}.",
            "Resize them: --set model.input_size=96.",
        ) from error


def _head_layers(config: ModelConfig, classes: int) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    if config.head_norm == "layer":
        layers.append(keras.layers.LayerNormalization(epsilon=1e-6, name="head_norm"))
    for number, units in enumerate(config.head_units):
        batch_norm = config.head_norm == "batch"
        # A batch norm that follows makes a bias redundant.
        layers.append(
            keras.layers.Dense(units, use_bias=not batch_norm, name=f"head_{number}_dense")
        )
        if batch_norm:
            layers.append(
                keras.layers.BatchNormalization(momentum=HEAD_MOMENTUM, name=f"head_{number}_norm")
            )
        layers.append(keras.layers.Activation("relu", name=f"head_{number}_relu"))
        layers.append(keras.layers.Dropout(config.dropout, name=f"head_{number}_dropout"))
    # float32 whatever the precision policy: softmax and cross-entropy need it.
    layers.append(keras.layers.Dense(classes, dtype="float32", name="scores"))
    return layers


def _apply(layers: list[keras.layers.Layer], tensor: keras.KerasTensor) -> keras.KerasTensor:
    for layer in layers:
        tensor = layer(tensor)
    return tensor
