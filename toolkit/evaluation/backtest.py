"""How good the estimated score is on leaderboards that are known: one family of corruptions is held
out at a time.

For each family that a run was not trained on, the chains that touch it are a leaderboard, and the
score is estimated from the chains that do not: the family is held out from training and benchmark
alike. That every image has an unknown family is known of such a leaderboard, and the estimate takes
it into account; which family it is, and what the network obtains on it, is not.
"""

from dataclasses import dataclass

import numpy as np

from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.data import shift
from toolkit.evaluation import score_estimate, shift_benchmark
from toolkit.evaluation.metrics import Estimate
from toolkit.evaluation.predictions import read_predictions
from toolkit.training import run_folder
from toolkit.training.families import list_covered_families
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class Backtest:
    """estimate: of the score, without the held-out `family`. obtained: the score on chains that
    touch it."""

    run: str
    family: str
    estimate: Estimate
    obtained: float


def backtest(run: Run, part: str) -> list[Backtest]:
    """One backtest for each family that `run` was not trained on, from the predictions that
    `evaluate` stored for `part`.

    Raises InputError for a run that was trained on all of them.
    """
    predictions = read_predictions(run, part, shift_benchmark.CHAINED)
    scored = predictions.scored(run_folder.read_contract(run).metric)
    ids = predictions.ids.reshape(shift_benchmark.BENCHMARK_SEEDS, -1)
    chains = np.stack([shift.families(row, seed) for seed, row in enumerate(ids)])
    known = list_covered_families(config.read(run.config))
    results = []
    for place, family in enumerate(shift.FAMILIES):
        if family in known:
            continue
        # What the network obtains on the family is the truth; the estimate must not have seen it.
        touched = chains[..., place]
        estimate = score_estimate.estimate(scored, chains, known, ~touched, new_share=1).score
        obtained = scored.compute(touched)
        results.append(Backtest(run.folder.name, family, estimate, obtained))
    if not results:
        raise InputError(
            f"{run.folder} was trained on every family, so no family can be held out.",
            "Use other runs.",
        )
    return results
