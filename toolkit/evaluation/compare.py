"""Whether one run is really better than another: the paired bootstrap."""

import numpy as np

from toolkit.core.errors import InputError
from toolkit.evaluation import metrics, shift_benchmark
from toolkit.evaluation.metrics import Estimate
from toolkit.evaluation.predictions import read_predictions
from toolkit.training import run_folder
from toolkit.training.run_folder import Run

WAY_OUT = "Compare runs of one training file and one --set split.seed."


def compare(first: Run, second: Run, part: str) -> dict[str, Estimate]:
    """By how much `first` is more accurate than `second` on their common held-out `part`, by
    condition, clean and shift.

    The bootstrap is over images, each with what both runs said of it (Efron and Tibshirani, 1993,
    chapter 15): the difference is much surer than either score. Raises InputError for runs of other
    data or of another split.
    """
    if (
        run_folder.read_provenance(first)["fingerprint"]
        != run_folder.read_provenance(second)["fingerprint"]
    ):
        raise InputError(
            f"{first.folder} and {second.folder} were trained on different data.", WAY_OUT
        )
    differences = {}
    for condition in (shift_benchmark.CLEAN, shift_benchmark.CHAINED):
        one, other = (read_predictions(run, part, condition) for run in (first, second))
        if not np.array_equal(one.ids, other.ids):
            raise InputError(
                f"{first.folder} and {second.folder} hold predictions of different splits.", WAY_OUT
            )
        images = len(np.unique(one.ids))
        gains = (one.predicted == one.labels).astype(float) - (other.predicted == other.labels)
        differences[condition] = metrics.bootstrapped(gains.reshape(-1, images))
    return differences
