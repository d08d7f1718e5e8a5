"""Operations as a network was trained, made fewer and faster: each rewrite computes the same.

Every one takes and gives operations in the order they run, and leaves those it is given as they
are.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from submission.model import ACTIVATIONS
from toolkit.export.graph import Operation

LINEAR = ("conv", "depthwise", "dense")


def fold_scales_back(operations: list[Operation]) -> list[Operation]:
    """Batch norms and ConvNeXt's LayerScales become part of the product before them."""
    return _joined(operations, "scale", _scaled_after)


def fold_scales_forward(operations: list[Operation]) -> list[Operation]:
    """The scale of a layer norm, or of the pixels, becomes part of the product after it.

    Not where zeros are padded to what was scaled: those would be scaled, too.
    """
    uses, done = _uses(operations), {}
    for operation in operations:
        before = done.get(operation.inputs[0])
        unpadded = operation.op == "dense" or (
            operation.op == "conv" and operation.attributes["padding"] == "VALID"
        )
        if unpadded and before is not None and before.op == "scale" and uses[before.name] == 1:
            del done[before.name]
            operation = replace(_scaled_before(operation, **before.weights), inputs=before.inputs)
        done[operation.name] = operation
    return list(done.values())


def pointwise_as_dense(operations: list[Operation]) -> list[Operation]:
    """Convolutions of 1×1 become products of matrices."""

    def dense(operation: Operation) -> Operation:
        if operation.op != "conv" or operation.attributes["strides"] != [1, 1]:
            return operation
        kernel = operation.weights["kernel"]
        if kernel.shape[:2] != (1, 1):
            return operation
        return replace(
            operation,
            op="dense",
            attributes={},
            weights=operation.weights | {"kernel": kernel[0, 0]},
        )

    return [dense(operation) for operation in operations]


def join_activations(operations: list[Operation]) -> list[Operation]:
    """An activation becomes part of the product before it, and TensorFlow runs the two as one."""

    def activated(product: Operation, activation: Operation) -> Operation:
        return replace(product, attributes=product.attributes | {"activation": activation.op})

    for name in ACTIVATIONS:
        operations = _joined(operations, name, activated)
    return operations


REWRITES: dict[str, Callable[[list[Operation]], list[Operation]]] = {
    "scales folded into the product before": fold_scales_back,
    "scales folded into the product after": fold_scales_forward,
    "1×1 convolutions as matrix products": pointwise_as_dense,
    "activations joined to products": join_activations,
}


def rewritten(operations: list[Operation]) -> list[Operation]:
    """`operations` after every rewrite."""
    for rewrite in REWRITES.values():
        operations = rewrite(operations)
    return operations


def _uses(operations: list[Operation]) -> Counter:
    """How often each result is used; the last is the network's."""
    return Counter(
        [name for operation in operations for name in operation.inputs] + [operations[-1].name]
    )


def _joined(
    operations: list[Operation], kind: str, join: Callable[[Operation, Operation], Operation]
) -> list[Operation]:
    """Each operation of `kind` that alone follows a product without activation, joined to it."""
    uses, done = _uses(operations), {}
    names: dict[str, str] = {}  # of what was joined: the product's
    for operation in operations:
        alone = uses[operation.inputs[0]] == 1
        operation = replace(operation, inputs=[names.get(name, name) for name in operation.inputs])
        product = done.get(operation.inputs[0])
        if operation.op == kind and alone and _open_ended(product):
            done[product.name] = join(product, operation)
            names[operation.name] = product.name
        else:
            done[operation.name] = operation
    return list(done.values())


def _open_ended(operation: Operation | None) -> bool:
    return (
        operation is not None
        and operation.op in LINEAR
        and "activation" not in operation.attributes
    )


def _scaled_after(product: Operation, scaling: Operation) -> Operation:
    scale, offset = (scaling.weights[key].astype(np.float64) for key in ("scale", "offset"))
    # The channels a depthwise kernel [h, w, channels, 1] makes lie on its third axis, the others'
    # on the last.
    shape = (-1, 1) if product.op == "depthwise" else (-1,)
    return _with(
        product,
        product.weights["kernel"] * scale.reshape(shape),
        product.weights["bias"] * scale + offset,
    )


def _scaled_before(product: Operation, scale: np.ndarray, offset: np.ndarray) -> Operation:
    kernel = product.weights["kernel"].astype(np.float64)
    inputs = kernel.shape[-2]
    scale, offset = (
        np.broadcast_to(values, (inputs,)).astype(np.float64) for values in (scale, offset)
    )
    shift = np.tensordot(kernel.reshape(-1, inputs, kernel.shape[-1]).sum(axis=0), offset, (0, 0))
    return _with(product, kernel * scale[:, None], product.weights["bias"] + shift)


def _with(product: Operation, kernel: np.ndarray, bias: np.ndarray) -> Operation:
    return replace(
        product, weights={"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    )
