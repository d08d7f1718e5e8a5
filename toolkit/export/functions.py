"""What networks compute between their layers: functions of `keras.ops`, and sums and products of
tensors, numbers and constants."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from toolkit.core.errors import InputError
from toolkit.export.layers import HINT, Operation, make_scale

# An argument: the name of the operation that makes it, or a number or constant.
Value = Any


def is_constant(value: Any) -> bool:
    """Whether `value`, an argument of a call, is an array that the network carries along."""
    return not isinstance(value, keras.KerasTensor) and keras.ops.is_tensor(value)


def translate_function(node: Any, values: list[Value]) -> list[Operation]:
    """The function of `keras.ops` that `node` calls, as operations.

    values: its arguments, flattened, with names instead of the graph's tensors. The last operation
    has the function's own name. Raises InputError for a function that has no translation.
    """
    function = node.operation
    kind = type(function).__name__
    if kind not in FUNCTIONS:
        raise _refuse(function.name, kind)
    return FUNCTIONS[kind](node, values)


def merge(
    op: str, name: str, values: list[Value], shapes: list[tuple[int, ...]]
) -> list[Operation]:
    """`op`, one of add, subtract, multiply and maximum, of `values`.

    values: names of results, numbers and constants. shapes: of the tensors among them, with the
    images' axis. Raises InputError for a constant that differs from image to image.
    """
    names = [value for value in values if isinstance(value, str)]
    if len(names) == 1 and len(values) == 2 and op != "maximum":
        scaled = _merge_with_channels(op, name, values, shapes)
        if scaled:
            return [scaled]
    rank = max(len(shape) for shape in shapes)
    done: list[Operation] = []
    sources = []
    for number, value in enumerate(values):
        if isinstance(value, str):
            sources.append(value)
            continue
        constant = np.asarray(value, np.float32)
        constant = constant.reshape([1] * (rank - constant.ndim) + list(constant.shape))
        if constant.shape[0] != 1:
            raise InputError(f"the operation {name} has a constant for each image.", HINT)
        weights = {"values": constant[0]}
        done.append(Operation(f"{name}_constant_{number}", "constant", [], {}, weights))
        sources.append(done[-1].name)
    return [*done, Operation(name, op, sources)]


def _merge_with_channels(
    op: str, name: str, values: list[Value], shapes: list[tuple[int, ...]]
) -> Operation | None:
    """One number, or one a channel, as a scale, which the rewrites fold; None for other
    constants."""
    first = isinstance(values[0], str)
    source, constant = values if first else reversed(values)
    numbers = np.asarray(constant, np.float32)
    channels = max(shapes, key=len)[-1]
    if numbers.ndim > 1 or numbers.size not in (1, channels):
        return None
    if op == "multiply":
        scale: Any = numbers
        offset: Any = np.zeros_like(numbers)
    elif op == "add":
        scale, offset = np.ones_like(numbers), numbers
    else:
        sign = 1 if first else -1
        scale, offset = np.full_like(numbers, sign), -sign * numbers
    return replace(make_scale(name, scale, offset), inputs=[source])


def _translate_merge(op: str) -> Callable[[Any, list[Value]], list[Operation]]:
    def translate(node: Any, values: list[Value]) -> list[Operation]:
        return merge(op, node.operation.name, values, _shapes(node))

    return translate


def _divide(node: Any, values: list[Value]) -> list[Operation]:
    name = node.operation.name
    if not isinstance(values[0], str) or isinstance(values[1], str):
        raise _refuse(name, "a division by a tensor")
    return merge(
        "multiply", name, [values[0], 1 / np.asarray(values[1], np.float64)], _shapes(node)
    )


def _shapes(node: Any) -> list[tuple[int, ...]]:
    return [tensor.shape for tensor in node.input_tensors]


def _fill(number: float) -> Callable[[Any, list[Value]], list[Operation]]:
    """An array of the input's shape, as 0 · x + number."""

    def translate(node: Any, values: list[Value]) -> list[Operation]:
        filled = make_scale(node.operation.name, 0.0, number)
        return [replace(filled, inputs=[values[0]])]

    return translate


def _get_item(node: Any, values: list[Value]) -> list[Operation]:
    name = node.operation.name
    key = _argument(node, 1, "key")
    images, *items = key if isinstance(key, (tuple, list)) else (key,)
    whole = isinstance(images, slice) and images == slice(None)
    plain = all(isinstance(item, (int, slice)) for item in items)
    if not whole or not plain:
        raise _refuse(name, "a choice of images, or by a tensor")
    chosen = [
        [item.start, item.stop, item.step] if isinstance(item, slice) else item for item in items
    ]
    return [Operation(name, "select", values[:1], {"items": chosen})]


def _reshape(node: Any, values: list[Value]) -> list[Operation]:
    """Also what adds and removes axes of length 1."""
    sides = node.output_tensors[0].shape[1:]
    name = node.operation.name
    if None in sides or len(node.output_tensors[0].shape) < 2:
        raise _refuse(name, "a shape that depends on the number of images")
    return [Operation(name, "reshape", values[:1], {"shape": list(sides)})]


def _transpose(node: Any, values: list[Value]) -> list[Operation]:
    axes = node.operation.axes
    if not axes or axes[0] != 0:
        raise _refuse(node.operation.name, "a transposition of the images' axis")
    return [Operation(node.operation.name, "transpose", values[:1], {"axes": list(axes[1:])})]


def _concatenate(node: Any, values: list[Value]) -> list[Operation]:
    axis = node.operation.axis % len(node.output_tensors[0].shape)
    if axis == 0 or not all(isinstance(value, str) for value in values):
        raise _refuse(node.operation.name, "a concatenation of images or constants")
    return [Operation(node.operation.name, "concatenate", values, {"axis": axis})]


def _reduce(op: str) -> Callable[[Any, list[Value]], list[Operation]]:
    def translate(node: Any, values: list[Value]) -> list[Operation]:
        function = node.operation
        rank = len(node.input_tensors[0].shape)
        axes = range(rank) if function.axis is None else np.atleast_1d(function.axis) % rank
        if 0 in axes:
            raise _refuse(function.name, "a mean over images")
        attributes = {"keep": bool(function.keepdims), "axes": [int(axis) for axis in axes]}
        return [Operation(function.name, op, values[:1], attributes)]

    return translate


def _activation(op: str) -> Callable[[Any, list[Value]], list[Operation]]:
    def translate(node: Any, values: list[Value]) -> list[Operation]:
        return [Operation(node.operation.name, op, values[:1])]

    return translate


def _softmax(node: Any, values: list[Value]) -> list[Operation]:
    """Over another axis than the last: with that axis moved there and back."""
    name, rank = node.operation.name, len(_shapes(node)[0])
    axis = node.operation.axis
    if not isinstance(axis, int) or axis % rank == 0:
        raise _refuse(name, "a softmax over images or several axes")
    if axis % rank == rank - 1:
        return [Operation(name, "softmax", values[:1])]
    order = list(range(1, rank))
    order[axis % rank - 1], order[-1] = order[-1], order[axis % rank - 1]
    moved, shares = f"{name}_moved", f"{name}_shares"
    return [
        Operation(moved, "transpose", values[:1], {"axes": order}),
        Operation(shares, "softmax", [moved]),
        Operation(name, "transpose", [shares], {"axes": order}),
    ]


def _matmul(node: Any, values: list[Value]) -> list[Operation]:
    ranks = [len(shape) for shape in _shapes(node)]
    if len(ranks) != 2 or ranks[0] != ranks[1] or ranks[0] < 3:
        raise _refuse(node.operation.name, "a product with a constant, or of other axes")
    return [Operation(node.operation.name, "matmul", values)]


def _gelu(node: Any, values: list[Value]) -> list[Operation]:
    op = "gelu_tanh" if node.operation.approximate else "gelu"
    return [Operation(node.operation.name, op, values[:1])]


def _argument(node: Any, place: int, name: str) -> Any:
    arguments = node.arguments
    return arguments.args[place] if len(arguments.args) > place else arguments.kwargs[name]


def _refuse(name: str, what: str) -> InputError:
    return InputError(f"the operation {name} ({what}) cannot be exported.", HINT)


FUNCTIONS: dict[str, Callable[[Any, list[Value]], list[Operation]]] = {
    "Add": _translate_merge("add"),
    "Subtract": _translate_merge("subtract"),
    "Multiply": _translate_merge("multiply"),
    "Maximum": _translate_merge("maximum"),
    "Divide": _divide,
    "TrueDivide": _divide,
    "ZerosLike": _fill(0.0),
    "OnesLike": _fill(1.0),
    "GetItem": _get_item,
    "Reshape": _reshape,
    "ExpandDims": _reshape,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Concatenate": _concatenate,
    "Mean": _reduce("mean"),
    "Max": _reduce("max"),
    "Gelu": _gelu,
    "Softmax": _softmax,
    "Matmul": _matmul,
    **{
        name: _activation(op)
        for name, op in {
            "Relu": "relu",
            "Relu6": "relu6",
            "Silu": "silu",
            "Sigmoid": "sigmoid",
            "HardSilu": "hard_silu",
            "HardSigmoid": "hard_sigmoid",
            "Tanh": "tanh",
            "Selu": "selu",
            "Softplus": "softplus",
        }.items()
    },
}
