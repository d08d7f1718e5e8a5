"""Test-time augmentation: which views of an image pay."""

from dataclasses import asdict, dataclass

import numpy as np
import tensorflow as tf

from submission.model import VIEWS
from toolkit.evaluation.metrics import Estimate, log_loss

PLAIN = "identity"
MOST = 8  # views in a set: each costs as much time as the plain one
SURE = 1.96  # standard errors; 95 % of a normal distribution


@dataclass(frozen=True)
class Gain:
    """What looking at images in `views` changes against the plain view: accuracy, in 0..1."""

    views: tuple[str, ...]
    gain: Estimate


@dataclass(frozen=True)
class Choice:
    """alone: each view averaged with the plain one. chosen: the set that pays, best first."""

    alone: tuple[Gain, ...]
    chosen: Gain

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        return asdict(self)


def applicable(image_shape: tuple[int, ...]) -> list[str]:
    """The views that keep images of `image_shape`, (height, width, 3), in shape."""
    picture = np.zeros((1, *image_shape), np.float32)
    return [
        name
        for name, view in VIEWS.items()
        if tuple(view(tf.constant(picture)).shape) == picture.shape
    ]


def choose(probabilities: dict[str, np.ndarray], labels: np.ndarray) -> Choice:
    """The views that pay, from the probabilities [n, classes] that each gave on images of the true
    `labels`.

    The view that most lowers the mean log loss joins the set, as long as the lowering is sure and
    accuracy does not fall: log loss tells views apart on hundreds of images, where accuracy does
    not.
    """
    chosen = [PLAIN]
    while len(chosen) < MOST:
        now = _mean(probabilities, chosen)
        gains = {
            view: log_loss(now, labels) - log_loss(_mean(probabilities, [*chosen, view]), labels)
            for view in probabilities
            if view not in chosen
        }
        best = max(gains, key=lambda view: gains[view].mean(), default=None)
        if best is None or _interval(gains[best]).low <= 0:
            break
        after, before = (
            _gain(probabilities, views, labels).gain.value for views in ([*chosen, best], chosen)
        )
        if after < before:
            break
        chosen.append(best)
    alone = tuple(
        _gain(probabilities, [PLAIN, view], labels) for view in probabilities if view != PLAIN
    )
    return Choice(alone, _gain(probabilities, chosen, labels))


def _gain(probabilities: dict[str, np.ndarray], views: list[str], labels: np.ndarray) -> Gain:
    right, plain = (
        _mean(probabilities, some).argmax(axis=1) == labels for some in (views, [PLAIN])
    )
    return Gain(tuple(views), _interval(right.astype(float) - plain))


def _interval(differences: np.ndarray) -> Estimate:
    mean = float(differences.mean())
    error = SURE * float(differences.std()) / np.sqrt(len(differences))
    return Estimate(mean, mean - error, mean + error)


def _mean(probabilities: dict[str, np.ndarray], views: list[str]) -> np.ndarray:
    return np.mean([probabilities[view] for view in views], axis=0)
