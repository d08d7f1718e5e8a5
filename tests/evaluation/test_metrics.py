"""Intervals and calibration, against cases known by other means."""

import numpy as np
import pytest

from toolkit.core.contract import METRICS
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Scored


def test_the_bootstrap_interval_is_the_binomials_for_many_images():
    correct = np.arange(2000) % 5 > 0
    found = metrics.bootstrap_mean(correct)
    error = 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    assert found.value == pytest.approx(0.8)
    assert (found.low, found.high) == pytest.approx((0.8 - error, 0.8 + error), abs=0.003)


def test_copies_of_an_image_tell_no_more_than_one():
    correct = np.random.default_rng(0).random(300) < 0.7
    assert metrics.bootstrap_mean(np.tile(correct, (5, 1))) == metrics.bootstrap_mean(correct)


def test_intervals_cover_what_they_should():
    generator, hits = np.random.default_rng(1), 0
    for _ in range(100):
        found = metrics.bootstrap_mean(generator.random(150) < 0.75)
        hits += found.low <= 0.75 <= found.high
    assert 88 <= hits <= 99


def test_calibration_error_by_hand():
    """Two bins: 0.9 sure and half correct, 0.6 sure and all correct."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], np.float32)
    labels = np.array([0, 1, 0, 0])
    assert metrics.calibration_error(probabilities, labels) == pytest.approx((0.4 + 0.4) / 2)
    assert metrics.calibration_error(np.eye(2, dtype=np.float32)[labels], labels) == 0


def test_log_loss_of_a_coin_and_of_an_impossible_class():
    loss = metrics.compute_log_losses(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 0]))
    assert loss[0] == pytest.approx(np.log(2)) and np.isfinite(loss[1]) and loss[1] > 15


@pytest.fixture
def answers():
    """Probabilities for three copies of 200 images, and the images' labels."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 200)
    scores = rng.normal(size=(600, 4))
    scores[np.arange(600), np.tile(labels, 3)] += 1.5
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_has_an_interval_around_it(metric, answers):
    probabilities, labels = answers
    found = Scored(metric, probabilities, labels).estimate()
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.25
    once = Scored(metric, probabilities[:200], labels)
    repeated = Scored(metric, np.tile(probabilities[:200], (3, 1)), labels)
    ours, theirs = repeated.estimate(), once.estimate()
    assert (ours.value, ours.low, ours.high) == pytest.approx(
        (theirs.value, theirs.low, theirs.high)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_a_gain_is_above_zero_where_answers_are_better(metric, answers):
    """Also where a lower score is the better one."""
    probabilities, labels = answers
    truth = np.eye(4)[np.tile(labels, 3)]
    better = Scored(metric, 0.8 * probabilities + 0.2 * truth, labels)
    gain = better.gain_over(Scored(metric, probabilities, labels))
    assert 0 < gain.low < gain.value < gain.high
    reverse = Scored(metric, probabilities, labels).gain_over(better)
    assert reverse.value == pytest.approx(-gain.value)


@pytest.mark.parametrize("metric", METRICS)
def test_weights_choose_copies(metric, answers):
    probabilities, labels = answers
    weights = np.zeros((3, 200))
    weights[1] = 2.0
    second = Scored(metric, probabilities[200:400], labels)
    assert Scored(metric, probabilities, labels).compute(weights) == pytest.approx(second.compute())
    assert np.isnan(Scored(metric, probabilities, labels).compute(np.zeros((3, 200))))
