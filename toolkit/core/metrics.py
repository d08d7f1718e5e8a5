"""The metrics that competitions score by. numpy alone, because this file is also part of the
scoring program that `cbtool bundle` writes.

The definitions are scikit-learn's, which the tests compare with; they are computed here from one
confusion matrix, with weights, so that a bootstrap of thousands of rounds takes milliseconds.
"""

import numpy as np

LOWER_IS_BETTER = ("log-loss",)
SMALLEST_PROBABILITY = 1e-7  # whose logarithm is taken


def compute(
    metric: str, labels: np.ndarray, answers: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """The `metric`, by its name in `toolkit.core.contract`, of `answers` against the true `labels`,
    int [n].

    answers: predicted labels, int [n], or probabilities, float [n, classes]. weights: float [n], of
    the images, all alike by default. NaN where all weights are 0. Raises ValueError for labels
    where the metric needs probabilities.
    """
    if weights is None:
        weights = np.ones(len(labels))
    if weights.sum() == 0:
        return float("nan")
    if metric == "log-loss":
        if answers.ndim != 2:
            raise ValueError(f"{metric} needs probabilities, not labels")
        return float(np.average(compute_log_losses(answers, labels), weights=weights))
    predicted = take_labels(answers)
    if metric == "accuracy":
        return float(np.average(predicted == labels, weights=weights))
    classes = int(max(labels.max(), predicted.max())) + 1
    confusion = np.bincount(labels * classes + predicted, weights, classes * classes)
    return _score_confusion(metric, confusion.reshape(classes, classes))


def take_labels(answers: np.ndarray) -> np.ndarray:
    """The labels that `answers` stand for, int [n]: themselves, or the most probable classes."""
    return answers.argmax(axis=1) if answers.ndim == 2 else answers


def compute_log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The negative logarithm of the true class's probability, [n]."""
    true_class = probabilities[np.arange(len(labels)), labels]
    return -np.log(np.maximum(true_class, SMALLEST_PROBABILITY))


def _score_confusion(metric: str, confusion: np.ndarray) -> float:
    """The `metric` of a confusion matrix, float [classes, classes], rows the truth."""
    correct = np.diag(confusion)
    of_class, as_class = confusion.sum(axis=1), confusion.sum(axis=0)
    if metric == "balanced-accuracy":
        present = of_class > 0
        return float(np.mean(correct[present] / of_class[present]))
    if metric == "macro-f1":
        present = of_class + as_class > 0
        return float(np.mean(2 * correct[present] / (of_class + as_class)[present]))
    # Cohen's kappa with the squares of the classes' distances as weights of the errors; as in
    # scikit-learn, a class that neither occurs nor is predicted is no place in between.
    present = of_class + as_class > 0
    confusion = confusion[present][:, present]
    places = np.arange(len(confusion))
    errors = (places[:, None] - places) ** 2
    expected = np.outer(of_class[present], as_class[present]) / confusion.sum()
    chance = float((errors * expected).sum())
    # One class alone, predicted everywhere: nothing that chance could miss.
    return 1.0 - float((errors * confusion).sum()) / chance if chance else 1.0
