"""Test-time augmentation: which views of an image raise the score."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from submission.model import VIEWS
from toolkit.core.contract import MetricName
from toolkit.core.metrics import compute_log_losses
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate, Scored
from toolkit.export.manifest import PLAIN_VIEW

MAX_VIEWS = 8  # in a set: each costs as much time as the plain one


@dataclass(frozen=True)
class Gain:
    """By how much predicting images in `views` improves the score of the plain view."""

    views: tuple[str, ...]
    gain: Estimate


@dataclass(frozen=True)
class ViewChoice:
    """alone: each view averaged with the plain one. chosen: the best set, best view first."""

    alone: tuple[Gain, ...]
    chosen: Gain


def applicable_views(image_shape: tuple[int, ...]) -> list[str]:
    """The views that keep images of `image_shape`, (height, width, 3), in shape."""
    image = tf.zeros((1, *image_shape))
    return [name for name, view in VIEWS.items() if view(image).shape == image.shape]


def choose_views(
    probabilities: dict[str, np.ndarray],
    labels: np.ndarray,
    images: int,
    metric: MetricName = "accuracy",
) -> ViewChoice:
    """The views that raise the score, from the probabilities [n, classes] that each gave on images
    of the true `labels` [n]: copies of `images` images, one copy of all images after the other.

    A greedy selection (Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004): the
    view that most lowers the mean log loss joins the set, as long as the 95 % interval of what it
    lowers lies above 0 and the competition's metric does not worsen. Log loss tells views apart on
    hundreds of images, where accuracy does not.
    """

    def score(views: list[str]) -> Scored:
        return Scored(metric, _mean(probabilities, views), labels[:images])

    plain = score([PLAIN_VIEW])
    chosen = [PLAIN_VIEW]
    while len(chosen) < MAX_VIEWS:
        best = _next_view(probabilities, chosen, labels, images)
        if best is None:
            break
        before, after = score(chosen).compute(), score([*chosen, best]).compute()
        if after > before if plain.lower_is_better else after < before:
            break
        chosen.append(best)
    others = [view for view in probabilities if view != PLAIN_VIEW]
    pairs = [[PLAIN_VIEW, view] for view in others]
    alone = tuple(Gain(tuple(views), score(views).gain_over(plain)) for views in pairs)
    return ViewChoice(alone, Gain(tuple(chosen), score(chosen).gain_over(plain)))


def _next_view(
    probabilities: dict[str, np.ndarray], chosen: list[str], labels: np.ndarray, images: int
) -> str | None:
    """The view that most lowers the log loss of those `chosen`; None where none surely does."""
    loss = compute_log_losses(_mean(probabilities, chosen), labels)
    gains = {}
    for view in probabilities:
        if view not in chosen:
            gains[view] = loss - compute_log_losses(_mean(probabilities, [*chosen, view]), labels)
    best = max(gains, key=lambda view: gains[view].mean(), default=None)
    if best is None or _estimate(gains[best], images).low <= 0:
        return None
    return best


def _estimate(differences: np.ndarray, images: int) -> Estimate:
    """The mean of `differences` [n]; its interval keeps the copies of an image together."""
    return metrics.bootstrap_mean(differences.reshape(-1, images))


def _mean(probabilities: dict[str, np.ndarray], views: list[str]) -> np.ndarray:
    return np.mean([probabilities[view] for view in views], axis=0)
