"""The shift benchmark on one held-out part: which copies of its images are predicted, and the
scores of the labels they got."""

from dataclasses import dataclass

import numpy as np

from toolkit.data import shift
from toolkit.data.dataset import Samples, concatenate
from toolkit.evaluation import metrics, score_estimate
from toolkit.evaluation.metrics import Estimate, Scores
from toolkit.evaluation.score_estimate import ScoreEstimate
from toolkit.training.headline import Headline

BENCHMARK_SEEDS = 8  # of the chains; each image goes through one chain a seed
MAX_IMAGES = 1000  # of a part: beyond, the interval is narrow enough
MAX_FAMILY_IMAGES = 200  # of these, for each severity of a family
CLEAN, CHAINED = "clean", "shift"
CONDITIONS = (CLEAN, CHAINED, *shift.FAMILIES)


def limit_images(samples: Samples) -> Samples:
    """`samples`, or MAX_IMAGES of them, always the same."""
    if len(samples) <= MAX_IMAGES:
        return samples
    rng = np.random.default_rng(0)
    # Sorted, so that ids stay in the order of the file, as in a part that is taken whole.
    return samples.take(np.sort(rng.choice(len(samples), MAX_IMAGES, replace=False)))


def corrupt(samples: Samples, condition: str) -> Samples:
    """The copies of `samples` to predict under `condition`, one copy of all images after the other.

    CLEAN: the images themselves. CHAINED: one chain of each for every seed. A family: each
    severity of it, of MAX_FAMILY_IMAGES at most.
    """
    samples = _select(samples, condition)
    if condition == CLEAN:
        return samples
    if condition == CHAINED:
        return shift.mixtures(samples, range(BENCHMARK_SEEDS))
    return concatenate(
        [shift.single(samples, condition, severity) for severity in shift.SEVERITIES]
    )


def _select(samples: Samples, condition: str) -> Samples:
    """Those of `samples` that are copied under `condition`."""
    if condition in (CLEAN, CHAINED) or len(samples) <= MAX_FAMILY_IMAGES:
        return samples
    return samples.take(np.linspace(0, len(samples) - 1, MAX_FAMILY_IMAGES).astype(int))


@dataclass(frozen=True)
class BenchmarkResult:
    """The scores of one part under all conditions.

    clean, shift: accuracy with its interval, on the images and on their chains. families: by
    severity. estimate: the score to expect of a hidden test set. scores: all scores of the clean
    and the chained images.
    """

    clean: Estimate
    shift: Estimate
    families: dict[str, tuple[Estimate, ...]]
    estimate: ScoreEstimate
    scores: dict[str, Scores]

    @property
    def headline(self) -> Headline:
        """The five numbers a script reads."""
        score = self.estimate.score
        return Headline(self.clean.value, self.shift.value, score.value, score.low, score.high)

    def worst_families(self, most: int = 3) -> list[tuple[str, float]]:
        """The families with the lowest mean accuracy over the severities, worst first."""
        means = {
            family: float(np.mean([accuracy.value for accuracy in row]))
            for family, row in self.families.items()
        }
        return sorted(means.items(), key=lambda item: item[1])[:most]

    def worst_confusions(self, condition: str, most: int = 3) -> list[tuple[int, int, int]]:
        """The commonest errors: (true class, predicted class, images), most first."""
        errors = self.scores[condition].confusion.copy()
        np.fill_diagonal(errors, 0)
        wrong = [(*place, int(count)) for place, count in np.ndenumerate(errors) if count]
        return sorted(wrong, key=lambda entry: -entry[2])[:most]


def score(
    samples: Samples, predicted: dict[str, np.ndarray], known: tuple[str, ...]
) -> BenchmarkResult:
    """The scores of the labels that were `predicted`, by condition, for what `corrupt` makes of
    `samples`.

    known: the families that the network was trained on, as `toolkit.training.families` lists them.
    """
    correct = {}
    for condition in CONDITIONS:
        # [copies, n] against [n]: copies lie one after the other, so numpy repeats the labels.
        labels = _select(samples, condition).labels
        correct[condition] = predicted[condition].reshape(-1, len(labels)) == labels
    chains = np.stack([shift.families(samples.ids, seed) for seed in range(BENCHMARK_SEEDS)])
    scores = {}
    for condition in (CLEAN, CHAINED):
        labels = np.tile(samples.labels, len(correct[condition]))
        scores[condition] = metrics.score(labels, predicted[condition], len(samples.class_names))
    families = {
        family: tuple(metrics.bootstrap_mean(copy) for copy in correct[family])
        for family in shift.FAMILIES
    }
    return BenchmarkResult(
        clean=metrics.bootstrap_mean(correct[CLEAN]),
        shift=metrics.bootstrap_mean(correct[CHAINED]),
        families=families,
        estimate=score_estimate.estimate(correct[CHAINED], chains, known),
        scores=scores,
    )
