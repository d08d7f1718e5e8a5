"""Whether the rewritten network still is the trained one: each rewrite is compared on real images.

The rewrites are exact in real numbers (`toolkit.export.optimize` says why); this measures what
rounding does to them, and what storing kernels in float16 and multiplying in bfloat16 does.
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from submission.model import SLICE, Network
from toolkit.core.errors import SubmissionError
from toolkit.core.progress import Progress, silent
from toolkit.export import graph
from toolkit.export.layers import Operation
from toolkit.export.optimize import REWRITES

MAX_CHANGED_SHARE = (
    0.001  # share of labels that may change between the trained network and the package
)
TIE_MARGIN = 0.01  # of probability; float16 weights move it by some 1e-3
# Of one comparison: some five seconds on 2 cores. It shortens the comparison of the heaviest
# networks only.
COMPARISON_GFLOP = 800.0
MIN_IMAGES = 32  # compared, however heavy the network

# Before any rewrite, after each, after storing the weights, and with products in bfloat16.
COMPARISON_COUNT = len(REWRITES) + 3


@dataclass(frozen=True)
class RewriteComparison:
    """One rewrite. max_relative_difference: of scores before the softmax, largest to largest.
    label_agreement: a share."""

    rewrite: str
    max_relative_difference: float
    label_agreement: float


@dataclass(frozen=True)
class Comparison:
    """images: how many were compared. gflop: of one image. bfloat16: whether the labels stay the
    same with products in that type."""

    images: int
    gflop: float
    bfloat16: bool
    steps: tuple[RewriteComparison, ...]


def rewrite_and_compare(
    trained: keras.Model,
    images: np.ndarray,
    store: Callable[[list[Operation]], list[Operation]],
    progress: Progress = silent,
) -> tuple[list[Operation], Comparison]:
    """The operations of `trained` after each rewrite and with weights as `store` makes them, and
    how they compare.

    images: held-out ones, uint8 [n, h, w, 3]; of a heavy network as many as COMPARISON_GFLOP
    allows. Raises SubmissionError when more labels change than MAX_CHANGED_SHARE.
    """
    operations = graph.operations(trained)
    gflop = sum(operation.flop for operation in operations) / 1e9
    images = images[: max(MIN_IMAGES, int(COMPARISON_GFLOP / gflop))].astype(np.float32)
    reference = _predict(trained, images, operations)
    steps: list[RewriteComparison] = []

    def compare(rewrite: str, dtype: tf.DType = tf.float32) -> np.ndarray:
        progress(len(steps), COMPARISON_COUNT, rewrite)
        found = scores(operations, images, dtype)
        steps.append(compare_scores(rewrite, found, reference))
        return found

    compare("plain operations")
    for name, rewrite in REWRITES.items():
        operations = rewrite(operations)
        compare(name)
    operations = store(operations)
    changed = count_changed_labels(compare("weights as they are stored"), reference)
    if exceeds_limit(changed, len(images)):
        raise SubmissionError(
            f"the package labels {changed} of {len(images)} images differently from the trained "
            "network.",
            "Store float32 weights: cbtool build --weights float32; or train with a "
            "lower learning rate.",
        )
    # bfloat16 keeps 8 bits of a number. Where that changes labels, CPUs compute in float32 instead:
    # no reason to stop.
    changed = count_changed_labels(compare("products in bfloat16", tf.bfloat16), reference)
    bfloat16 = not exceeds_limit(changed, len(images))
    return operations, Comparison(len(images), gflop, bfloat16, tuple(steps))


def _predict(trained: keras.Model, images: np.ndarray, operations: list[Operation]) -> np.ndarray:
    """The scores that `trained` gives, [n, classes].

    Where it has leaky ReLUs, layer by layer: the graph of `predict` may give them another slope
    (`submission.model._leaky_relu`).
    """
    if all(operation.op != "leaky_relu" for operation in operations):
        return np.asarray(trained.predict(images, batch_size=SLICE, verbose=0))
    starts = range(0, len(images), SLICE)
    return np.concatenate(
        [np.asarray(trained(images[at : at + SLICE], training=False)) for at in starts]
    )


def scores(
    operations: list[Operation], images: np.ndarray, dtype: tf.DType = tf.float32
) -> np.ndarray:
    """Class scores before the softmax, float32 [n, classes], as the submission computes them from
    float32 `images`."""
    runner = network(operations, images.shape[1:], dtype)
    slices = [tf.constant(images[start : start + SLICE]) for start in range(0, len(images), SLICE)]
    return np.concatenate([runner.scores(pixels) for pixels in slices])


def network(
    operations: list[Operation], shape: tuple[int, ...], dtype: tf.DType = tf.float32
) -> Network:
    """What the submission runs for `operations` on images of `shape`, (height, width, 3)."""
    weights = {operation.name: operation.weights for operation in operations if operation.weights}
    return Network([operation.entry for operation in operations], weights, shape, dtype)


def compare_scores(rewrite: str, found: np.ndarray, reference: np.ndarray) -> RewriteComparison:
    """How the scores `found` after `rewrite` differ from `reference`, both [n, classes]."""
    difference = float(np.abs(found - reference).max() / np.abs(reference).max())
    agreement = float(np.mean(found.argmax(axis=1) == reference.argmax(axis=1)))
    return RewriteComparison(rewrite, float(f"{difference:.2g}"), round(agreement, 5))


def count_changed_labels(found: np.ndarray, reference: np.ndarray) -> int:
    """How many labels of `found` are not those of `reference`, both scores [n, classes].

    A label counts as changed when the reference preferred its own by more than TIE_MARGIN: between
    two classes that it holds equally likely, the last bits of the weights may tip the balance
    either way.
    """
    probabilities = np.asarray(keras.ops.softmax(reference))
    rows = np.arange(len(reference))
    preference = probabilities.max(axis=1) - probabilities[rows, found.argmax(axis=1)]
    return int(np.count_nonzero(preference > TIE_MARGIN))


def exceeds_limit(changed: int, images: int) -> bool:
    """More than one label, and more than MAX_CHANGED_SHARE of all."""
    return changed > max(1, MAX_CHANGED_SHARE * images)
