"""Steps after training that change no weight: temperature scaling, and correction for other class
shares.

Both are fitted on validation images and kept only where they pay there; how they fare on the test
part is reported.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

from submission.model import apply_temperature, correct_class_shares
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate

BOUNDS = (-2.0, 2.0)  # of the temperature's natural logarithm


@dataclass(frozen=True)
class Steps:
    """temperature: to divide the scores by, None where that does not pay. shares: of the classes in
    training, where correcting for others pays, else None. loss_gain: what the temperature, fitted
    on one half of the images, takes off the other half's log loss. accuracy_gain: what the
    correction adds to accuracy.
    """

    temperature: float | None
    shares: tuple[float, ...] | None
    loss_gain: Estimate
    accuracy_gain: Estimate

    def applied(self, probabilities: np.ndarray) -> np.ndarray:
        """`probabilities`, float32 [n, classes] of images that are predicted together, after the
        steps that pay."""
        if self.temperature:
            probabilities = apply_temperature(probabilities, self.temperature)
        return correct_class_shares(probabilities, self.shares) if self.shares else probabilities

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        return {
            "temperature": self.temperature,
            "class_shares": self.shares,
            "log_loss_gain": self.loss_gain.values,
            "accuracy_gain": self.accuracy_gain.values,
        }


def temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that makes the log loss smallest (Guo et al., arXiv:1706.04599)."""

    def loss(logarithm: float) -> float:
        return float(
            metrics.log_loss(apply_temperature(probabilities, np.exp(logarithm)), labels).mean()
        )

    return float(np.exp(minimize_scalar(loss, bounds=BOUNDS, method="bounded").x))


def choose(probabilities: np.ndarray, labels: np.ndarray, shares: np.ndarray) -> Steps:
    """The steps that pay on images of the true `labels`, [n], which were given `probabilities`,
    [copies × n, classes].

    shares: of the classes in training, [classes]. A step pays where the 95 % interval of its gain
    lies above 0.
    """
    n, truth = len(labels), np.resize(labels, len(probabilities))
    half = np.resize(np.arange(n) % 2 == 0, len(probabilities))
    crossed = np.empty_like(probabilities)
    for fitted, other in ((half, ~half), (~half, half)):
        crossed[other] = apply_temperature(
            probabilities[other], temperature(probabilities[fitted], truth[fitted])
        )
    saved = metrics.log_loss(probabilities, truth) - metrics.log_loss(crossed, truth)
    loss_gain = metrics.bootstrapped(saved.reshape(-1, n))
    found = temperature(probabilities, truth) if loss_gain.low > 0 else None
    usual = apply_temperature(probabilities, found) if found else probabilities
    right = [
        (each.argmax(axis=1) == truth).astype(float)
        for each in (correct_class_shares(usual, shares), usual)
    ]
    accuracy_gain = metrics.bootstrapped((right[0] - right[1]).reshape(-1, n))
    return Steps(
        found, tuple(shares.tolist()) if accuracy_gain.low > 0 else None, loss_gain, accuracy_gain
    )
