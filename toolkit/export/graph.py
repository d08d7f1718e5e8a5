"""From a trained Keras network to the operations and weights that `submission/model.py` runs."""

from dataclasses import dataclass, field, replace

import keras
import numpy as np

from submission.model import ACTIVATIONS
from toolkit.core.errors import InputError

# What only training needs: dropout of features, and of whole branches (a private class of
# keras.applications).
IN_TRAINING_ONLY = ("Dropout", "StochasticDepth")


@dataclass(frozen=True)
class Operation:
    """One entry of the manifest, with its weights by name, float32. positions: how often its kernel
    is applied an image."""

    name: str
    op: str
    inputs: list[str]
    attributes: dict = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    positions: int = 1

    @property
    def entry(self) -> dict:
        """The manifest's form, without the weights."""
        return {"name": self.name, "op": self.op, "inputs": self.inputs, **self.attributes}

    @property
    def flop(self) -> int:
        """Multiplications and additions of its kernel for one image."""
        return 2 * self.weights["kernel"].size * self.positions if "kernel" in self.weights else 0


def operations(model: keras.Model) -> list[Operation]:
    """The operations of `model` (one input, one output) for prediction, in the order they run,
    layer by layer.

    Dropout is left out; batch norm and ConvNeXt's LayerScale become scales;
    `toolkit.export.optimize` makes them fast. Raises InputError for a layer that has no
    translation.
    """
    done: list[Operation] = []
    results: dict[int, str] = {}  # id of a Keras tensor: name of the operation that makes it
    for node in _nodes(model):
        inputs = [results[id(tensor)] for tensor in node.input_tensors]
        if isinstance(node.operation, keras.layers.InputLayer):
            result = "pixels"
        elif isinstance(node.operation, keras.Sequential):
            result = inputs[0]
            for layer in node.operation.layers:
                result = _add(layer, [result], done)
        elif isinstance(node.operation, keras.layers.Layer):
            result = _add(node.operation, inputs, done)
        else:
            result = _add_arithmetic(node, inputs, done)
        results[id(node.output_tensors[0])] = result
    return done


def _nodes(model: keras.Model) -> list:
    """The nodes of `model`'s graph, inputs first. A layer may belong to other graphs too: only this
    one's nodes count."""
    nodes = {
        node.operation.name: node for depth in model._nodes_by_depth.values() for node in depth
    }
    return [nodes[operation.name] for operation in model.operations]


def _add(layer: keras.layers.Layer, inputs: list[str], done: list[Operation]) -> str:
    """Adds what `layer` does to `done`; returns the name of the result."""
    if type(layer).__name__ in IN_TRAINING_ONLY:
        return inputs[0]
    if isinstance(layer, keras.layers.Activation):
        return _activate(layer, done, inputs[0], layer.name)
    result = inputs
    for operation in _translated(layer):
        done.append(replace(operation, inputs=result))
        result = [operation.name]
    return _activate(layer, done, result[0], f"{layer.name}_activation")


def _add_arithmetic(node, inputs: list[str], done: list[Operation]) -> str:
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


def _translated(layer: keras.layers.Layer) -> list[Operation]:
    """What `layer` does but for its activation, each operation on the result of the one before
    it."""
    if type(layer).__name__ == "LayerScale":  # a private class of keras.applications
        return [_scale(layer.name, layer.gamma, 0.0)]
    if type(layer) not in TRANSLATIONS:
        raise InputError(
            f"the layer {layer.name} ({type(layer).__name__}) cannot be exported.",
            "Use a backbone of toolkit/models/backbones.py.",
        )
    made = TRANSLATIONS[type(layer)](layer)
    return made if isinstance(made, list) else [made]


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


def _scale(name: str, scale, offset) -> Operation:
    """Scale · x + offset, each one number or one a channel."""
    values = {"scale": scale, "offset": offset}
    return Operation(
        name,
        "scale",
        [],
        {},
        {key: np.array(value, np.float32, ndmin=1) for key, value in values.items()},
    )


def _rescale(layer: keras.layers.Rescaling) -> Operation:
    return _scale(layer.name, layer.scale, layer.offset)


def _batch_norm(layer: keras.layers.BatchNormalization) -> Operation:
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in layer.get_weights())
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return _scale(layer.name, scale, beta - mean * scale)


def _layer_norm(layer: keras.layers.LayerNormalization) -> list[Operation]:
    norm = Operation(f"{layer.name}_unscaled", "layer_norm", [], {"epsilon": layer.epsilon})
    return [norm, _scale(layer.name, *layer.get_weights())]


def _linear(op: str):
    def translate(layer: keras.layers.Layer) -> Operation:
        kernel, *bias = (np.asarray(value, np.float32) for value in layer.get_weights())
        outputs = layer.output.shape[-1]
        attributes = (
            {}
            if op == "dense"
            else {"strides": list(layer.strides), "padding": layer.padding.upper()}
        )
        weights = {"kernel": kernel, "bias": bias[0] if bias else np.zeros(outputs, np.float32)}
        return Operation(
            layer.name, op, [], attributes, weights, int(np.prod(layer.output.shape[1:-1]))
        )

    return translate


def _pad(layer: keras.layers.ZeroPadding2D) -> Operation:
    return Operation(layer.name, "pad", [], {"margins": [list(margin) for margin in layer.padding]})


def _max_pool(layer: keras.layers.MaxPooling2D) -> Operation:
    attributes = {
        "size": list(layer.pool_size),
        "strides": list(layer.strides),
        "padding": layer.padding.upper(),
    }
    return Operation(layer.name, "max_pool", [], attributes)


def _relu(layer: keras.layers.ReLU) -> Operation:
    if layer.max_value not in (None, 6) or layer.negative_slope or layer.threshold:
        raise InputError(
            f"the layer {layer.name} is an unusual ReLU and cannot be exported.",
            "Use ReLU or ReLU6.",
        )
    return Operation(layer.name, "relu6" if layer.max_value else "relu", [])


def _mean(layer: keras.layers.GlobalAveragePooling2D) -> Operation:
    return Operation(layer.name, "mean", [], {"keep": bool(layer.keepdims)})


def _reshape(layer: keras.layers.Reshape) -> Operation:
    return Operation(layer.name, "reshape", [], {"shape": list(layer.target_shape)})


def _resize(layer: keras.layers.Resizing) -> Operation:
    return Operation(layer.name, "resize", [], {"size": [layer.height, layer.width]})


def _plain(op: str):
    return lambda layer: Operation(layer.name, op, [])


TRANSLATIONS = {
    keras.layers.Rescaling: _rescale,
    keras.layers.Resizing: _resize,
    keras.layers.Conv2D: _linear("conv"),
    keras.layers.DepthwiseConv2D: _linear("depthwise"),
    keras.layers.Dense: _linear("dense"),
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
