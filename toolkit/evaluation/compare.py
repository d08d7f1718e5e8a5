"""Whether one run is really better than another: the paired bootstrap."""

import numpy as np

from toolkit.core.errors import InputError
from toolkit.evaluation import metrics, shift_benchmark
from toolkit.evaluation.metrics import Estimate
from toolkit.evaluation.predictions import Predictions, read_predictions
from toolkit.training import run_folder
from toolkit.training.run_folder import Run

WAY_OUT = "Compare runs with the same training file and the same --set split.seed."


def compare(first: Run, second: Run, part: str) -> dict[str, Estimate]:
    """By how much `first` is more accurate than `second` on their common held-out `part`, by
    condition, clean and shift.

    The bootstrap is over images, each with the predictions of both runs (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 15): the difference is much surer than either
    score. Raises InputError for runs of other data or of another split.
    """
    fingerprints = [run_folder.read_provenance(run)["fingerprint"] for run in (first, second)]
    if fingerprints[0] != fingerprints[1]:
        raise InputError(
            f"{first.folder} and {second.folder} were trained on different data.", WAY_OUT
        )
    differences = {}
    for condition in (shift_benchmark.CLEAN, shift_benchmark.CHAINED):
        ours = read_predictions(first, part, condition)
        theirs = read_predictions(second, part, condition)
        if not np.array_equal(ours.ids, theirs.ids):
            raise InputError(
                f"{first.folder} and {second.folder} have predictions of different splits.", WAY_OUT
            )
        differences[condition] = _difference(ours, theirs)
    return differences


def _difference(ours: Predictions, theirs: Predictions) -> Estimate:
    """How much more accurate `ours` are than `theirs`, predictions for the same copies."""
    images = len(np.unique(ours.ids))
    gains = ours.correct.astype(float) - theirs.correct
    return metrics.bootstrap_mean(gains.reshape(-1, images))
