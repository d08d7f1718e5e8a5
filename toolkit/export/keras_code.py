"""A model as Python that builds it anew: one statement a layer, of layers and functions of Keras
alone. It depends on no format in which Keras saves models, so every version of Keras that has the
layers runs it."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from toolkit.core.errors import InputError
from toolkit.export.functions import is_constant

HINT = "Build the network of layers of keras.layers; docs/manifest.md says which can be exported."
# What a call or a layer has without meaning for prediction.
TRAINING_SETTINGS = ("trainable", "dtype", "build_config", "batch_shape", "training", "mask")
TRAINING_ENDINGS = ("_initializer", "_regularizer", "_constraint")


@dataclass
class Code:
    """What is written so far. functions: their texts, each builds a model; constants: arrays that
    they read, by name. custom: layers of the user's own, which the text calls by that name of a
    module."""

    functions: list[str] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    custom: Mapping[str, type[keras.layers.Layer]] = field(default_factory=dict)


def write_code(
    model: keras.Model, custom: Mapping[str, type[keras.layers.Layer]] | None = None
) -> Code:
    """The functions that build `model` and the models within it; the last one, `build_network`, is
    that of the whole. custom: layers of the user's own, by name.

    Raises InputError for a layer that is neither of keras.layers nor one of these, code in a
    setting included.
    """
    code = Code(custom=custom or {})
    _write_function(model, "build_network", code)
    return code


def _write_function(model: keras.Model, function: str, code: Code) -> None:
    graph = model._functional if isinstance(model, keras.Sequential) else model
    names: dict[int, str] = {}
    made: dict[str, str] = {}  # layers that are called again, by name
    lines: list[str] = []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            place = f"x{len(lines)}"
            expression = _write_node(node, names, made, function, lines, code)
            lines.append(f"{place} = {expression}")
            several = len(node.output_tensors) > 1
            for number, tensor in enumerate(node.output_tensors):
                names[id(tensor)] = f"{place}[{number}]" if several else place
    (source,), (result,) = graph.inputs, graph.outputs
    ends = f"{names[id(source)]}, {names[id(result)]}, name={model.name!r}"
    lines.append(f"return keras.Model({ends})")
    body = "\n".join(f"    {line}" for line in lines)
    code.functions.append(f"def {function}() -> keras.Model:\n{body}\n")


def _write_node(
    node: Any,
    names: dict[int, str],
    made: dict[str, str],
    function: str,
    lines: list[str],
    code: Code,
) -> str:
    """The expression that computes what `node` computes."""
    called = node.operation
    if isinstance(called, keras.layers.InputLayer):
        return f"keras.Input({tuple(called.output.shape[1:])!r}, name={called.name!r})"
    arguments = [_express(value, called.name, names, code) for value in node.arguments.args]
    keywords = {
        key: _express(value, called.name, names, code)
        for key, value in node.arguments.kwargs.items()
        if key not in TRAINING_SETTINGS and value is not None and value is not False
    }
    given = ", ".join([*arguments, *(f"{key}={text}" for key, text in keywords.items())])
    if not isinstance(called, keras.layers.Layer):
        return _write_function_call(called, arguments, given)
    if isinstance(called, keras.Model):
        within = f"{function}_{len(code.functions)}"
        _write_function(called, within, code)
        layer = f"{within}()"
    else:
        layer = _write_layer(called, code)
    if len(called._inbound_nodes) > 1:  # perhaps in this graph: it stays one layer
        if called.name not in made:
            made[called.name] = f"layer_{len(made)}"
            lines.append(f"{made[called.name]} = {layer}")
        layer = made[called.name]
    return f"{layer}({given})"


def _write_layer(layer: keras.layers.Layer, code: Code) -> str:
    kind = type(layer).__name__
    module = "layers"
    if type(layer) is code.custom.get(kind):
        module = "custom_objects"
    elif type(layer) is not getattr(keras.layers, kind, None):
        raise InputError(f"the layer {layer.name} ({kind}) is not one of keras.layers.", HINT)
    settings = _choose_settings(layer.get_config(), layer.__init__, layer.name)
    return f"{module}.{kind}({settings})"


def _write_function_call(operation: Any, arguments: list[str], given: str) -> str:
    kind = type(operation).__name__
    if kind == "GetItem":
        return f"{arguments[0]}[{arguments[1]}]"
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind).lower()
    if not hasattr(keras.ops, name):
        raise InputError(f"the function {operation.name} ({kind}) is not one of keras.ops.", HINT)
    settings = _choose_settings(
        operation.get_config() | {"name": None}, getattr(keras.ops, name), operation.name
    )
    return f"ops.{name}({', '.join(filter(None, (given, settings)))})"


def _choose_settings(config: dict[str, Any], call: Any, name: str) -> str:
    """The settings in `config` that `call` takes and that are not its defaults, so that an older
    Keras knows them."""
    taken = inspect.signature(call).parameters
    chosen = []
    for key, value in config.items():
        if key in TRAINING_SETTINGS or key.endswith(TRAINING_ENDINGS):
            continue
        known = key in taken or key == "name"
        default = taken[key].default if key in taken else None
        if not known or value is None or value == default:
            continue
        chosen.append(f"{key}={_write_literal(value, name)}")
    return ", ".join(chosen)


def _express(value: Any, name: str, names: dict[int, str], code: Code) -> str:
    """An argument of a call: a result, a constant, or what is neither."""
    if isinstance(value, keras.KerasTensor):
        return names[id(value)]
    if is_constant(value):
        key = f"constant_{len(code.constants)}"
        code.constants[key] = np.asarray(value)
        return f"CONSTANTS[{key!r}]"
    if isinstance(value, slice):
        return f"slice({value.start!r}, {value.stop!r}, {value.step!r})"
    if isinstance(value, (list, tuple)):
        texts = [_express(each, name, names, code) for each in value]
        return f"({', '.join(texts)},)" if isinstance(value, tuple) else f"[{', '.join(texts)}]"
    return _write_literal(value, name)


def _write_literal(value: Any, name: str) -> str:
    """`value` as Python. Raises InputError for what is no number, text or list of such: nothing
    else may become code."""
    if value is None or type(value) in (bool, int, float, str):
        return repr(value)
    if type(value) in (list, tuple):
        texts = [_write_literal(each, name) for each in value]
        return f"({', '.join(texts)},)" if type(value) is tuple else f"[{', '.join(texts)}]"
    if isinstance(value, np.generic):
        return repr(value.item())
    raise InputError(f"the layer {name} has settings that are not plain values.", HINT)
