"""The choice of views: those that raise the score are taken, the others are not."""

import numpy as np
import pytest

from toolkit.evaluation import metrics, tta

CLASSES = 4


def noisy(rng, labels: np.ndarray, sure: float) -> np.ndarray:
    """Probabilities of a network that leans to the truth by `sure`, with noise of its own."""
    scores = rng.normal(size=(len(labels), CLASSES))
    scores[np.arange(len(labels)), labels] += sure
    return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


def test_a_view_with_errors_of_its_own_is_chosen_and_a_bad_one_is_not():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, 500)
    plain = noisy(rng, labels, 1.0)
    found = {"identity": plain, "good": noisy(rng, labels, 1.0), "bad": noisy(rng, labels, -3.0)}
    choice = tta.choose_views(found, labels, len(labels))
    assert choice.chosen.views == ("identity", "good")
    correct = [
        (probabilities.argmax(axis=1) == labels).mean()
        for probabilities in (plain, (plain + found["good"]) / 2)
    ]
    assert choice.chosen.gain.value == pytest.approx(correct[1] - correct[0])
    assert 0 < choice.chosen.gain.low < choice.chosen.gain.value < choice.chosen.gain.high
    alone = {gain.views[-1]: gain for gain in choice.alone}
    assert alone["good"] == choice.chosen and alone["bad"].gain.high < 0


def test_a_view_that_says_the_same_is_not_chosen():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, 300)
    plain = noisy(rng, labels, 1.0)
    choice = tta.choose_views({"identity": plain, "same": plain.copy()}, labels, len(labels))
    assert choice.chosen.views == ("identity",)
    assert choice.chosen.gain == metrics.Estimate(0, 0, 0)


def test_the_best_view_comes_first_and_sets_have_an_end():
    rng = np.random.default_rng(2)
    labels = np.tile(rng.integers(0, CLASSES, 500), 16)
    found = {
        "identity": noisy(rng, labels, 1.0),
        "weak": noisy(rng, labels, 0.8),
        "strong": noisy(rng, labels, 2.2),
    }
    found |= {f"more {number}": noisy(rng, labels, 1.9) for number in range(12)}
    chosen = tta.choose_views(found, labels, 500).chosen.views
    assert chosen[:2] == ("identity", "strong")
    assert len(chosen) == tta.MAX_VIEWS


def test_copies_of_an_image_count_as_one_image():
    """Ten equal copies of each image give the interval, and the choice, of one copy."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, CLASSES, 60)
    found = {"identity": noisy(rng, labels, 1.0), "other": noisy(rng, labels, 0.3)}
    once = tta.choose_views(found, labels, 60)
    copies = {view: np.tile(probabilities, (10, 1)) for view, probabilities in found.items()}
    assert tta.choose_views(copies, np.tile(labels, 10), 60).alone == once.alone
    assert once.alone[0].gain.low < once.alone[0].gain.high


def test_quarter_turns_need_square_images():
    assert "quarter-turn" in tta.applicable_views((96, 96, 3))
    assert "quarter-turn" not in tta.applicable_views(
        (40, 72, 3)
    ) and "half-turn" in tta.applicable_views((40, 72, 3))
