"""The metrics of competitions are scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from toolkit.core import metrics
from toolkit.core.contract import METRICS

CASES = 30


def by_sklearn(metric, labels, probabilities, weights):
    predicted = probabilities.argmax(axis=1)
    if metric == "accuracy":
        return sklearn_metrics.accuracy_score(labels, predicted, sample_weight=weights)
    if metric == "macro-f1":
        return sklearn_metrics.f1_score(labels, predicted, average="macro", sample_weight=weights)
    if metric == "balanced-accuracy":
        return sklearn_metrics.balanced_accuracy_score(labels, predicted, sample_weight=weights)
    if metric == "quadratic-kappa":
        return sklearn_metrics.cohen_kappa_score(
            labels, predicted, weights="quadratic", sample_weight=weights
        )
    classes = range(probabilities.shape[1])
    return sklearn_metrics.log_loss(labels, probabilities, labels=classes, sample_weight=weights)


# A class that is predicted and does not occur is no mistake of the test.
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("metric", METRICS)
def test_they_are_those_of_scikit_learn(metric):
    """With weights, and with classes that do not occur or are never predicted."""
    rng = np.random.default_rng(0)
    for case in range(CASES):
        classes, images = rng.integers(2, 7), rng.integers(5, 60)
        labels = rng.integers(0, classes, images)
        probabilities = rng.dirichlet(np.ones(classes), images)
        weights = rng.random(images) if case % 2 else None
        wanted = by_sklearn(metric, labels, probabilities, weights)
        assert metrics.compute(metric, labels, probabilities, weights) == pytest.approx(wanted)


def test_labels_are_enough_but_for_the_log_loss():
    labels = np.array([0, 1, 1, 2])
    assert metrics.compute("accuracy", labels, np.array([0, 1, 2, 2])) == 0.75
    with pytest.raises(ValueError, match="needs probabilities"):
        metrics.compute("log-loss", labels, labels)


def test_an_impossible_class_has_a_finite_loss():
    assert np.isfinite(metrics.compute("log-loss", np.array([0]), np.array([[0.0, 1.0]])))
