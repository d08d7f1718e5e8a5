"""Operations as a network was trained, made fewer and faster: each rewrite computes the same.

Every one takes and gives operations in the order they run, and leaves those it is given as they
are. All are exact in real numbers; `toolkit.export.equivalence` measures what rounding does.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from submission.model import ACTIVATIONS
from toolkit.export.layers import Operation

# Operations that are linear in their input but for the bias: out = kernel · in + bias.
LINEAR = ("conv", "depthwise", "dense")


def fold_scales_back(operations: list[Operation]) -> list[Operation]:
    """Batch norms and ConvNeXt's LayerScales become part of the product before them.

    Exact because scale · (kernel · x + bias) + offset = (scale · kernel) · x + (scale · bias +
    offset), for each output channel by itself (Jacob et al., arXiv:1712.05877, section 3.2).
    """
    return _join_to_products(operations, "scale", _scale_outputs)


def fold_scales_forward(operations: list[Operation]) -> list[Operation]:
    """The scale of a layer norm, or of the pixels, becomes part of the product after it.

    Exact because kernel · (scale · x + offset) + bias = (kernel · scale) · x + (kernel · offset +
    bias), for each input channel by itself. Not where zeros are padded to what was scaled: those
    zeros would be scaled, too, and an offset would be missing at the edges.
    """
    uses = _count_uses(operations)
    done: dict[str, Operation] = {}
    for operation in operations:
        before = done.get(operation.inputs[0]) if operation.inputs else None
        # Depthwise convolutions are left as they are: those of our backbones pad zeros themselves,
        # or follow a padding.
        unpadded = operation.op == "dense" or (
            operation.op == "conv"
            and operation.attributes["padding"] == "VALID"
            # A kernel of groups sees channels of its own group only.
            and "groups" not in operation.attributes
        )
        # A scale that something else reads, too, has to stay.
        if unpadded and before is not None and before.op == "scale" and uses[before.name] == 1:
            del done[before.name]
            operation = replace(_scale_inputs(operation, **before.weights), inputs=before.inputs)
        done[operation.name] = operation
    return list(done.values())


def pointwise_as_dense(operations: list[Operation]) -> list[Operation]:
    """Convolutions of 1×1 become products of matrices.

    Exact because a 1×1 kernel with stride 1 sees one position at a time: [h · w, inputs] times
    [inputs, outputs]. TensorFlow runs matrix products faster on CPUs than the convolution.
    """
    return [_as_dense(operation) for operation in operations]


def _as_dense(operation: Operation) -> Operation:
    if operation.op != "conv" or operation.attributes["strides"] != [1, 1]:
        return operation
    if "groups" in operation.attributes:
        return operation
    kernel = operation.weights["kernel"]
    if kernel.shape[:2] != (1, 1):
        return operation
    weights = operation.weights | {"kernel": kernel[0, 0]}
    return replace(operation, op="dense", attributes={}, weights=weights)


def join_activations(operations: list[Operation]) -> list[Operation]:
    """An activation becomes part of the product before it, and TensorFlow runs the two as one.

    Exact because nothing is computed differently: the activation is applied to the same numbers
    while they are still in the cache.
    """

    def activate(product: Operation, activation: Operation) -> Operation:
        return replace(product, attributes=product.attributes | {"activation": activation.op})

    for name in ACTIVATIONS:
        operations = _join_to_products(operations, name, activate)
    return operations


# In this order: scales go back before they go forward, since a product before them takes any scale,
# one after them not every; activations come last, since a product that has one takes no scale.
REWRITES: dict[str, Callable[[list[Operation]], list[Operation]]] = {
    "scales folded into the product before": fold_scales_back,
    "scales folded into the product after": fold_scales_forward,
    "1×1 convolutions as matrix products": pointwise_as_dense,
    "activations joined to products": join_activations,
}


def rewrite_all(operations: list[Operation]) -> list[Operation]:
    """`operations` after every rewrite."""
    for rewrite in REWRITES.values():
        operations = rewrite(operations)
    return operations


def _count_uses(operations: list[Operation]) -> Counter[str]:
    """How often each result is used; the last is the network's own, which counts as a use."""
    uses = Counter([operations[-1].name])
    for operation in operations:
        uses.update(operation.inputs)
    return uses


def _join_to_products(
    operations: list[Operation], kind: str, join: Callable[[Operation, Operation], Operation]
) -> list[Operation]:
    """Each operation of `kind` that follows a product without activation, joined to it.

    Only where nothing else uses the product's result: that user would get the joined one's.
    """
    uses = _count_uses(operations)
    done: dict[str, Operation] = {}
    # An operation that vanishes hands its users over to the product: its name, the product's name.
    renamed: dict[str, str] = {}
    for operation in operations:
        if not operation.inputs:  # a constant
            done[operation.name] = operation
            continue
        only_use = uses[operation.inputs[0]] == 1
        operation = replace(
            operation, inputs=[renamed.get(name, name) for name in operation.inputs]
        )
        product = done.get(operation.inputs[0])
        if product and operation.op == kind and only_use and _can_be_joined(product):
            done[product.name] = join(product, operation)
            renamed[operation.name] = product.name
        else:
            done[operation.name] = operation
    return list(done.values())


def _can_be_joined(operation: Operation) -> bool:
    """Whether it is a product without activation: after one, folding would no longer be linear."""
    return operation.op in LINEAR and "activation" not in operation.attributes


def _scale_outputs(product: Operation, scaling: Operation) -> Operation:
    """`product` with its outputs scaled. In float64: the folded weights are rounded once."""
    scale = scaling.weights["scale"].astype(np.float64)
    offset = scaling.weights["offset"].astype(np.float64)
    # The channels a depthwise kernel [h, w, channels, 1] makes lie on its third axis, the others'
    # on the last.
    shape = (-1, 1) if product.op == "depthwise" else (-1,)
    kernel = product.weights["kernel"] * scale.reshape(shape)
    return _replace_weights(product, kernel, product.weights["bias"] * scale + offset)


def _scale_inputs(product: Operation, scale: np.ndarray, offset: np.ndarray) -> Operation:
    """`product` of inputs that are scaled first. In float64: the folded weights are rounded
    once."""
    kernel = product.weights["kernel"].astype(np.float64)  # [inputs, outputs] or [h, w, ...]
    inputs, outputs = kernel.shape[-2:]
    scale = np.broadcast_to(scale, (inputs,)).astype(np.float64)
    offset = np.broadcast_to(offset, (inputs,)).astype(np.float64)
    # Every position of the kernel sees the offset, as nothing is padded.
    summed = kernel.reshape(-1, inputs, outputs).sum(axis=0)
    bias = product.weights["bias"] + np.tensordot(summed, offset, (0, 0))
    return _replace_weights(product, kernel * scale[:, None], bias)


def _replace_weights(product: Operation, kernel: np.ndarray, bias: np.ndarray) -> Operation:
    weights = {"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)}
    return replace(product, weights=weights)
