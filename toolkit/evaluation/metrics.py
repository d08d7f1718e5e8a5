"""Scores of predictions, with the intervals that the number of images leaves them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from toolkit.core.contract import MetricName
from toolkit.core.metrics import LOWER_IS_BETTER, compute, compute_log_losses, take_labels

BOOTSTRAP_ROUNDS = 2000
CONFIDENCE_BINS = 15  # of the calibration error; Guo et al., arXiv:1706.04599
INTERVAL = (0.025, 0.975)  # quantiles: 95 %


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


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


def score(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Scores:
    """Scores of the `predicted` labels against the true `labels`, both int [n] in 0..classes-1.

    The definitions are scikit-learn's (`precision_recall_fscore_support` with zero_division=0),
    computed here so that scoring a zip does not import it.
    """
    # One number for each pair of true and predicted class, so that one count makes the matrix.
    confusion = np.bincount(labels * classes + predicted, minlength=classes * classes)
    confusion = confusion.reshape(classes, classes)
    correct = np.diag(confusion)
    of_class, as_class = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = _divide(correct, as_class)
    recall = _divide(correct, of_class)
    f1 = _divide(2 * correct, of_class + as_class)
    # A class that neither occurs nor is predicted has no score that could count in a mean.
    present = (of_class + as_class) > 0
    columns = (precision.tolist(), recall.tolist(), f1.tolist(), of_class.tolist())
    return Scores(
        n=len(labels),
        accuracy=float(np.mean(labels == predicted)),
        precision=float(np.mean(precision[present])),
        recall=float(np.mean(recall[present])),
        f1=float(np.mean(f1[present])),
        per_class=tuple(zip(*columns)),
        confusion=confusion,
    )


def _divide(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """`counts` / `totals`, 0 where there is nothing to divide by."""
    return counts / np.maximum(totals, 1)


def bootstrap_mean(values: np.ndarray) -> Estimate:
    """The mean of `values`, float [n] or [copies, n], with an interval by a bootstrap over the n
    images (Efron, Annals of Statistics 7, 1979).

    The copies of one image are drawn together: an image that is hard is hard in all of them.
    """
    means = np.atleast_2d(values).mean(axis=0)
    drawn = bootstrap_weights(len(means)) @ means
    low, high = np.quantile(drawn, INTERVAL).tolist()
    return Estimate(float(means.mean()), low, high)


@lru_cache(maxsize=4)  # an evaluation needs those of two numbers of images, sixty times
def bootstrap_weights(n: int, seed: int = 0) -> np.ndarray:
    """The share of each of `n` images in each round of a bootstrap: float64 [BOOTSTRAP_ROUNDS, n],
    rows sum to 1; not to be changed."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(n, np.full(n, 1 / n), BOOTSTRAP_ROUNDS) / n
    weights.flags.writeable = False
    return weights


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The expected calibration error of `probabilities` [n, classes]: how far confidence lies from
    accuracy, on average over bins of confidence (Guo et al., arXiv:1706.04599)."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    gaps = np.bincount(bins, confidence - correct, CONFIDENCE_BINS)
    return float(np.abs(gaps).sum() / len(labels))


@dataclass(frozen=True, eq=False)
class Scored:
    """Answers to copies of n images, one copy of all images after the other, by one metric.

    answers: labels, int [copies · n], or probabilities, float [copies · n, classes]. labels: the
    truth, int [n].
    """

    metric: MetricName
    answers: np.ndarray
    labels: np.ndarray

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER

    @cached_property
    def values(self) -> np.ndarray | None:
        """What the metric is the mean of, float [copies, n]; None for a metric that is no mean over
        images."""
        n = len(self.labels)
        if self.metric == "accuracy":
            correct = take_labels(self.answers).reshape(-1, n) == self.labels
            return correct.astype(float)
        if self.metric == "log-loss":
            return compute_log_losses(self.answers, self._repeated).reshape(-1, n)
        return None

    @cached_property
    def _repeated(self) -> np.ndarray:
        return np.tile(self.labels, len(self.answers) // len(self.labels))

    def compute(self, weights: np.ndarray | None = None) -> float:
        """The metric. weights: of the copies, float [copies, n], all alike by default. NaN where
        nothing has a weight."""
        if weights is None:
            return compute(self.metric, self._repeated, self.answers)
        if self.values is None:
            return compute(self.metric, self._repeated, self.answers, weights.ravel())
        total = float(weights.sum())
        return float((self.values * weights).sum()) / total if total else float("nan")

    def estimate(self) -> Estimate:
        """The metric with an interval by a bootstrap over the images."""
        if self.values is not None:
            return bootstrap_mean(self.values)
        low, high = np.quantile(self._bootstrap(), INTERVAL).tolist()
        return Estimate(self.compute(), low, high)

    def gain_over(self, other: "Scored") -> Estimate:
        """How much better these answers are than `other` ones to the same copies: above 0 is
        better, whatever the metric. The bootstrap draws each image with both."""
        sign = -1.0 if self.lower_is_better else 1.0
        if self.values is not None and other.values is not None:
            return bootstrap_mean(sign * (self.values - other.values))
        differences = sign * (self._bootstrap() - other._bootstrap())
        low, high = np.quantile(differences, INTERVAL).tolist()
        return Estimate(sign * (self.compute() - other.compute()), low, high)

    def _bootstrap(self) -> np.ndarray:
        """The metric in each round of a bootstrap over the images, [BOOTSTRAP_ROUNDS]."""
        copies = len(self.answers) // len(self.labels)
        rounds = bootstrap_weights(len(self.labels))
        return np.array([self.compute(np.tile(weights, (copies, 1))) for weights in rounds])
