"""The score to expect on a hidden, corrupted test set, estimated from the shift benchmark.

A benchmark flatters a network that was trained on the benchmark's own kinds of corruption, and a
hidden test set holds kinds that nobody trained on. So the benchmark's chains are divided in two:
those that touch a family of corruptions the training's augmentations lack, and the others. The
first count for at least UNKNOWN_SHARE of the score. Where the training covered all families, the
one with the lowest accuracy stands for the unknown one.

The mixture of families and severities is that of `toolkit.data.shift`, the same for all presets.
The interval has two parts. A bootstrap over images and over families holds what another draw of
either may change. The score on a family that neither the training nor the benchmark has is
uncertain in addition: by as much as the families of the benchmark differ from one another.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.core.contract import metric_range
from toolkit.data import shift
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate, Scored

# The least share of chains that touch an unknown family: that of one family of seven, in chains of
# two.
UNKNOWN_SHARE = 2 / 7


@dataclass(frozen=True)
class ScoreEstimate:
    """score: with its interval. absent: families that the training did not know. stand_in: the
    known one that stands for an unknown one, where no score of an unknown one is known."""

    score: Estimate
    absent: tuple[str, ...]
    stand_in: str | None


def estimate(
    scored: Scored,
    chains: np.ndarray,
    known: tuple[str, ...],
    counted: np.ndarray | None = None,
    new_share: float = UNKNOWN_SHARE,
) -> ScoreEstimate:
    """The score to expect of a network that was trained on the families `known`.

    scored: its answers to the copies of the benchmark's mixture, a copy a seed. chains: bool
    [seeds, n, families], the families each copy went through. counted: bool [seeds, n], the copies
    to go by, all by default. new_share: of the hidden images that go through a family which neither
    the training nor the counted copies have. A metric that is no mean over images is taken on the
    two kinds of chains one by one, and their mean is weighted.
    """
    if counted is None:
        counted = np.ones(chains.shape[:2], bool)
    of_families = _family_scores(scored, chains, counted)
    absent, stand_in = _find_absent(known, of_families, scored.lower_is_better)
    unknown: np.ndarray = np.any(chains[..., absent], axis=-1)
    share = max(new_share, float(unknown[counted].mean()))
    rounds = _bootstrap(scored, chains, unknown, share, counted)
    rounds = rounds + new_share * _draw_family_errors(of_families, len(rounds))
    interval = np.clip(np.quantile(rounds, metrics.INTERVAL), *metric_range(scored.metric))
    low, high = interval.tolist()
    score = Estimate(_weighted_score(scored, unknown, share, counted), low, high)
    missing = tuple(family for family in shift.FAMILIES if family not in known)
    return ScoreEstimate(score, missing, stand_in)


def weigh(scored: Scored, chains: np.ndarray, known: tuple[str, ...], weights: np.ndarray) -> float:
    """The score of `estimate` for another mixture, in which each chain has a weight: above zero,
    float [seeds, n]."""
    of_families = _family_scores(scored, chains, weights)
    absent, _ = _find_absent(known, of_families, scored.lower_is_better)
    unknown: np.ndarray = np.any(chains[..., absent], axis=-1)
    share = max(UNKNOWN_SHARE, float(weights[unknown].sum() / weights.sum()))
    return _weighted_score(scored, unknown, share, weights)


def _family_scores(scored: Scored, chains: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The score of the chains that touch each family, [families]; NaN where there are none."""
    places = range(len(shift.FAMILIES))
    return np.array([scored.compute(weights * chains[..., place]) for place in places])


def _find_absent(
    known: tuple[str, ...], of_families: np.ndarray, lower_is_better: bool
) -> tuple[np.ndarray, str | None]:
    """The families that count as unknown, bool [families]: those that the training lacks, and the
    one with the worst score where none of them has a score. Returns the name of that one, too."""
    names = np.array(shift.FAMILIES)
    absent = ~np.isin(names, known)
    if not np.isnan(of_families[absent]).all():
        return absent, None
    worst = np.nanargmax if lower_is_better else np.nanargmin
    stand_in = str(names[worst(of_families)])
    return absent | (names == stand_in), stand_in


def _draw_family_errors(of_families: np.ndarray, rounds: int) -> np.ndarray:
    """How far the score on a new family may be from what is expected of it, [rounds].

    Families are taken as draws from one normal distribution, of which those with a score are the
    sample: the error of a prediction for one draw more follows Student's t (Higgins, Thompson and
    Spiegelhalter, Journal of the Royal Statistical Society A 172, 2009, give it for a new study in
    a meta-analysis). The spread includes what few chains of a family leave to chance, so it is
    rather too wide than too narrow.
    """
    found = of_families[~np.isnan(of_families)]
    if len(found) < 2:
        return np.zeros(rounds)
    scale = np.std(found, ddof=1) * np.sqrt(1 + 1 / len(found))
    # A generator of its own: the draws of the bootstrap must not depend on the families' number.
    return scale * np.random.default_rng(1).standard_t(len(found) - 1, rounds)


def _bootstrap(
    scored: Scored,
    chains: np.ndarray,
    unknown: np.ndarray,
    share: float,
    counted: np.ndarray,
) -> np.ndarray:
    """The score in each round of a bootstrap over images and families.

    Families are weighted by a Bayesian bootstrap (Rubin, Annals of Statistics 9, 1981), in which
    none vanishes altogether: an ordinary one would leave some rounds without any unknown chain.
    """
    rng = np.random.default_rng(0)
    families = len(shift.FAMILIES)
    family_weights = rng.dirichlet(np.ones(families), metrics.BOOTSTRAP_ROUNDS) * families
    image_weights = metrics.bootstrap_weights(chains.shape[1])
    touched = chains.astype(float)
    scores = []
    # One round at a time: the weights of all rounds together would take seeds · n · rounds numbers,
    # 128 MB for a thousand images.
    for of_images, of_families in zip(image_weights, family_weights):
        # A chain weighs the product of its families' weights: the sum of their logarithms.
        of_chains = np.exp(touched @ np.log(of_families)) * counted
        scores.append(_weighted_score(scored, unknown, share, of_images * of_chains))
    return np.array(scores)


def _weighted_score(
    scored: Scored, unknown: np.ndarray, share: float, weights: np.ndarray
) -> float:
    """The weighted score where the chains that are `unknown` have that `share`; where there are no
    chains of one kind, the score of the other."""
    total = divisor = 0.0
    for part_share, part in ((share, unknown), (1 - share, ~unknown)):
        score = scored.compute(weights * part)
        if not np.isnan(score):
            total += part_share * score
            divisor += part_share
    return total / divisor
