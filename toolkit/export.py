"""From a trained Keras network to the operations and weights that `submission/model.py` runs."""

from dataclasses import dataclass, field

import keras
import numpy as np

from toolkit.errors import InputError

ACTIVATIONS = ("linear", "relu", "relu6")


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

    Batch norm is folded into the convolution or dense layer before it; dropout is left out. Raises InputError
    for a layer that has no translation.
    """
    done: list[Operation] = []
    results: dict[int, str] = {}  # id of a Keras tensor: name of the operation that makes it
    for node in _nodes(model):
        layer = node.operation
        inputs = [results[id(tensor)] for tensor in node.input_tensors]
        if isinstance(layer, keras.layers.InputLayer):
            result = "pixels"
        elif isinstance(layer, keras.layers.Dropout):
            result = inputs[0]
        elif isinstance(layer, keras.layers.BatchNormalization):
            result = _fold(layer, done, inputs[0])
        elif isinstance(layer, keras.layers.Activation):
            result = _activate(layer, done, inputs[0], layer.name)
        else:
            operation = _translated(layer)
            operation.inputs = inputs
            done.append(operation)
            result = _activate(layer, done, layer.name, f"{layer.name}_activation")
        results[id(node.output_tensors[0])] = result
    return done


def _nodes(model: keras.Model) -> list:
    """The nodes of `model`'s graph, inputs first. A layer may belong to other graphs too: only this one's nodes count."""
    nodes = {node.operation.name: node for depth in model._nodes_by_depth.values() for node in depth}
    return [nodes[operation.name] for operation in model.operations]


def _translated(layer: keras.layers.Layer) -> Operation:
    if type(layer) not in TRANSLATIONS:
        raise InputError(
            f"the layer {layer.name} ({type(layer).__name__}) cannot be exported.",
            "Use a backbone of toolkit/models.py.",
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


def _fold(norm: keras.layers.BatchNormalization, done: list[Operation], source: str) -> str:
    """Scales and shifts the weights of the operation `source` as `norm` would its results."""
    operation = done[-1]
    if operation.name != source or operation.op not in ("conv", "depthwise", "dense"):
        raise InputError(
            f"the batch norm {norm.name} does not follow a convolution or dense layer.", "Put it right after one."
        )
    gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    # The channels a depthwise kernel [h, w, channels, 1] makes lie on its third axis, the others' on the last.
    shape = (-1, 1) if operation.op == "depthwise" else (-1,)
    operation.weights["kernel"] = (operation.weights["kernel"] * scale.reshape(shape)).astype(np.float32)
    operation.weights["bias"] = ((operation.weights["bias"] - mean) * scale + beta).astype(np.float32)
    return source


def _scale(layer: keras.layers.Rescaling) -> Operation:
    return Operation(layer.name, "scale", [], {"scale": float(layer.scale), "offset": float(layer.offset)})


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


def _plain(op: str):
    return lambda layer: Operation(layer.name, op, [])


TRANSLATIONS = {
    keras.layers.Rescaling: _scale,
    keras.layers.Conv2D: _linear("conv"),
    keras.layers.DepthwiseConv2D: _linear("depthwise"),
    keras.layers.Dense: _linear("dense"),
    keras.layers.ZeroPadding2D: _pad,
    keras.layers.MaxPooling2D: _max_pool,
    keras.layers.GlobalAveragePooling2D: _plain("mean"),
    keras.layers.Flatten: _plain("flatten"),
    keras.layers.Add: _plain("add"),
}
