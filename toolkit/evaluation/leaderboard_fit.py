"""What online scores say of the hidden test set: how often it has each family of corruptions, and
how severe they are.

The mixture of `toolkit.data.shift` is a guess. Zips with an online score tell how far it is off:
the fit gives each family a weight, and severity a tilt, so that the estimates come nearer to the
online scores. A chain weighs the product of its families' weights, times exp(tilt · severity).

The fit is a penalised least squares, the mode of a posterior: the online scores have a normal
error of SCORE_ERROR, and the logarithms of the weights, and the tilt, a normal prior around zero,
the mixture as it is. With few scores the prior decides nearly all, so nothing moves far. What the
fit is worth is measured by leaving out one run at a time: the scores of its zips are predicted by a
fit to those of the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.data import shift
from toolkit.evaluation import score_estimate, shift_benchmark
from toolkit.evaluation.metrics import Scored
from toolkit.evaluation.predictions import read_predictions
from toolkit.export.zip_ledger import Entry
from toolkit.training import run_folder
from toolkit.training.families import list_covered_families
from toolkit.training.run_folder import Run

# Of an online score against an estimate with the true mixture: accuracy 0.85 on 597 images and on a
# thousand hidden ones has a standard error of 0.018.
SCORE_ERROR = 0.02
# Standard deviation of the prior of a weight's logarithm: a factor of two either way.
WEIGHT_SPREAD = float(np.log(2))
# Standard deviation of the tilt's prior, per step: it moves the mean of a chain's severities, whose
# variance is 3.5, by one step of the sum.
TILT_SPREAD = 0.3
# Fewer runs than these cannot say whether the fit helps.
LEAST_RUNS = 3
SAME_SCORE = 1e-6  # what rounding may change


@dataclass(frozen=True, eq=False)
class Board:
    """A zip's answers and its online score, None where there is none yet.

    sha256: of the zip. run: the name of its network's run. scored: the answers to the benchmark's
    mixture. chains: bool [seeds, n, families], severities: int [seeds, n], summed over the chain.
    known: the families that its network was trained on.
    """

    sha256: str
    run: str
    scored: Scored
    chains: np.ndarray
    severities: np.ndarray
    known: tuple[str, ...]
    online: float | None = None


@dataclass(frozen=True)
class LeaderboardFit:
    """weights: of the families, relative to the mixture. tilt: of a chain's logarithmic weight per
    step of severity.

    Mean absolute errors over the zips with an online score: error_before, of the mixture as it is;
    error_after, of the fit to all; error_left_out, of a fit to the zips of other runs.
    boards: how many zips, of how many runs.
    """

    weights: dict[str, float]
    tilt: float
    boards: int
    runs: int
    error_before: float
    error_after: float
    error_left_out: float

    @property
    def helps(self) -> bool:
        """Whether runs that the fit has not seen are estimated better with it."""
        return self.runs >= LEAST_RUNS and self.error_left_out < self.error_before

    def estimate(self, board: Board) -> float:
        """The score to expect of `board` on the fitted mixture."""
        logarithms = [np.log(self.weights[family]) for family in shift.FAMILIES]
        return _estimate(board, np.array([*logarithms, self.tilt]))


def read_boards(folder: Path, entries: list[Entry]) -> list[Board]:
    """The zips of a ledger's `entries` whose answers the runs in `folder` still have.

    That excludes a zip of several runs, one whose run was evaluated again with another result, one
    for a metric that is no share, and one for a competition whose hidden images are not corrupted.
    A zip's online score is the mean of its phases in the competition that most zips have a score
    in: others may have another mixture.
    """
    places = [{each.place[:2] for each in entry.online} for entry in entries]
    commonest = Counter(place for of_zip in places for place in of_zip).most_common(1)
    competition = commonest[0][0] if commonest else None
    boards = []
    for entry in entries:
        online = [each.score for each in entry.online if each.place[:2] == competition]
        board = _read_board(folder, entry, float(np.mean(online)) if online else None)
        if board:
            boards.append(board)
    return boards


def _read_board(folder: Path, entry: Entry, online: float | None) -> Board | None:
    """The answers of the one run of `entry`; None where they are not at hand."""
    if len(entry.runs) != 1 or entry.part is None or entry.shift is None:
        return None
    run = Run(Path(folder) / entry.runs[0])
    try:
        contract = run_folder.read_contract(run)
        predictions = read_predictions(run, entry.part, shift_benchmark.CHAINED)
        known = list_covered_families(config.read(run.config))
    except InputError:  # the run is gone, or was not evaluated since
        return None
    if not contract.corrupted or contract.score_range != (0, 1):
        return None
    copies = len(np.unique(predictions.ids)) * shift_benchmark.BENCHMARK_SEEDS
    if not copies == len(predictions.ids) == len(predictions.probabilities):  # of another version
        return None
    scored = predictions.scored(contract.metric)
    if abs(scored.compute() - entry.shift) > SAME_SCORE:
        return None
    ids = predictions.ids.reshape(shift_benchmark.BENCHMARK_SEEDS, -1)
    return Board(
        entry.sha256,
        entry.runs[0],
        scored,
        np.stack([shift.families(row, seed) for seed, row in enumerate(ids)]),
        np.stack([shift.severities(row, seed) for seed, row in enumerate(ids)]),
        known,
        online,
    )


def fit(boards: list[Board]) -> LeaderboardFit | None:
    """The mixture that the online scores of `boards` speak for; None without any."""
    boards = [board for board in boards if board.online is not None]
    if not boards:
        return None
    mixture = np.zeros(len(shift.FAMILIES) + 1)
    left_out = []
    runs = sorted({board.run for board in boards})
    for run in runs:
        # Zips of one run are nearly alike: the others must not know one of them.
        solved = _solve([board for board in boards if board.run != run])
        left_out += _errors([board for board in boards if board.run == run], solved).tolist()
    solved = _solve(boards)
    weights = np.exp(solved[:-1])
    return LeaderboardFit(
        weights=dict(zip(shift.FAMILIES, weights.tolist())),
        tilt=float(solved[-1]),
        boards=len(boards),
        runs=len(runs),
        error_before=float(np.abs(_errors(boards, mixture)).mean()),
        error_after=float(np.abs(_errors(boards, solved)).mean()),
        error_left_out=float(np.abs(left_out).mean()),
    )


def _solve(boards: list[Board]) -> np.ndarray:
    """The logarithms of the families' weights, and the tilt, [families + 1]."""
    spreads = np.array([*[WEIGHT_SPREAD] * len(shift.FAMILIES), TILT_SPREAD])
    if not boards:
        return np.zeros(len(spreads))

    def residuals(standardised: np.ndarray) -> np.ndarray:
        misfit = _errors(boards, standardised * spreads) / SCORE_ERROR
        return np.concatenate([misfit, standardised])

    return least_squares(residuals, np.zeros(len(spreads))).x * spreads


def _errors(boards: list[Board], parameters: np.ndarray) -> np.ndarray:
    """Estimated minus online score of each of `boards`."""
    return np.array([_estimate(board, parameters) - (board.online or 0) for board in boards])


def _estimate(board: Board, parameters: np.ndarray) -> float:
    """The estimated score of `board` where the chains have the weights of `parameters`."""
    logarithms = board.chains @ parameters[:-1] + parameters[-1] * board.severities
    # Relative to the largest, so that no tilt overflows.
    weights = np.exp(logarithms - logarithms.max())
    return score_estimate.weigh(board.scored, board.chains, board.known, weights)
