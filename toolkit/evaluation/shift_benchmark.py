"""The shift benchmark on one held-out part: which images are shown, and what follows from the
labels they got."""

from dataclasses import dataclass

import numpy as np

from toolkit.data import shift
from toolkit.data.dataset import Samples
from toolkit.evaluation import metrics, score_estimate
from toolkit.evaluation.metrics import Estimate, Scores
from toolkit.evaluation.score_estimate import Foretold

DRAWS = 8  # chains an image goes through, one by one
MOST = 1000  # images of a part: beyond, the interval is narrow enough
FAMILY_MOST = 200  # of these, for each severity of a family
CLEAN, CHAINED = "clean", "shift"
CONDITIONS = (CLEAN, CHAINED, *shift.FAMILIES)


def subject(samples: Samples) -> Samples:
    """`samples`, or MOST of them, always the same."""
    if len(samples) <= MOST:
        return samples
    return samples.take(np.sort(np.random.default_rng(0).choice(len(samples), MOST, replace=False)))


def shown(samples: Samples, condition: str) -> Samples:
    """Those of `samples` that are shown under `condition`: all, or FAMILY_MOST for a single
    family."""
    if condition in (CLEAN, CHAINED) or len(samples) <= FAMILY_MOST:
        return samples
    return samples.take(np.linspace(0, len(samples) - 1, FAMILY_MOST).astype(int))


def copies(samples: Samples, condition: str) -> np.ndarray:
    """What is shown of `samples` under `condition`, uint8 [c × n, h, w, 3]: the images themselves,
    DRAWS chains of each, or each severity of a family."""
    samples = shown(samples, condition)
    if condition == CLEAN:
        return samples.images
    if condition == CHAINED:
        return shift.mixtures(samples, range(DRAWS)).images
    return np.concatenate(
        [shift.single(samples, condition, severity).images for severity in shift.SEVERITIES]
    )


@dataclass(frozen=True)
class Judgement:
    """What the labels of all conditions say.

    clean, shift: accuracy with its interval, on the images and on their chains. families: by
    severity. foretold: the score to expect of a hidden test set. scores: the whole of the clean and
    the chained images' scores.
    """

    clean: Estimate
    shift: Estimate
    families: dict[str, tuple[Estimate, ...]]
    foretold: Foretold
    scores: dict[str, Scores]

    @property
    def headline(self) -> dict[str, float]:
        """The five numbers a script reads."""
        score = self.foretold.score
        return {
            "clean": self.clean.value,
            "shift": self.shift.value,
            "foretold": score.value,
            "foretold_low": score.low,
            "foretold_high": score.high,
        }

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        return self.headline | {
            "absent_families": list(self.foretold.absent),
            "intervals": {CLEAN: self.clean.values, CHAINED: self.shift.values},
            "families": {
                family: [found.values for found in row] for family, row in self.families.items()
            },
            "scores": {name: scores.summary for name, scores in self.scores.items()},
        }

    def worst_families(self, most: int = 3) -> list[tuple[str, float]]:
        """The families with the lowest mean accuracy over the severities, worst first."""
        means = {
            family: float(np.mean([found.value for found in row]))
            for family, row in self.families.items()
        }
        return sorted(means.items(), key=lambda item: item[1])[:most]

    def worst_confusions(self, condition: str, most: int = 3) -> list[tuple[int, int, int]]:
        """The commonest errors: (true class, predicted class, images), most first."""
        confusion = self.scores[condition].confusion
        wrong = [
            (*place, int(count))
            for place, count in np.ndenumerate(confusion)
            if count and place[0] != place[1]
        ]
        return sorted(wrong, key=lambda entry: -entry[2])[:most]


def judged(samples: Samples, predicted: dict[str, np.ndarray], known: tuple[str, ...]) -> Judgement:
    """Judges the labels `predicted` for `copies` of `samples`, by condition; `known`: the families
    of `augment.families.known`."""
    labels = {name: shown(samples, name).labels for name in CONDITIONS}
    right = {
        name: predicted[name].reshape(-1, len(labels[name])) == labels[name] for name in CONDITIONS
    }
    chains = np.stack([shift.families(samples.ids, draw) for draw in range(DRAWS)])
    classes = len(samples.class_names)
    return Judgement(
        clean=metrics.bootstrapped(right[CLEAN]),
        shift=metrics.bootstrapped(right[CHAINED]),
        families={
            family: tuple(map(metrics.bootstrapped, right[family])) for family in shift.FAMILIES
        },
        foretold=score_estimate.foretell(right[CHAINED], chains, known),
        scores={
            name: metrics.scores(
                np.resize(samples.labels, len(predicted[name])), predicted[name], classes
            )
            for name in (CLEAN, CHAINED)
        },
    )
