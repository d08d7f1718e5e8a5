"""Whether the rewritten network is still the trained one: each rewrite compared on real images."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import keras
import numpy as np
import tensorflow as tf

from submission.model import SLICE, Network
from toolkit.core.errors import SubmissionError
from toolkit.core.progress import Progress, silent
from toolkit.export import graph
from toolkit.export.graph import Operation
from toolkit.export.optimize import REWRITES

CHANGED = 0.001  # share of labels that may change between the trained network and the package
TIE = 0.01  # of probability; float16 weights move it by some 1e-3
# Of one comparison: some five seconds on 2 cores. It shortens the comparison of the heaviest
# networks only.
GFLOP = 800.0
FEWEST = 32  # images compared, however heavy the network


@dataclass(frozen=True)
class Step:
    """One rewrite. max_relative_difference: of scores before the softmax, largest to largest.
    label_agreement: a share."""

    rewrite: str
    max_relative_difference: float
    label_agreement: float


@dataclass(frozen=True)
class Verification:
    """images: how many were compared. gflop: of one image. bfloat16: whether labels bear products
    of that type."""

    images: int
    gflop: float
    bfloat16: bool
    steps: tuple[Step, ...]

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        return asdict(self)


def rewritten(
    trained: keras.Model,
    images: np.ndarray,
    stored: Callable[[list[Operation]], list[Operation]],
    progress: Progress = silent,
) -> tuple[list[Operation], Verification]:
    """The operations of `trained` after each rewrite and with weights as `stored` makes them, and
    how they compare.

    images: held-out ones, uint8 [n, h, w, 3]; of a heavy network as many as GFLOP allows. Raises
    SubmissionError when more labels change than CHANGED.
    """
    operations = graph.operations(trained)
    gflop = sum(operation.flop for operation in operations) / 1e9
    images = images[: max(FEWEST, int(GFLOP / gflop))].astype(np.float32)
    reference = np.asarray(trained.predict(images, batch_size=SLICE, verbose=0))
    steps: list[Step] = []

    def compare(rewrite: str, dtype: tf.DType = tf.float32) -> np.ndarray:
        progress(len(steps), len(REWRITES) + 3, rewrite)
        found = scores(operations, images, dtype)
        steps.append(compared(rewrite, found, reference))
        return found

    compare("plain operations")
    for name, rewrite in REWRITES.items():
        operations = rewrite(operations)
        compare(name)
    operations = stored(operations)
    changed = changed_labels(compare("weights as they are stored"), reference)
    if too_many(changed, len(images)):
        raise SubmissionError(
            f"the package labels {changed} of {len(images)} images differently from the trained "
            "network.",
            "Store the weights whole, with --weights float32, or train it again: it loses too much "
            "in float16.",
        )
    changed = changed_labels(compare("products in bfloat16", tf.bfloat16), reference)
    return operations, Verification(
        len(images), gflop, not too_many(changed, len(images)), tuple(steps)
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


def compared(what: str, found: np.ndarray, reference: np.ndarray) -> Step:
    """How `found` differs from `reference`, both scores [n, classes]."""
    difference = float(np.abs(found - reference).max() / np.abs(reference).max())
    agreement = float(np.mean(found.argmax(axis=1) == reference.argmax(axis=1)))
    return Step(what, float(f"{difference:.2g}"), round(agreement, 5))


def changed_labels(found: np.ndarray, reference: np.ndarray) -> int:
    """How many labels of `found` are not those of `reference`, both scores [n, classes].

    A label counts as changed when the reference preferred its own by more than TIE: between two
    classes that it holds equally likely, the last bits of the weights may tip the balance either
    way.
    """
    probabilities = np.asarray(keras.ops.softmax(reference))
    rows = np.arange(len(reference))
    preference = probabilities.max(axis=1) - probabilities[rows, found.argmax(axis=1)]
    return int(np.count_nonzero(preference > TIE))


def too_many(changed: int, images: int) -> bool:
    """More than one label, and more than CHANGED of all."""
    return changed > max(1, CHANGED * images)
