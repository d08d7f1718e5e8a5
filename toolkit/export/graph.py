"""From a trained Keras network to the operations and weights that `submission/model.py` runs.

The translation is layer by layer and literal; `toolkit.export.optimize` makes the result fast.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from submission.model import ACTIVATIONS
from toolkit.core.errors import InputError

# Layers that only training needs: dropout of features, and of whole branches (a private class of
# keras.applications). In prediction both are the identity.
TRAINING_LAYERS = ("Dropout", "StochasticDepth")


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


def operations(model: keras.Model) -> list[Operation]:
    """The operations of `model` (one input, one output) for prediction, in the order they run,
    layer by layer.

    Dropout is left out; batch norm and ConvNeXt's LayerScale become scales;
    `toolkit.export.optimize` makes them fast. Raises InputError for a layer that has no
    translation.
    """
    done: list[Operation] = []
    # Tensors are told apart by identity: Keras' have no names that are theirs alone. The id of a
    # tensor, the name of the operation that makes it.
    results: dict[int, str] = {}
    for node in _nodes(model):
        inputs = [results[id(tensor)] for tensor in node.input_tensors]
        if isinstance(node.operation, keras.layers.InputLayer):
            result = "pixels"
        elif isinstance(node.operation, keras.Sequential):
            # The head of a network is one node: its layers are no nodes of this graph.
            result = inputs[0]
            for layer in node.operation.layers:
                result = _add(layer, [result], done)
        elif isinstance(node.operation, keras.layers.Layer):
            result = _add(node.operation, inputs, done)
        else:
            result = _add_arithmetic(node, inputs, done)
        results[id(node.output_tensors[0])] = result
    return done


def _nodes(model: keras.Model) -> list[Any]:
    """The nodes of `model`'s graph, inputs first.

    A layer may belong to other graphs too, as a backbone's layers do: only this one's nodes count,
    which Keras keeps in a private attribute.
    """
    nodes = {}
    for depth in model._nodes_by_depth.values():
        for node in depth:
            nodes[node.operation.name] = node
    return [nodes[operation.name] for operation in model.operations]


def _add(layer: keras.layers.Layer, inputs: list[str], done: list[Operation]) -> str:
    """Adds what `layer` does to `done`; returns the name of the result."""
    if type(layer).__name__ in TRAINING_LAYERS:
        return inputs[0]
    if isinstance(layer, keras.layers.Activation):
        return _activate(layer, done, inputs[0], layer.name)
    names = inputs
    for operation in _translate(layer):
        done.append(replace(operation, inputs=names))
        names = [operation.name]
    return _activate(layer, done, names[0], f"{layer.name}_activation")


def _add_arithmetic(node: Any, inputs: list[str], done: list[Operation]) -> str:
    """Adds a sum or product that a network forms without a layer, of two results or of one and a
    number."""
    name, kind = node.operation.name, type(node.operation).__name__.lower()
    numbers = [value for value in node.arguments.args if isinstance(value, (int, float))]
    if kind not in ("add", "multiply") or len(inputs) + len(numbers) != 2:
        raise InputError(
            f"the operation {name} cannot be exported.",
            "Use a backbone of toolkit/models/backbones.py.",
        )
    if not numbers:
        done.append(Operation(name, kind, inputs))
    else:
        scale, offset = (1.0, numbers[0]) if kind == "add" else (numbers[0], 0.0)
        done.append(replace(_scale(name, scale, offset), inputs=inputs))
    return name


def _translate(layer: keras.layers.Layer) -> list[Operation]:
    """What `layer` does but for its activation, each operation on the result of the one before
    it."""
    if type(layer).__name__ == "LayerScale":  # a private class of keras.applications
        return [_scale(layer.name, layer.gamma, 0.0)]
    # Not isinstance: a subclass may compute something else.
    if type(layer) not in TRANSLATIONS:
        raise InputError(
            f"the layer {layer.name} ({type(layer).__name__}) cannot be exported.",
            "Use a backbone of toolkit/models/backbones.py.",
        )
    return TRANSLATIONS[type(layer)](layer)


def _activate(layer: keras.layers.Layer, done: list[Operation], source: str, name: str) -> str:
    """Adds the activation of `layer`, if it has one, to `done`; returns the name of the result."""
    activation = getattr(getattr(layer, "activation", None), "__name__", "linear")
    if activation not in ACTIVATIONS:
        raise InputError(
            f"the activation '{activation}' of {layer.name} cannot be exported.",
            f"Use one of {', '.join(ACTIVATIONS)}.",
        )
    if activation == "linear":
        return source
    done.append(Operation(name, activation, [source]))
    return name


def _scale(name: str, scale: Any, offset: Any) -> Operation:
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
    return [_scale(layer.name, layer.scale, layer.offset)]


def _batch_norm(layer: keras.layers.BatchNormalization) -> list[Operation]:
    """In prediction the statistics are constants: gamma · (x - mean) / sqrt(variance + epsilon) +
    beta is one scale and one offset a channel (Ioffe and Szegedy, arXiv:1502.03167), computed in
    float64 and rounded once."""
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in layer.get_weights())
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return [_scale(layer.name, scale, beta - mean * scale)]


def _layer_norm(layer: keras.layers.LayerNormalization) -> list[Operation]:
    """The norm, whose mean and variance depend on the image, and its gamma and beta, which do not
    and can be folded."""
    norm = Operation(f"{layer.name}_unscaled", "layer_norm", [], {"epsilon": layer.epsilon})
    return [norm, _scale(layer.name, *layer.get_weights())]


def _convolution(op: str) -> Callable[[keras.layers.Layer], list[Operation]]:
    def translate(layer: keras.layers.Layer) -> list[Operation]:
        strides = {"strides": list(layer.strides), "padding": layer.padding.upper()}
        return [_product(layer, op, strides)]

    return translate


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


def _max_pool(layer: keras.layers.MaxPooling2D) -> list[Operation]:
    attributes = {
        "size": list(layer.pool_size),
        "strides": list(layer.strides),
        "padding": layer.padding.upper(),
    }
    return [Operation(layer.name, "max_pool", [], attributes)]


def _relu(layer: keras.layers.ReLU) -> list[Operation]:
    if layer.max_value not in (None, 6) or layer.negative_slope or layer.threshold:
        raise InputError(
            f"the layer {layer.name} is an unsupported kind of ReLU and cannot be exported.",
            "Use ReLU or ReLU6.",
        )
    return [Operation(layer.name, "relu6" if layer.max_value else "relu", [])]


def _mean(layer: keras.layers.GlobalAveragePooling2D) -> list[Operation]:
    return [Operation(layer.name, "mean", [], {"keep": bool(layer.keepdims)})]


def _reshape(layer: keras.layers.Reshape) -> list[Operation]:
    return [Operation(layer.name, "reshape", [], {"shape": list(layer.target_shape)})]


def _resize(layer: keras.layers.Resizing) -> list[Operation]:
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
    keras.layers.Dense: _dense,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.LayerNormalization: _layer_norm,
    keras.layers.ReLU: _relu,
    keras.layers.ZeroPadding2D: _pad,
    keras.layers.MaxPooling2D: _max_pool,
    keras.layers.GlobalAveragePooling2D: _mean,
    keras.layers.Flatten: _plain("flatten"),
    keras.layers.Reshape: _reshape,
    keras.layers.Add: _plain("add"),
    keras.layers.Multiply: _plain("multiply"),
}
