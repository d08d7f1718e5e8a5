"""How foretelling does on leaderboards that we can see: one family of corruptions at a time is
taken away.

For each family that a run was not trained on, the chains that touch it are a leaderboard, and the
score is foretold from the chains that do not: the family is held out from training and benchmark
alike.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.augment import families
from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.data import shift
from toolkit.evaluation import score_estimate, shift_benchmark
from toolkit.evaluation.metrics import Estimate
from toolkit.evaluation.predictions import read_predictions
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class Trial:
    """foretold without the `family`; obtained: accuracy, in 0..1, on chains that touch it."""

    run: str
    family: str
    foretold: Estimate
    obtained: float


def trials(run: Run, part: str) -> list[Trial]:
    """A trial for each family that `run` was not trained on, from what `evaluate` stored of `part`.

    Raises InputError for a run that was trained on all of them.
    """
    predictions = read_predictions(run, part, shift_benchmark.CHAINED)
    right = (predictions.predicted == predictions.labels).reshape(shift_benchmark.DRAWS, -1)
    ids = predictions.ids.reshape(right.shape)
    chains = np.stack([shift.families(row, draw) for draw, row in enumerate(ids)])
    known = families.known(config.read(run.config))
    found = []
    for place, family in enumerate(shift.FAMILIES):
        if family not in known:
            touched = chains[..., place]
            score = score_estimate.foretell(right, chains, known, ~touched).score
            found.append(Trial(run.folder.name, family, score, float(right[touched].mean())))
    if not found:
        raise InputError(
            f"{run.folder} was trained on every family: none can be held out.", "Try other runs."
        )
    return found
