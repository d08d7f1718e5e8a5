"""From a trained Keras network to the operations and weights that `submission/model.py` runs."""

from dataclasses import dataclass, field

import keras
import numpy as np

from toolkit.errors import InputError

ACTIVATIONS = ("linear", "relu", "relu6", "gelu", "silu", "sigmoid", "hard_silu")
# What only training needs: dropout of features, and of whole branches (a private class of keras.applications).
IN_TRAINING_ONLY = ("Dropout", "StochasticDepth")


@dataclass
class Operation:
    """One entry of the manifest, with its weights float32 by name."""

    name: str
    op: str
    inputs: list[str]
    attributes: dict = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def entry(self) -> dict:
        """The manifest's form, without the weights."""
        return {"name": self.name, "op": self.op, "inputs": self.inputs, **self.attributes}


def operations(model: keras.Model) -> list[Operation]:
    """The operations of `model` (one input, one output) for prediction, in the order they run.

    Batch norm and ConvNeXt's LayerScale are folded into the convolution or dense layer before them; dropout is left
    out. Raises InputError for a layer that has no translation.
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
    """The nodes of `model`'s graph, inputs first. A layer may belong to other graphs too: only this one's nodes count."""
    nodes = {node.operation.name: node for depth in model._nodes_by_depth.values() for node in depth}
    return [nodes[operation.name] for operation in model.operations]


def _add(layer: keras.layers.Layer, inputs: list[str], done: list[Operation]) -> str:
    """Adds what `layer` does to `done`; returns the name of the result."""
    if type(layer).__name__ in IN_TRAINING_ONLY:
        return inputs[0]
    if isinstance(layer, keras.layers.BatchNormalization):
        return _fold_norm(layer, done, inputs[0])
    if type(layer).__name__ == "LayerScale":
        return _fold(layer.name, done, inputs[0], np.asarray(layer.gamma, np.float64), 0.0)
    if isinstance(layer, keras.layers.Activation):
        return _activate(layer, done, inputs[0], layer.name)
    operation = _translated(layer)
    operation.inputs = inputs
    done.append(operation)
    return _activate(layer, done, layer.name, f"{layer.name}_activation")


def _add_arithmetic(node, inputs: list[str], done: list[Operation]) -> str:
    """Adds a sum or product that a network forms without a layer, of two results or of one and a number."""
    name, kind = node.operation.name, type(node.operation).__name__.lower()
    numbers = [value for value in node.arguments.args if isinstance(value, (int, float))]
    if kind not in ("add", "multiply") or len(inputs) + len(numbers) != 2:
        raise InputError(f"the operation {name} cannot be exported.", "Use a backbone of toolkit/backbones.py.")
    if not numbers:
        done.append(Operation(name, kind, inputs))
    elif kind == "add":
        done.append(Operation(name, "scale", inputs, {"scale": 1.0, "offset": float(numbers[0])}))
    else:
        done.append(Operation(name, "scale", inputs, {"scale": float(numbers[0]), "offset": 0.0}))
    return name


def _translated(layer: keras.layers.Layer) -> Operation:
    if type(layer) not in TRANSLATIONS:
        raise InputError(
            f"the layer {layer.name} ({type(layer).__name__}) cannot be exported.",
            "Use a backbone of toolkit/backbones.py.",
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


def _fold_norm(norm: keras.layers.BatchNormalization, done: list[Operation], source: str) -> str:
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return _fold(norm.name, done, source, scale, beta - mean * scale)


def _fold(name: str, done: list[Operation], source: str, scale: np.ndarray, offset: np.ndarray | float) -> str:
    """Scales and shifts the weights of the operation `source` as the layer `name` would its results."""
    operation = done[-1]
    if operation.name != source or operation.op not in ("conv", "depthwise", "dense"):
        raise InputError(f"the layer {name} does not follow a convolution or dense layer.", "Put it right after one.")
    # The channels a depthwise kernel [h, w, channels, 1] makes lie on its third axis, the others' on the last.
    shape = (-1, 1) if operation.op == "depthwise" else (-1,)
    operation.weights["kernel"] = (operation.weights["kernel"] * scale.reshape(shape)).astype(np.float32)
    operation.weights["bias"] = (operation.weights["bias"] * scale + offset).astype(np.float32)
    return source


def _numbers(values) -> float | list[float]:
    return np.asarray(values, np.float64).tolist()


def _scale(layer: keras.layers.Rescaling) -> Operation:
    return Operation(layer.name, "scale", [], {"scale": _numbers(layer.scale), "offset": _numbers(layer.offset)})


def _linear(op: str):
    def translate(layer: keras.layers.Layer) -> Operation:
        kernel, *bias = (np.asarray(value, np.float32) for value in layer.get_weights())
        outputs = kernel.shape[2] * kernel.shape[3] if op == "depthwise" else kernel.shape[-1]
        attributes = {} if op == "dense" else {"strides": list(layer.strides), "padding": layer.padding.upper()}
        return Operation(
            layer.name,
            op,
            [],
            attributes,
            {"kernel": kernel, "bias": bias[0] if bias else np.zeros(outputs, np.float32)},
        )

    return translate


def _pad(layer: keras.layers.ZeroPadding2D) -> Operation:
    return Operation(layer.name, "pad", [], {"margins": [list(margin) for margin in layer.padding]})


def _max_pool(layer: keras.layers.MaxPooling2D) -> Operation:
    attributes = {"size": list(layer.pool_size), "strides": list(layer.strides), "padding": layer.padding.upper()}
    return Operation(layer.name, "max_pool", [], attributes)


def _norm(layer: keras.layers.LayerNormalization) -> Operation:
    gamma, beta = (np.asarray(value, np.float32) for value in layer.get_weights())
    return Operation(layer.name, "layer_norm", [], {"epsilon": layer.epsilon}, {"gamma": gamma, "beta": beta})


def _relu(layer: keras.layers.ReLU) -> Operation:
    if layer.max_value not in (None, 6) or layer.negative_slope or layer.threshold:
        raise InputError(f"the layer {layer.name} is an unusual ReLU and cannot be exported.", "Use ReLU or ReLU6.")
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
    keras.layers.Rescaling: _scale,
    keras.layers.Resizing: _resize,
    keras.layers.Conv2D: _linear("conv"),
    keras.layers.DepthwiseConv2D: _linear("depthwise"),
    keras.layers.Dense: _linear("dense"),
    keras.layers.LayerNormalization: _norm,
    keras.layers.ReLU: _relu,
    keras.layers.ZeroPadding2D: _pad,
    keras.layers.MaxPooling2D: _max_pool,
    keras.layers.GlobalAveragePooling2D: _mean,
    keras.layers.Flatten: _plain("flatten"),
    keras.layers.Reshape: _reshape,
    keras.layers.Add: _plain("add"),
    keras.layers.Multiply: _plain("multiply"),
}
