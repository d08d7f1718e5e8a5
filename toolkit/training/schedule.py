"""The learning rate of each step of a phase."""

import math
from typing import Any

import keras

from toolkit.core.config import Phase

# The first step of a warm-up has the rate of this share of an epoch: a rate of 0 changes nothing.
FIRST = 1e-2


def compute_factor(phase: Phase, epochs: float) -> float:
    """The share of the phase's learning rate that its schedule gives after that many epochs."""
    if epochs < phase.warmup:
        return (epochs + FIRST) / phase.warmup
    if phase.schedule == "cosine":
        done = (epochs - phase.warmup) / max(phase.epochs - phase.warmup, 1e-9)
        return 0.5 * (1 + math.cos(math.pi * done))
    return (1 - phase.decay) ** epochs if phase.schedule == "exponential" else 1.0


class CompiledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The same rates, as a part of the compiled step: a function of the steps done.

    steps: in an epoch. It knows nothing of plateaus.
    """

    def __init__(self, phase: Phase, steps: int):
        super().__init__()
        self.phase, self.steps = phase, steps

    def __call__(self, step: Any) -> Any:
        """The rate after `step` steps of the phase, a float32 scalar."""
        phase, ops = self.phase, keras.ops
        epochs = ops.cast(step, "float32") / self.steps
        factor: Any = 1.0
        if phase.schedule == "cosine":
            done = (epochs - phase.warmup) / max(phase.epochs - phase.warmup, 1e-9)
            factor = 0.5 * (1 + ops.cos(math.pi * done))
        elif phase.schedule == "exponential":
            factor = (1 - phase.decay) ** epochs
        if phase.warmup:
            factor = ops.where(epochs < phase.warmup, (epochs + FIRST) / phase.warmup, factor)
        return phase.learning_rate * factor
