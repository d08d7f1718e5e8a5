"""What each layer of Keras does in prediction, as operations of `submission/model.py`."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from toolkit.core.errors import InputError

# Layers that only training needs, among them the dropout of whole branches, a private class of
# keras.applications. In prediction they are the identity.
TRAINING_LAYERS = (
    "Dropout",
    "SpatialDropout2D",
    "AlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
    "StochasticDepth",
    "RandomFlip",
    "RandomRotation",
    "RandomZoom",
    "RandomTranslation",
    "RandomContrast",
    "RandomBrightness",
)
HINT = (
    "docs/manifest.md lists the layers that can be exported; every backbone that cbtool trains can."
)


@dataclass(frozen=True)
class Operation:
    """One entry of the manifest, with its weights by name, float32. positions: how often its kernel
    is applied an image."""

    name: str
    op: str
    inputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    positions: int = 1

    @property
    def entry(self) -> dict[str, Any]:
        """The manifest's form, without the weights."""
        return {"name": self.name, "op": self.op, "inputs": self.inputs, **self.attributes}

    @property
    def flop(self) -> int:
        """Multiplications and additions of its kernel for one image."""
        if "kernel" not in self.weights:
            return 0
        return 2 * self.weights["kernel"].size * self.positions


def translate(layer: keras.layers.Layer) -> list[Operation]:
    """What `layer` does but for its activation, each operation on the result of the one before
    it."""
    if type(layer).__name__ == "LayerScale":  # a private class of keras.applications
        return [make_scale(layer.name, layer.gamma, 0.0)]
    # Not isinstance: a subclass may compute something else.
    if type(layer) not in TRANSLATIONS:
        raise InputError(
            f"the layer {layer.name} ({type(layer).__name__}) cannot be exported.",
            HINT,
        )
    return TRANSLATIONS[type(layer)](layer)


def require_channels_last(layer: keras.layers.Layer) -> None:
    """Raises InputError for a layer whose channels do not come last."""
    rank = len(layer.output.shape)
    merges = isinstance(layer, (keras.layers.Concatenate, keras.layers.Softmax))
    axis = -1 if merges else getattr(layer, "axis", -1)
    last = axis in (-1, rank - 1) or list(np.atleast_1d(axis)) in ([-1], [rank - 1])
    if getattr(layer, "data_format", "channels_last") != "channels_last" or not last:
        raise InputError(
            f"the layer {layer.name} does not have the channels last.",
            "Use data_format='channels_last', and axis=-1 for norms.",
        )


def refuse(layer: keras.layers.Layer, what: str) -> InputError:
    """The error about `layer`, which has `what`."""
    return InputError(f"the layer {layer.name} has {what} and cannot be exported.", HINT)


def make_scale(name: str, scale: Any, offset: Any) -> Operation:
    """Scale · x + offset, each one number or one a channel."""
    values = {"scale": scale, "offset": offset}
    return Operation(
        name,
        "scale",
        [],
        {},
        {key: np.array(value, np.float32, ndmin=1) for key, value in values.items()},
    )


def _rescale(layer: keras.layers.Rescaling) -> list[Operation]:
    return [make_scale(layer.name, layer.scale, layer.offset)]


def _batch_norm(layer: keras.layers.BatchNormalization) -> list[Operation]:
    """In prediction the statistics are constants: gamma · (x - mean) / sqrt(variance + epsilon) +
    beta is one scale and one offset a channel (Ioffe and Szegedy, arXiv:1502.03167), computed in
    float64 and rounded once."""
    *factors, mean, variance = (np.asarray(value, np.float64) for value in layer.get_weights())
    gamma = factors.pop(0) if layer.scale else np.ones_like(mean)
    beta = factors.pop(0) if layer.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return [make_scale(layer.name, scale, beta - mean * scale)]


def _layer_norm(layer: keras.layers.LayerNormalization) -> list[Operation]:
    """The norm, whose mean and variance depend on the image, and its gamma and beta, which do not
    and can be folded."""
    if getattr(layer, "rms_scaling", False):
        raise refuse(layer, "RMS scaling")
    factors = layer.get_weights()
    gamma = factors.pop(0) if layer.scale else 1.0
    beta = factors.pop(0) if layer.center else 0.0
    norm = Operation(f"{layer.name}_unscaled", "layer_norm", [], {"epsilon": layer.epsilon})
    return [norm, make_scale(layer.name, gamma, beta)]


def _convolution(op: str) -> Callable[[keras.layers.Layer], list[Operation]]:
    def translate(layer: keras.layers.Layer) -> list[Operation]:
        product = _product(layer, op, _read_strides(layer))
        if op == "depthwise" or layer.groups == 1:
            return [product]
        kernel = product.weights["kernel"]
        # As many groups as channels, one filter each, are a depthwise convolution.
        if not layer.groups == layer.filters == layer.input.shape[-1]:
            return [replace(product, attributes=product.attributes | {"groups": layer.groups})]
        weights = product.weights | {"kernel": kernel.transpose(0, 1, 3, 2)}
        return [replace(product, op="depthwise", weights=weights)]

    return translate


def _read_strides(layer: keras.layers.Layer) -> dict[str, Any]:
    attributes = {"strides": list(layer.strides), "padding": layer.padding.upper()}
    if tuple(layer.dilation_rate) != (1, 1):
        attributes["dilation"] = list(layer.dilation_rate)
    return attributes


def _separable(layer: keras.layers.SeparableConv2D) -> list[Operation]:
    """A depthwise convolution, and one of 1×1 that has the bias."""
    depthwise, pointwise, *bias = (np.asarray(value, np.float32) for value in layer.get_weights())
    channels = depthwise.shape[2] * depthwise.shape[3]
    positions = int(np.prod(layer.output.shape[1:-1]))
    plain = {"strides": [1, 1], "padding": "VALID"}
    kernels = {"kernel": depthwise, "bias": np.zeros(channels, np.float32)}
    products = {
        "kernel": pointwise,
        "bias": bias[0] if bias else np.zeros(pointwise.shape[-1], np.float32),
    }
    name = f"{layer.name}_depthwise"
    return [
        Operation(name, "depthwise", [], _read_strides(layer), kernels, positions),
        Operation(layer.name, "conv", [], plain, products, positions),
    ]


def _normalize(layer: keras.layers.Normalization) -> list[Operation]:
    """(x - mean) / sqrt(variance), of constants or of what `adapt` found."""
    if layer.invert:
        raise refuse(layer, "invert=True")
    mean, variance = (
        np.asarray(value, np.float64).ravel() for value in (layer.mean, layer.variance)
    )
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    return [make_scale(layer.name, 1 / deviation, -mean / deviation)]


def _dense(layer: keras.layers.Dense) -> list[Operation]:
    return [_product(layer, "dense", {})]


def _product(layer: keras.layers.Layer, op: str, attributes: dict[str, Any]) -> Operation:
    """A layer with a kernel, and a bias of zeros where it has none: the rewrites need one to fold
    into."""
    kernel, *bias = (np.asarray(value, np.float32) for value in layer.get_weights())
    if not bias:
        bias = [np.zeros(layer.output.shape[-1], np.float32)]
    positions = int(np.prod(layer.output.shape[1:-1]))
    weights = {"kernel": kernel, "bias": bias[0]}
    return Operation(layer.name, op, [], attributes, weights, positions)


def _pad(layer: keras.layers.ZeroPadding2D) -> list[Operation]:
    margins = [list(margin) for margin in layer.padding]
    return [Operation(layer.name, "pad", [], {"margins": margins})]


def _crop(layer: keras.layers.Cropping2D) -> list[Operation]:
    margins = [list(margin) for margin in layer.cropping]
    return [Operation(layer.name, "crop", [], {"margins": margins})]


def _pool(op: str) -> Callable[[keras.layers.Layer], list[Operation]]:
    def translate(layer: keras.layers.Layer) -> list[Operation]:
        attributes = {
            "size": list(layer.pool_size),
            "strides": list(layer.strides),
            "padding": layer.padding.upper(),
        }
        return [Operation(layer.name, op, [], attributes)]

    return translate


def _relu(layer: keras.layers.ReLU) -> list[Operation]:
    if layer.max_value not in (None, 6) or layer.negative_slope or layer.threshold:
        raise InputError(
            f"the layer {layer.name} is an unsupported kind of ReLU and cannot be exported.",
            "Use ReLU or ReLU6.",
        )
    return [Operation(layer.name, "relu6" if layer.max_value else "relu", [])]


def _leaky_relu(layer: keras.layers.LeakyReLU) -> list[Operation]:
    slope = float(layer.negative_slope)
    if slope > 1:
        raise refuse(layer, "a slope above 1")
    return [Operation(layer.name, "leaky_relu", [], {"slope": slope})]


def _elu(layer: keras.layers.ELU) -> list[Operation]:
    if layer.alpha != 1:
        raise refuse(layer, "an alpha other than 1")
    return [Operation(layer.name, "elu", [])]


def _global_pool(op: str, **axes: list[int]) -> Callable[[keras.layers.Layer], list[Operation]]:
    def translate(layer: keras.layers.Layer) -> list[Operation]:
        return [Operation(layer.name, op, [], {"keep": bool(layer.keepdims), **axes})]

    return translate


def _average(layer: keras.layers.Average) -> list[Operation]:
    return [
        Operation(f"{layer.name}_sum", "add", []),
        make_scale(layer.name, 1 / len(layer.input), 0.0),
    ]


def _reshape(layer: keras.layers.Reshape) -> list[Operation]:
    shape = list(layer.output.shape[1:])  # target_shape may leave a side open
    return [Operation(layer.name, "reshape", [], {"shape": shape})]


def _permute(layer: keras.layers.Permute) -> list[Operation]:
    return [Operation(layer.name, "transpose", [], {"axes": list(layer.dims)})]


def _concatenate(layer: keras.layers.Concatenate) -> list[Operation]:
    rank = len(layer.output.shape)
    axis = layer.axis % rank
    if axis == 0:
        raise refuse(layer, "an axis of images")
    return [Operation(layer.name, "concatenate", [], {} if axis == rank - 1 else {"axis": axis})]


def _softmax(layer: keras.layers.Softmax) -> list[Operation]:
    if layer.axis not in (-1, len(layer.output.shape) - 1):
        raise refuse(layer, "another axis than the last")
    return [Operation(layer.name, "softmax", [])]


def _embedding(layer: keras.layers.Embedding) -> list[Operation]:
    if layer.mask_zero:
        raise refuse(layer, "mask_zero=True")
    (table,) = layer.get_weights()
    weights = {"table": np.asarray(table, np.float32)}
    return [Operation(layer.name, "embedding", [], {}, weights)]


def _prelu(layer: keras.layers.PReLU) -> list[Operation]:
    (slope,) = layer.get_weights()
    return [Operation(layer.name, "prelu", [], {}, {"slope": np.asarray(slope, np.float32)})]


def _resize(layer: keras.layers.Resizing) -> list[Operation]:
    plain = layer.interpolation == "bilinear" and not layer.crop_to_aspect_ratio
    if not plain or getattr(layer, "pad_to_aspect_ratio", False):
        raise refuse(layer, "another interpolation than bilinear, or crops or pads")
    return [Operation(layer.name, "resize", [], {"size": [layer.height, layer.width]})]


def _plain(op: str) -> Callable[[keras.layers.Layer], list[Operation]]:
    """The translation of a layer that has nothing but its name."""

    def translate(layer: keras.layers.Layer) -> list[Operation]:
        return [Operation(layer.name, op, [])]

    return translate


TRANSLATIONS: dict[type, Callable[[Any], list[Operation]]] = {
    keras.layers.Rescaling: _rescale,
    keras.layers.Resizing: _resize,
    keras.layers.Conv2D: _convolution("conv"),
    keras.layers.DepthwiseConv2D: _convolution("depthwise"),
    keras.layers.SeparableConv2D: _separable,
    keras.layers.Normalization: _normalize,
    keras.layers.Dense: _dense,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.LayerNormalization: _layer_norm,
    keras.layers.ReLU: _relu,
    keras.layers.ZeroPadding2D: _pad,
    keras.layers.Cropping2D: _crop,
    keras.layers.MaxPooling2D: _pool("max_pool"),
    keras.layers.AveragePooling2D: _pool("avg_pool"),
    keras.layers.GlobalAveragePooling2D: _global_pool("mean"),
    keras.layers.GlobalMaxPooling2D: _global_pool("max"),
    keras.layers.GlobalAveragePooling1D: _global_pool("mean", axes=[1]),
    keras.layers.GlobalMaxPooling1D: _global_pool("max", axes=[1]),
    keras.layers.Flatten: _plain("flatten"),
    keras.layers.Reshape: _reshape,
    keras.layers.Permute: _permute,
    keras.layers.Embedding: _embedding,
    keras.layers.Add: _plain("add"),
    keras.layers.Multiply: _plain("multiply"),
    keras.layers.Maximum: _plain("maximum"),
    keras.layers.Average: _average,
    keras.layers.Subtract: _plain("subtract"),
    keras.layers.Concatenate: _concatenate,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.PReLU: _prelu,
    keras.layers.ELU: _elu,
    keras.layers.Softmax: _softmax,
}
