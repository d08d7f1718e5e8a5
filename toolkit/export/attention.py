"""Keras' multi-head attention as products of matrices and the operation `attention`."""

import inspect
from typing import Any

import keras
import numpy as np

from toolkit.export.layers import Operation, refuse


def bind_inputs(node: Any) -> list[Any]:
    """The query, value and key of an attention layer's call, as it was made in `node`. Raises
    InputError for a call with a mask, or one that also returns the attention scores."""
    layer = node.operation
    bound = inspect.signature(layer.call).bind(*node.arguments.args, **node.arguments.kwargs)
    given = dict(bound.arguments)
    query, value = given.pop("query"), given.pop("value")
    key = given.pop("key", None)
    given.pop("training", None)
    for name, setting in given.items():
        if setting is not None and setting is not False:
            raise refuse(layer, f"{name} in its call")
    return [query, value, value if key is None else key]


def translate_attention(
    layer: keras.layers.MultiHeadAttention, inputs: list[str]
) -> list[Operation]:
    """The operations of `layer` for the results `inputs`: query, value and key.

    Raises InputError for attention over axes with others between or after them, more than one axis
    of outputs, gates and sliding windows.
    """
    if getattr(layer, "use_gate", False) or getattr(layer, "sliding_window", None):
        raise refuse(layer, "a gate or a sliding window")
    if len(layer.output_dense.kernel.shape) != 3:
        raise refuse(layer, "more than one axis of outputs")
    query, value, key = inputs
    rank = len(layer.output.shape)
    axes = sorted(axis % rank for axis in layer.attention_axes)
    if axes != list(range(axes[0], rank - 1)):
        raise refuse(layer, "attention axes other than the last before the channels")
    # How often a kernel is applied; keys and values may have other positions than the output.
    positions = int(np.prod(layer.output.shape[1:-1]))
    products = [
        _project(f"{layer.name}_{role}", source, dense, dense.kernel.shape[0], positions)
        for role, source, dense in (
            ("query", query, layer.query_dense),
            ("key", key, layer.key_dense),
            ("value", value, layer.value_dense),
        )
    ]
    heads = Operation(
        f"{layer.name}_heads",
        "attention",
        [product.name for product in products],
        {"heads": layer.num_heads, "axis": axes[0]},
    )
    count, size, _ = layer.output_dense.kernel.shape
    joined = _project(layer.name, heads.name, layer.output_dense, count * size, positions)
    return [*products, heads, joined]


def _project(
    name: str, source: str, layer: keras.layers.EinsumDense, inputs: int, positions: int
) -> Operation:
    """`layer`, which splits its outputs by heads or joins its `inputs` from them, as a product of
    matrices: the heads lie side by side."""
    kernel, *bias = (np.asarray(value, np.float32) for value in layer.get_weights())
    matrix = kernel.reshape(inputs, -1)
    offsets = bias[0].ravel() if bias else np.zeros(matrix.shape[1], np.float32)
    return Operation(name, "dense", [source], {}, {"kernel": matrix, "bias": offsets}, positions)
