"""The mixture that online scores speak for, on made-up networks and leaderboards."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.support.commands import in_process
from toolkit.data import shift
from toolkit.evaluation import leaderboard_fit, shift_benchmark
from toolkit.evaluation.leaderboard_fit import Board
from toolkit.evaluation.metrics import Scored
from toolkit.evaluation.predictions import read_predictions
from toolkit.export import zip_ledger
from toolkit.training.run_folder import Run

N, SEEDS = 200, 4
CHAINS = np.stack([shift.families(np.arange(N), seed) for seed in range(SEEDS)])
SEVERITIES = np.stack([shift.severities(np.arange(N), seed) for seed in range(SEEDS)])
NO_WEIGHTS = np.zeros(len(shift.FAMILIES) + 1)


def make_boards(tilt: float, error: float = 0.0) -> list[Board]:
    """Five networks that lose more or less by severity, and their scores on a mixture with `tilt`,
    `error` off by turns."""
    boards = []
    rng = np.random.default_rng(0)
    for number, loss in enumerate((0.02, 0.04, 0.06, 0.07, 0.08)):
        correct = rng.random((SEEDS, N)) < 1 - loss * SEVERITIES
        scored = Scored("accuracy", 1 - correct.astype(int).ravel(), np.zeros(N, int))
        board = Board(str(number), str(number), scored, CHAINS, SEVERITIES, ())
        parameters = NO_WEIGHTS.copy()
        parameters[-1] = tilt
        online = leaderboard_fit._estimate(board, parameters) + error * (-1) ** number
        boards.append(replace(board, online=online))
    return boards


def test_a_more_severe_leaderboard_is_learnt_and_the_next_zip_estimated_better():
    *seen, unseen = make_boards(tilt=0.4)
    fit = leaderboard_fit.fit(seen)
    assert fit.helps and fit.tilt > 0.1
    assert fit.error_after < fit.error_left_out < fit.error_before / 2
    before = leaderboard_fit._estimate(unseen, NO_WEIGHTS) - unseen.online
    assert abs(fit.estimate(unseen) - unseen.online) < before / 2


def test_a_family_that_is_more_frequent_online_gains_weight():
    place = shift.FAMILIES.index("blur")
    boards = []
    for share in (0.2, 0.5, 0.9):
        correct = np.random.default_rng(1).random((SEEDS, N)) < np.where(
            CHAINS[..., place], share, 1
        )
        scored = Scored("accuracy", 1 - correct.astype(int).ravel(), np.zeros(N, int))
        board = Board(str(share), str(share), scored, CHAINS, SEVERITIES, ())
        parameters = NO_WEIGHTS.copy()
        parameters[place] = 2.0
        boards.append(replace(board, online=leaderboard_fit._estimate(board, parameters)))
    weights = leaderboard_fit.fit(boards).weights
    assert weights["blur"] == max(weights.values()) > 1.3


def test_chance_errors_change_little_and_do_not_help():
    """Scores that no mixture explains: the prior holds, and the left-out error says so."""
    fit = leaderboard_fit.fit(make_boards(tilt=0.0, error=0.01))
    assert not fit.helps and fit.error_left_out >= fit.error_before == pytest.approx(0.01)
    assert abs(fit.tilt) < 0.05 and all(0.8 < weight < 1.25 for weight in fit.weights.values())


def test_few_scores_or_none_do_not_re_weigh():
    boards = make_boards(tilt=0.4)
    assert leaderboard_fit.fit([replace(board, online=None) for board in boards]) is None
    few = leaderboard_fit.fit(boards[:2])
    assert few.error_left_out < few.error_before and not few.helps
    alone = leaderboard_fit.fit(boards[-1:])
    assert alone.error_left_out == alone.error_before > alone.error_after


def test_zips_of_one_run_are_left_out_together():
    boards = [replace(board, run="same") for board in make_boards(tilt=0.4)]
    fit = leaderboard_fit.fit(boards)
    assert (fit.boards, fit.runs, fit.helps) == (5, 1, False)
    assert fit.error_left_out == fit.error_before


def test_the_command_shows_the_fit(small_run, tmp_path):
    """Three runs whose leaderboard is lower than estimated; a zip without score; two that cannot be
    read."""
    correct = read_predictions(Run(small_run), "validation", shift_benchmark.CHAINED).correct
    shift_score = float(correct.mean())
    online = (zip_ledger.OnlineScore("main", shift_score - 0.06),)
    entries = []
    for digit in "abcdef":
        if digit != "e":
            (tmp_path / digit).symlink_to(small_run)
        noted = shift_score / 2 if digit == "f" else shift_score
        entries.append(
            zip_ledger.Entry(
                digit * 64, "a.zip", "", (digit,), "validation", 1.0, noted, shift_score
            )
        )
    entries = [replace(each, online=() if each.runs == ("d",) else online) for each in entries]
    zip_ledger._write(tmp_path, entries)
    read = leaderboard_fit.read_boards(tmp_path, zip_ledger.read(tmp_path))
    assert [(board.run, board.online is None) for board in read] == [
        ("a", False),
        ("b", False),
        ("c", False),
        ("d", True),
    ]
    shown = in_process("runs", "zips", tmp_path).stdout
    fit = leaderboard_fit.fit(read)
    assert f"over 3 zips of 3 runs: {fit.error_before:.4f} as it is" in shown
    report = json.loads(in_process("runs", "zips", tmp_path, "--json").stdout)["fit"]
    assert report["helps"] and report["error_left_out"] == fit.error_left_out
    assert report["estimates"]["d" * 64] == fit.estimate(read[-1]) < shift_score


def test_predictions_of_another_number_of_copies_are_left_out(small_run, tmp_path):
    run = Run(shutil.copytree(small_run, tmp_path / "run"))
    stored = read_predictions(run, "validation", shift_benchmark.CHAINED)
    score = float(stored.correct.mean())
    entry = zip_ledger.Entry("a" * 64, "a.zip", "", ("run",), "validation", 1.0, score, score)
    assert len(leaderboard_fit.read_boards(tmp_path, [entry])) == 1
    fewer = replace(
        stored,
        ids=stored.ids[:-1],
        probabilities=stored.probabilities[:-1],
        labels=stored.labels[:-1],
    )
    fewer.save(run.predictions("validation", shift_benchmark.CHAINED))
    assert leaderboard_fit.read_boards(tmp_path, [entry]) == []
