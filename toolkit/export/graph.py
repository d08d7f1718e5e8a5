"""From a trained Keras network to the operations and weights that `submission/model.py` runs.

The translation is layer by layer and literal; `toolkit.export.optimize` makes the result fast.
"""

from dataclasses import replace
from typing import Any

import keras

from submission.model import ACTIVATIONS
from toolkit.core.errors import InputError
from toolkit.export.attention import bind_inputs, translate_attention
from toolkit.export.functions import is_constant, merge, translate_function
from toolkit.export.layers import (
    TRAINING_LAYERS,
    Operation,
    make_scale,
    refuse,
    require_channels_last,
    translate,
)

# Layers that merge results, by what they compute.
MERGES = {
    keras.layers.Add: "add",
    keras.layers.Subtract: "subtract",
    keras.layers.Multiply: "multiply",
    keras.layers.Maximum: "maximum",
}


def operations(model: keras.Model) -> list[Operation]:
    """The operations of `model` (one input, one output) for prediction, in the order they run,
    layer by layer.

    Dropout is left out; batch norm and ConvNeXt's LayerScale become scales;
    `toolkit.export.optimize` makes them fast. Raises InputError for a layer that has no
    translation.
    """
    done: list[Operation] = []
    _add_model(model, "pixels", done)
    names = [operation.name for operation in done]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"two layers are called {name}, one of them in a model within the model.",
                "Give the layers names of their own.",
            )
    return done


def _add_model(model: keras.Model, source: str, done: list[Operation]) -> str:
    """Adds what `model` does to the result `source`; returns the name of its own result."""
    if isinstance(model, keras.Sequential):
        # The head of a network is one node: its layers are no nodes of this graph.
        for layer in model.layers:
            source = _add(layer, [source], done)
        return source
    # Tensors are told apart by identity: Keras' have no names that are theirs alone. The id of a
    # tensor, the name of the operation that makes it.
    results: dict[int, str] = {}
    for node in list_nodes(model):
        if isinstance(node.operation, keras.layers.InputLayer):
            result = source
        elif isinstance(node.operation, keras.Model):
            inner = _with_sides(node.operation, node.input_tensors[0].shape)
            result = _add_model(inner, results[id(node.input_tensors[0])], done)
        else:
            result = _add_node(node, results, done)
        results[id(node.output_tensors[0])] = result
    return results[id(model.outputs[0])]


def _add_node(node: Any, results: dict[int, str], done: list[Operation]) -> str:
    """Adds what the layer or function of `node` does to `results`; returns the name of its own."""
    called = node.operation
    if isinstance(called, keras.layers.MultiHeadAttention):
        inputs = [results[id(tensor)] for tensor in bind_inputs(node)]
        done += translate_attention(called, inputs)
        return done[-1].name
    arguments = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    values = [results.get(id(value), value) for value in arguments]
    if not isinstance(called, keras.layers.Layer):
        done += translate_function(node, values)
        return done[-1].name
    names = [value for value in values if isinstance(value, str)]
    constants = [value for value in arguments if is_constant(value)]
    merge_kind = MERGES.get(type(called))
    if merge_kind is None:
        if constants:
            raise refuse(called, "a constant among its inputs")
        return _add(called, names, done)
    merged = [value for value in values if isinstance(value, str) or is_constant(value)]
    shapes = [value.shape for value in arguments if hasattr(value, "shape")]
    done += _merge_layers(merge_kind, called.name, merged, shapes)
    return done[-1].name


def _merge_layers(
    op: str, name: str, values: list[Any], shapes: list[tuple[int, ...]]
) -> list[Operation]:
    """Keras' merging layers give inputs of fewer axes more of them after the images' one, unlike
    `keras.ops`."""
    rank = max(len(shape) for shape in shapes)
    done = []
    for number, (value, shape) in enumerate(zip(values, shapes, strict=True)):
        if isinstance(value, str) and len(shape) < rank:
            wider = [1] * (rank - len(shape)) + list(shape[1:])
            done.append(Operation(f"{name}_input_{number}", "reshape", [value], {"shape": wider}))
            values = [*values[:number], done[-1].name, *values[number + 1 :]]
    return done + merge(op, name, values, shapes)


def _with_sides(model: keras.Model, shape: tuple[int | None, ...]) -> keras.Model:
    """`model` on inputs of `shape`, where it leaves their sides open."""
    if None not in model.inputs[0].shape[1:]:
        return model
    sized = keras.models.clone_model(model, input_tensors=keras.Input(shape[1:]))
    sized.set_weights(model.get_weights())
    return sized


def list_nodes(model: keras.Model) -> list[Any]:
    """The nodes of `model`'s graph, inputs first.

    A layer may belong to other graphs too, as a backbone's layers do: only this one's nodes count,
    which Keras keeps in a private attribute.
    """
    nodes = {}
    for depth in model._nodes_by_depth.values():
        for node in depth:
            if node.operation.name in nodes:
                raise InputError(
                    f"the layer {node.operation.name} is used more than once.",
                    "Use a layer of its own in each place.",
                )
            nodes[node.operation.name] = node
    return [nodes[operation.name] for operation in model.operations]


def _add(layer: keras.layers.Layer, inputs: list[str], done: list[Operation]) -> str:
    """Adds what `layer` does to `done`; returns the name of the result."""
    if type(layer).__name__ in TRAINING_LAYERS or isinstance(layer, keras.layers.InputLayer):
        return inputs[0]
    if isinstance(layer, keras.Model):
        return _add_model(layer, inputs[0], done)
    if isinstance(layer, keras.layers.Activation):
        return _activate(layer, done, inputs[0], layer.name)
    names = inputs
    if type(layer).__name__ == "CustomScaleLayer":  # of Inception-ResNet: x + scale · y
        scaled = replace(make_scale(f"{layer.name}_scaled", layer.scale, 0.0), inputs=inputs[1:])
        done += [scaled, Operation(layer.name, "add", [inputs[0], scaled.name])]
        return layer.name
    require_channels_last(layer)
    for operation in translate(layer):
        done.append(replace(operation, inputs=names))
        names = [operation.name]
    return _activate(layer, done, names[0], f"{layer.name}_activation")


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
