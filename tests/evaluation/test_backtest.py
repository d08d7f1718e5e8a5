"""Trials of the foretelling on families held out."""

import json

import pytest

from tests.support.commands import cbtool
from toolkit.data import shift
from toolkit.evaluation import backtest, shift_benchmark
from toolkit.evaluation.predictions import read_predictions
from toolkit.training.run_folder import Run


def test_a_trial_for_each_family_that_was_not_trained_on(evaluated):
    run = Run(evaluated)
    found = backtest.trials(run, "validation")
    assert [trial.family for trial in found] == [
        family for family in shift.FAMILIES if family != "geometric"
    ]
    stored = read_predictions(run, "validation", "shift")
    right = stored.predicted == stored.labels
    n = len(stored.ids) // shift_benchmark.DRAWS
    chosen = [
        shift.families(stored.ids[:n], draw)[:, shift.FAMILIES.index("noise")]
        for draw in range(shift_benchmark.DRAWS)
    ]
    noise = next(trial for trial in found if trial.family == "noise")
    shares = [right[draw * n : (draw + 1) * n][rows].sum() for draw, rows in enumerate(chosen)]
    assert noise.obtained == pytest.approx(sum(shares) / sum(rows.sum() for rows in chosen))


def test_the_command_tells_the_error_and_draws(evaluated, tmp_path):
    result = cbtool("bench", "foretell", evaluated, "--json", "--picture", tmp_path / "trials.png")
    report = json.loads(result.stdout)
    errors = [abs(trial["foretold"]["value"] - trial["obtained"]) for trial in report["trials"]]
    assert report["mean_absolute_error"] == pytest.approx(sum(errors) / len(errors))
    assert (tmp_path / "trials.png").stat().st_size > 10_000
    assert "mean absolute error" in cbtool("bench", "foretell", evaluated).stdout
