"""The score to expect on a hidden, corrupted test set, estimated from the shift benchmark.

A benchmark flatters a network that was trained on the benchmark's own kinds of corruption, and a
hidden test set holds kinds that nobody trained on. So the benchmark's chains are divided in two:
those that touch a family of corruptions the training's augmentations lack, and the others. The
first count for at least UNKNOWN_SHARE of the score. Where the training covered all families, the
one with the lowest accuracy stands for the unknown one.

The mixture of families and severities is that of `toolkit.data.shift`, the same for all presets.
The interval is a bootstrap over images and over families: it holds what another draw of either may
change, and nothing else.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.data import shift
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate, Scored

# The least share of chains that touch an unknown family: that of one family of seven, in chains of
# two.
UNKNOWN_SHARE = 2 / 7


@dataclass(frozen=True)
class ScoreEstimate:
    """score: with its interval. absent: families that the training did not know."""

    score: Estimate
    absent: tuple[str, ...]


def estimate(
    scored: Scored,
    chains: np.ndarray,
    known: tuple[str, ...],
    counted: np.ndarray | None = None,
) -> ScoreEstimate:
    """The score to expect of a network that was trained on the families `known`.

    scored: its answers to the copies of the benchmark's mixture, a copy a seed. chains: bool
    [seeds, n, families], the families each copy went through. counted: bool [seeds, n], the copies
    to go by, all by default. A metric that is no mean over images is taken on the two kinds of
    chains one by one, and their mean is weighted.
    """
    if counted is None:
        counted = np.ones(chains.shape[:2], bool)
    absent = np.array([family not in known for family in shift.FAMILIES])
    if not absent.any():
        absent[_weakest_family(scored, chains, counted)] = True
    unknown: np.ndarray = np.any(chains[..., absent], axis=-1)
    share = max(UNKNOWN_SHARE, float(unknown[counted].mean()))
    rounds = _bootstrap(scored, chains, unknown, share, counted)
    low, high = np.quantile(rounds, metrics.INTERVAL).tolist()
    score = Estimate(_weighted_score(scored, unknown, share, counted), low, high)
    return ScoreEstimate(score, tuple(np.array(shift.FAMILIES)[absent].tolist()))


def _weakest_family(scored: Scored, chains: np.ndarray, counted: np.ndarray) -> int:
    """The place in shift.FAMILIES of the family whose chains have the worst score."""
    scores = [scored.compute(counted & chains[..., place]) for place in range(len(shift.FAMILIES))]
    return int(np.nanargmax(scores) if scored.lower_is_better else np.nanargmin(scores))


def _bootstrap(
    scored: Scored,
    chains: np.ndarray,
    unknown: np.ndarray,
    share: float,
    counted: np.ndarray,
) -> list[float]:
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
    return scores


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
