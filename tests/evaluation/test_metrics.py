"""Intervals and calibration, against cases known by other means."""

import numpy as np
import pytest

from toolkit.evaluation import metrics


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
    loss = metrics.log_loss(np.array([[0.5, 0.5], [0.0, 1.0]]), np.array([0, 0]))
    assert loss[0] == pytest.approx(np.log(2)) and np.isfinite(loss[1]) and loss[1] > 15
