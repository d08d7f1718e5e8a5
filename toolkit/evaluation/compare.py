"""Whether one run is really better than another: the paired bootstrap."""

import numpy as np

from toolkit.core.errors import InputError
from toolkit.evaluation import shift_benchmark
from toolkit.evaluation.metrics import Estimate
from toolkit.evaluation.predictions import read_predictions
from toolkit.training import run_folder
from toolkit.training.run_folder import Run

WAY_OUT = "Compare runs with the same training file and the same --set split.seed."


def compare(first: Run, second: Run, part: str) -> dict[str, Estimate]:
    """By how much `first` is better than `second` by their competition's metric on their common
    held-out `part`, by condition, clean and shift: above 0 is better.

    The bootstrap is over images, each with the predictions of both runs (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 15): the difference is much surer than either
    score. Raises InputError for runs of other data or of another split.
    """
    fingerprints = [run_folder.read_provenance(run)["fingerprint"] for run in (first, second)]
    if fingerprints[0] != fingerprints[1]:
        raise InputError(
            f"{first.folder} and {second.folder} were trained on different data.", WAY_OUT
        )
    metric = run_folder.read_contract(first).metric
    if run_folder.read_contract(second).metric != metric:
        raise InputError(
            f"{first.folder} and {second.folder} were trained for different metrics.", WAY_OUT
        )
    differences = {}
    for condition in (shift_benchmark.CLEAN, shift_benchmark.CHAINED):
        ours = read_predictions(first, part, condition)
        theirs = read_predictions(second, part, condition)
        if not np.array_equal(ours.ids, theirs.ids):
            raise InputError(
                f"{first.folder} and {second.folder} have predictions of different splits.", WAY_OUT
            )
        differences[condition] = ours.scored(metric).gain_over(theirs.scored(metric))
    return differences
