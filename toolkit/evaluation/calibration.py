"""Post-processing of probabilities: temperature scaling, and correction for other class shares.

Both are fitted on validation images and applied only if they raise the score there; their effect on
the test part is reported.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from submission.model import apply_temperature, correct_class_shares
from toolkit.core.contract import MetricName
from toolkit.core.metrics import compute_log_losses
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate, Scored
from toolkit.evaluation.predictions import Predictions

LOG_TEMPERATURE_BOUNDS = (-2.0, 2.0)


@dataclass(frozen=True)
class PostProcessing:
    """temperature: to divide the scores by, None if that lowers no loss. shares: of the classes in
    training, if correcting for others raises the score, else None. loss_gain: what the temperature,
    fitted on one half of the images, takes off the other half's log loss. score_gain: by how much
    the correction improves the competition's metric.
    """

    temperature: float | None
    shares: tuple[float, ...] | None
    loss_gain: Estimate
    score_gain: Estimate

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """`probabilities`, float32 [n, classes] of images that are predicted together, after
        the post-processing."""
        if self.temperature:
            probabilities = apply_temperature(probabilities, self.temperature)
        if self.shares:
            probabilities = correct_class_shares(probabilities, self.shares)
        return probabilities


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that makes the log loss smallest (Guo et al., arXiv:1706.04599)."""

    def loss(logarithm: float) -> float:
        return float(
            compute_log_losses(apply_temperature(probabilities, np.exp(logarithm)), labels).mean()
        )

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded").x))


def choose_post_processing(
    predictions: Predictions, shares: np.ndarray, metric: MetricName = "accuracy"
) -> PostProcessing:
    """The post-processing that improves `predictions` for copies of n images, one copy of all
    images after the other.

    shares: of the classes in training, [classes]; they sum to 1. Each correction is applied only if
    the 95 % interval of its gain lies above 0.
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    images = len(np.unique(predictions.ids))
    saved = _loss_saved(probabilities, labels, images)
    loss_gain = metrics.bootstrap_mean(saved.reshape(-1, images))
    temperature = None
    if loss_gain.low > 0:
        temperature = fit_temperature(probabilities, labels)
        probabilities = apply_temperature(probabilities, temperature)
    # Shares are corrected after the temperature, as the package does: their effect depends on it.
    corrected = Scored(
        metric, correct_class_shares(probabilities, shares.tolist()), labels[:images]
    )
    score_gain = corrected.gain_over(Scored(metric, probabilities, labels[:images]))
    kept_shares = None
    if score_gain.low > 0:
        kept_shares = tuple(shares.tolist())
    return PostProcessing(temperature, kept_shares, loss_gain, score_gain)


def _loss_saved(probabilities: np.ndarray, labels: np.ndarray, images: int) -> np.ndarray:
    """What a temperature takes off the log loss of each prediction, [copies × images].

    It is fitted on every other image and applied to the rest, and the other way round: what it
    gains on the images that it was fitted on would flatter it.
    """
    half = np.arange(len(labels)) % images % 2 == 0
    crossed = np.empty_like(probabilities)
    for fitted, other in ((half, ~half), (~half, half)):
        temperature = fit_temperature(probabilities[fitted], labels[fitted])
        crossed[other] = apply_temperature(probabilities[other], temperature)
    return compute_log_losses(probabilities, labels) - compute_log_losses(crossed, labels)
