"""The backtest of estimated scores on families held out."""

import json

import pytest

from tests.support.commands import in_process
from toolkit.data import shift
from toolkit.evaluation import backtest, shift_benchmark
from toolkit.evaluation.predictions import read_predictions
from toolkit.training.run_folder import Run


def test_a_backtest_for_each_family_that_was_not_trained_on(small_run):
    run = Run(small_run)
    found = backtest.backtest(run, "validation")
    assert [each.family for each in found] == [
        family for family in shift.FAMILIES if family != "geometric"
    ]
    stored = read_predictions(run, "validation", "shift")
    correct = stored.predicted == stored.labels
    n = len(stored.ids) // shift_benchmark.BENCHMARK_SEEDS
    chosen = [
        shift.families(stored.ids[:n], seed)[:, shift.FAMILIES.index("noise")]
        for seed in range(shift_benchmark.BENCHMARK_SEEDS)
    ]
    noise = next(each for each in found if each.family == "noise")
    shares = [correct[draw * n : (draw + 1) * n][rows].sum() for draw, rows in enumerate(chosen)]
    assert noise.obtained == pytest.approx(sum(shares) / sum(rows.sum() for rows in chosen))


def test_the_command_tells_the_error_and_draws(small_run, tmp_path):
    result = in_process(
        "bench", "backtest", small_run, "--json", "--picture", tmp_path / "backtest.png"
    )
    report = json.loads(result.stdout)
    errors = [abs(row["estimate"]["value"] - row["obtained"]) for row in report["backtests"]]
    assert report["mean_absolute_error"] == pytest.approx(sum(errors) / len(errors))
    assert (tmp_path / "backtest.png").stat().st_size > 10_000
    widths = [row["estimate"]["high"] - row["estimate"]["low"] for row in report["backtests"]]
    assert report["mean_width"] == pytest.approx(sum(widths) / len(widths))
    assert "mean absolute error" in in_process("bench", "backtest", small_run).stdout
