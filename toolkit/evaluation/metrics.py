"""Scores of predictions, with the intervals that the number of images leaves them."""

from dataclasses import asdict, dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

ROUNDS = 2000  # of the bootstrap
BINS = 15  # of confidence; Guo et al., arXiv:1706.04599
SMALLEST = 1e-7  # probability whose logarithm is taken


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def values(self) -> dict[str, float]:
        """As a dictionary, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """Shares in 0..1 over n images; precision, recall and f1 are means over the classes that occur
    or are predicted.

    per_class: one (precision, recall, f1, images) a class, in class order. confusion: int64
    [classes, classes], rows the truth.
    """

    n: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    per_class: tuple[tuple[float, float, float, int], ...]
    confusion: np.ndarray

    @property
    def summary(self) -> dict[str, float]:
        """The numbers of a line in a table, ready for JSON."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "macro_precision": self.precision,
            "macro_recall": self.recall,
            "macro_f1": self.f1,
        }


def scores(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Scores:
    """Scores of `predicted` against `truth`, both int [n] in 0..classes-1."""
    every = list(range(classes))
    columns = precision_recall_fscore_support(truth, predicted, labels=every, zero_division=0)
    present = np.union1d(truth, predicted)
    precision, recall, f1 = (float(np.mean(column[present])) for column in columns[:3])
    per_class = tuple((float(p), float(r), float(f), int(n)) for p, r, f, n in zip(*columns))
    accuracy = float(np.mean(truth == predicted))
    return Scores(
        len(truth),
        accuracy,
        precision,
        recall,
        f1,
        per_class,
        confusion_matrix(truth, predicted, labels=every),
    )


def bootstrapped(values: np.ndarray) -> Estimate:
    """The mean of `values`, float [n] or [copies, n], by a bootstrap over the n images (Efron,
    1979).

    The copies of one image go together: an image is hard in all of them.
    """
    images = np.atleast_2d(values).mean(axis=0)
    drawn = resampled(len(images)) @ images
    return Estimate(float(images.mean()), *np.quantile(drawn, (0.025, 0.975)).tolist())


def resampled(n: int, seed: int = 0) -> np.ndarray:
    """The share of each of `n` images in each round of a bootstrap, float64 [ROUNDS, n]; rows sum
    to 1."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), ROUNDS) / n


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error of `probabilities` [n, classes]: how far confidence lies from
    accuracy, on average over bins of confidence (Guo et al., arXiv:1706.04599)."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, confidence - right, BINS)
    return float(np.abs(gaps).sum() / len(labels))


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The negative logarithm of the true class's probability, [n]."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST))
