"""The estimated score: what it weighs, and that a training on the benchmark's families does not
flatter it."""

import numpy as np
import pytest

from toolkit.augment.registry import OPERATIONS
from toolkit.core import config
from toolkit.data import shift
from toolkit.evaluation import score_estimate
from toolkit.evaluation.metrics import Scored
from toolkit.training import families

N, SEEDS = 1000, 5
CHAINS = np.stack([shift.families(np.arange(N), seed) for seed in range(SEEDS)])
PLACES = {family: place for place, family in enumerate(shift.FAMILIES)}


def scored(correct: np.ndarray) -> Scored:
    """Answers that are right where `correct` says so: all images are of class 0."""
    return Scored("accuracy", 1 - correct.astype(int).ravel(), np.zeros(N, int))


def chance(rng, accuracies: dict[str, float]) -> np.ndarray:
    """Whether each copy is predicted correctly: a chain as often as the worst of its families."""
    shares = np.array([accuracies.get(family, 1.0) for family in shift.FAMILIES])
    return rng.random((SEEDS, N)) < np.where(CHAINS, shares, 1.0).min(axis=-1)


def test_every_augmentation_belongs_to_a_family_of_the_benchmark():
    assert {name for members in families.AUGMENTED.values() for name in members} == set(OPERATIONS)
    assert tuple(families.AUGMENTED) == shift.FAMILIES


def test_what_a_training_knows():
    assert families.list_covered_families(config.preset("report-base-unclean")) == ()
    assert families.list_covered_families(config.preset("report-convnext-xlarge")) == (
        "geometric",
        "photometric",
        "overlay",
    )
    assert "noise" in families.list_covered_families(config.preset("lite"))
    off = config.preset(
        "lite", ("train.phases=[{trainable='all', epochs=1, learning_rate=1e-3, augment=false}]",)
    )
    assert families.list_covered_families(off) == ()


def test_without_augmentation_it_is_the_mixtures_own_score():
    correct = chance(np.random.default_rng(0), {"noise": 0.2, "blur": 0.5})
    found = score_estimate.estimate(scored(correct), CHAINS, ())
    assert found.score.value == pytest.approx(correct.mean())
    assert found.score.low < found.score.value < found.score.high and found.absent == shift.FAMILIES


def test_a_training_on_the_benchmarks_own_families_does_not_flatter_it():
    """Perfect on six families, at 0.4 on the seventh: the estimated score gives that one its share,
    whichever it is."""
    rng = np.random.default_rng(1)
    for family in ("overlay", "noise"):
        correct = chance(rng, {family: 0.4})
        found = score_estimate.estimate(
            scored(correct), CHAINS, tuple(name for name in shift.FAMILIES if name != family)
        )
        touched = CHAINS[..., PLACES[family]]
        share = max(score_estimate.UNKNOWN_SHARE, touched.mean())
        assert found.score.value == pytest.approx(
            share * correct[touched].mean() + (1 - share) * correct[~touched].mean()
        )
        assert found.score.value <= correct.mean() + 1e-9


def test_where_all_families_are_known_the_worst_stands_for_the_unknown():
    correct = chance(np.random.default_rng(2), {"blur": 0.3})
    found = score_estimate.estimate(scored(correct), CHAINS, shift.FAMILIES)
    assert (
        found.absent == ()
        and found.stand_in == "blur"
        and found.score.value <= correct.mean() + 1e-9
    )


def test_the_interval_holds_other_draws_of_families():
    """One family ruins everything: another hidden set may hold much of it, or little."""
    wide = score_estimate.estimate(
        scored(chance(np.random.default_rng(3), {"noise": 0.0})), CHAINS, ()
    ).score
    even = score_estimate.estimate(
        scored(np.random.default_rng(3).random((SEEDS, N)) < wide.value), CHAINS, ()
    ).score
    assert wide.high - wide.low > 2 * (even.high - even.low)


FEW = 150  # images, of which an interval takes a tenth of a second


def few(correct: np.ndarray) -> tuple[Scored, np.ndarray]:
    """Answers to the chains of FEW images, and these chains."""
    answers = 1 - correct[:, :FEW].astype(int).ravel()
    return Scored("accuracy", answers, np.zeros(FEW, int)), CHAINS[:, :FEW]


def test_the_interval_contains_the_score_on_new_families():
    """Each family is held out once; without the spread of the families the interval fails."""
    rng = np.random.default_rng(0)
    answers, chains = few(chance(rng, dict(zip(shift.FAMILIES, rng.uniform(0.4, 1.0, 7)))))
    inside: dict[float, list[bool]] = {0: [], 1: []}
    for place in range(len(shift.FAMILIES)):
        touched = chains[..., place]
        obtained = answers.compute(touched)
        for share, found in inside.items():
            score = score_estimate.estimate(answers, chains, (), ~touched, new_share=share).score
            found.append(score.low <= obtained <= score.high)
    assert sum(inside[1]) >= 6 > 4 >= sum(inside[0])  # of 7


def test_the_interval_grows_with_the_share_of_a_new_family_and_ends_at_the_metrics_range():
    correct = chance(np.random.default_rng(4), {"blur": 0.5, "noise": 0.2, "overlay": 0.7})
    answers, chains = few(correct)
    scores = [
        score_estimate.estimate(answers, chains, (), new_share=share).score for share in (0, 0.3, 1)
    ]
    widths = [score.high - score.low for score in scores]
    assert widths == sorted(widths) and widths[2] > 2 * widths[0]
    assert len({score.value for score in scores}) == 1 and scores[2].high <= 1


def test_a_single_absent_family_that_is_held_out_is_represented_by_the_worst():
    answers, chains = few(chance(np.random.default_rng(5), {"blur": 0.3, "overlay": 0.4}))
    known = tuple(name for name in shift.FAMILIES if name != "overlay")
    counted = ~chains[..., PLACES["overlay"]]
    found = score_estimate.estimate(answers, chains, known, counted, new_share=1)
    assert found.score.value == answers.compute(counted & chains[..., PLACES["blur"]]) < 0.6
    assert found.absent == ("overlay",) and found.stand_in == "blur"
