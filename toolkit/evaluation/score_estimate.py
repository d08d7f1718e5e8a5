"""What a hidden, corrupted test set will say: the score foretold from the shift benchmark.

A benchmark flatters a network that was trained on the benchmark's own kinds of corruption, and a
hidden test set holds kinds that nobody trained on. So the chains of the benchmark are parted: those
that touch a family of corruptions the training's augmentations lack, and those that do not. The
first count for at least UNSEEN of the score. Where the training covered all families, the one it
does worst on stands for the unknown one.

The mixture of families and severities is that of `toolkit.data.shift`, the same for all presets.
The interval is a bootstrap over images and over families: it holds what another draw of either may
change, and nothing else.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.data import shift
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate

# Share of chains with something the training did not know, at least: that of one family of seven in
# a chain of two.
UNSEEN = 2 / 7


@dataclass(frozen=True)
class Foretold:
    """score: with its interval. absent: families that the training did not know."""

    score: Estimate
    absent: tuple[str, ...]


def foretell(
    right: np.ndarray, chains: np.ndarray, known: tuple[str, ...], counted: np.ndarray | None = None
) -> Foretold:
    """The score foretold for a network trained on the families `known`.

    right: bool [draws, n], whether each copy of the benchmark's mixture was told rightly. chains:
    bool [draws, n, families], the families each went through. counted: bool [draws, n], the copies
    to go by, all by default.
    """
    counted = np.ones(right.shape, bool) if counted is None else counted
    absent = np.array([family not in known for family in shift.FAMILIES])
    if not absent.any():
        alone = [_mean(right, counted & chains[..., place]) for place in range(len(absent))]
        absent[int(np.nanargmin(alone))] = True
    strange = chains[..., absent].any(axis=-1)
    share = max(UNSEEN, _mean(strange, counted))
    generator = np.random.default_rng(0)
    # Bayesian bootstrap over the families (Rubin, 1981): none vanishes altogether.
    families = generator.dirichlet(np.ones(len(absent)), metrics.ROUNDS) * len(absent)
    # The logarithm of a chain's weight is the sum of its families'.
    weights = np.exp(chains.astype(float) @ np.log(families.T)) * counted[..., None]
    images = metrics.resampled(right.shape[1])
    drawn = [
        _weighted(right, strange, share, image * weights[..., place])
        for place, image in enumerate(images)
    ]
    score = Estimate(
        _weighted(right, strange, share, counted), *np.quantile(drawn, (0.025, 0.975)).tolist()
    )
    return Foretold(
        score, tuple(family for family, missing in zip(shift.FAMILIES, absent) if missing)
    )


def _weighted(right: np.ndarray, strange: np.ndarray, share: float, weights: np.ndarray) -> float:
    """The mean of `right` where chains that are `strange` have that `share`."""
    parts = [
        (share, _mean(right, weights * strange)),
        (1 - share, _mean(right, weights * ~strange)),
    ]
    parts = [(part, mean) for part, mean in parts if not np.isnan(mean)]
    return sum(part * mean for part, mean in parts) / sum(part for part, _ in parts)


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted mean, NaN where there is nothing to weigh."""
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total else float("nan")
