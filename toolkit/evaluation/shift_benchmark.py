"""The shift benchmark on one held-out part: which copies of its images are predicted, and the
scores of the labels they got."""

from dataclasses import dataclass

import numpy as np

from toolkit.core.contract import AN2DL2024, Contract, MetricName
from toolkit.core.metrics import LOWER_IS_BETTER, take_labels
from toolkit.data import shift
from toolkit.data.dataset import Samples, concatenate
from toolkit.evaluation import metrics, score_estimate
from toolkit.evaluation.metrics import Estimate, Scored, Scores
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

    metric: of the competition. clean, shift: it with its interval, on the images and on their
    chains. families: by severity. estimate: the score to expect of a hidden test set. scores: all
    scores of the clean and the chained images.
    """

    metric: MetricName

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
        """The families with the worst mean score over the severities, worst first."""
        means = {
            family: float(np.mean([score.value for score in row]))
            for family, row in self.families.items()
        }
        lower_is_better = self.metric in LOWER_IS_BETTER
        return sorted(means.items(), key=lambda item: item[1], reverse=lower_is_better)[:most]

    def worst_classes(self, condition: str, most: int = 3) -> list[tuple[int, float]]:
        """The classes of which the smallest shares were found, worst first: (class, recall)."""
        recalls = [(label, row[1]) for label, row in enumerate(self.scores[condition].per_class)]
        return sorted(recalls, key=lambda entry: entry[1])[:most]

    def worst_confusions(self, condition: str, most: int = 3) -> list[tuple[int, int, int]]:
        """The commonest errors: (true class, predicted class, images), most first."""
        errors = self.scores[condition].confusion.copy()
        np.fill_diagonal(errors, 0)
        wrong = [(*place, int(count)) for place, count in np.ndenumerate(errors) if count]
        return sorted(wrong, key=lambda entry: -entry[2])[:most]


def score(
    samples: Samples,
    answers: dict[str, np.ndarray],
    known: tuple[str, ...],
    contract: Contract = AN2DL2024,
) -> BenchmarkResult:
    """The scores of the `answers`, by condition, for what `corrupt` makes of `samples`: labels, int
    [copies], or probabilities, float [copies, classes].

    known: the families that the network was trained on, as `toolkit.training.families` lists them.
    contract: of the competition: its metric, and whether its hidden images are corrupted. Where
    they are not, the score to expect of them is that of the clean images.
    """
    metric = contract.metric
    scored = {
        condition: Scored(metric, answers[condition], _select(samples, condition).labels)
        for condition in CONDITIONS
    }
    chains = np.stack([shift.families(samples.ids, seed) for seed in range(BENCHMARK_SEEDS)])
    scores = {}
    for condition in (CLEAN, CHAINED):
        predicted = take_labels(answers[condition])
        labels = np.tile(samples.labels, len(predicted) // len(samples))
        scores[condition] = metrics.score(labels, predicted, len(samples.class_names))
    families = {
        family: tuple(_score_severities(scored[family], metric)) for family in shift.FAMILIES
    }
    estimate = ScoreEstimate(scored[CLEAN].estimate(), (), None)
    if contract.corrupted:
        estimate = score_estimate.estimate(scored[CHAINED], chains, known)
    return BenchmarkResult(
        metric=metric,
        clean=scored[CLEAN].estimate(),
        shift=scored[CHAINED].estimate(),
        families=families,
        estimate=estimate,
        scores=scores,
    )


def _score_severities(scored: Scored, metric: MetricName) -> list[Estimate]:
    """The score of each copy alone: a family is copied once a severity."""
    parts = np.split(scored.answers, len(shift.SEVERITIES))
    return [Scored(metric, part, scored.labels).estimate() for part in parts]
