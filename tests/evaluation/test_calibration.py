"""Temperature and class shares: found where they are known, not applied where they gain nothing."""

import numpy as np
import pytest

from submission.model import apply_temperature, correct_class_shares
from toolkit.evaluation import calibration
from toolkit.evaluation.predictions import Predictions

CLASSES = 4
EVEN = np.full(CLASSES, 1 / CLASSES)


def drawn(n: int, shares: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels with `shares`, and the true probabilities given even shares and a noisy hint."""
    generator = np.random.default_rng(seed)
    labels = generator.choice(CLASSES, n, p=shares)
    hints = generator.normal(size=(n, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    scores = np.exp(1.5 * hints)  # Bayes' rule for these hints
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), labels


def choose(probabilities: np.ndarray, labels: np.ndarray) -> calibration.PostProcessing:
    predictions = Predictions(np.arange(len(labels)), probabilities, labels)
    return calibration.choose_post_processing(predictions, EVEN)


def test_a_temperature_that_is_known_is_found():
    probabilities, labels = drawn(4000, EVEN)
    assert calibration.fit_temperature(probabilities, labels) == pytest.approx(1.0, abs=0.08)
    assert calibration.fit_temperature(
        apply_temperature(probabilities, 0.4), labels
    ) == pytest.approx(2.5, rel=0.08)
    assert np.array_equal(
        apply_temperature(probabilities, 3.0).argmax(axis=1), probabilities.argmax(axis=1)
    )


def test_the_temperature_is_kept_only_if_it_lowers_the_loss():
    probabilities, labels = drawn(1000, EVEN)
    sure = apply_temperature(probabilities, 0.4)
    chosen = choose(sure, labels)
    assert chosen.temperature == pytest.approx(2.5, rel=0.15) and chosen.loss_gain.low > 0
    np.testing.assert_allclose(chosen.apply(sure), probabilities, atol=0.1)
    chosen = choose(probabilities, labels)
    assert chosen.temperature is None and chosen.apply(probabilities) is probabilities


def test_other_class_shares_are_found_from_the_images_alone():
    other = np.array([0.7, 0.2, 0.05, 0.05])
    probabilities, labels = drawn(3000, other)
    adjusted = correct_class_shares(probabilities, EVEN.tolist())
    assert adjusted.mean(axis=0) == pytest.approx(other, abs=0.03)
    assert (adjusted.argmax(axis=1) == labels).mean() > (
        probabilities.argmax(axis=1) == labels
    ).mean() + 0.03
    chosen = choose(probabilities, labels)
    assert chosen.shares == tuple(EVEN) and chosen.score_gain.low > 0
    np.testing.assert_allclose(chosen.apply(probabilities), adjusted, atol=0.2)


def test_few_images_and_the_same_shares_are_left_alone():
    probabilities, labels = drawn(100, EVEN)
    assert correct_class_shares(probabilities, EVEN.tolist()) is probabilities
    probabilities, labels = drawn(2000, EVEN)
    assert choose(probabilities, labels).shares is None
