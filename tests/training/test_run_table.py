"""The table of runs."""

import csv
import io
import json
import shutil

import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.training import run_folder, run_table


@pytest.fixture(scope="module")
def folder(small_run, tmp_path_factory):
    """An evaluated run, and one that was never evaluated, with another configuration."""
    place = tmp_path_factory.mktemp("ledger")
    shutil.copytree(small_run, place / "first")
    fresh = place / "second"
    fresh.mkdir()
    text = (small_run / "config.toml").read_text()
    (fresh / "config.toml").write_text(text.replace('trainable = "all"', "trainable = 2"))
    return place


def test_a_row_holds_what_the_run_holds(folder):
    first, second = run_table.rows(folder)
    stored = json.loads(run_folder.Run(folder / "first").metrics.read_text())
    assert (first.name, first.backbone, first.augmentation) == ("first", "simple-cnn", "flip")
    assert first.fine_tuning == "head × 1, all × 40"
    assert first.part == "validation" and first.accuracy == stored["validation"]["clean"]
    assert (first.shift, first.estimated_score) == (
        stored["validation"]["shift"],
        stored["validation"]["estimated_score"],
    )
    assert first.test_openings == 0
    assert first.seconds > 0 and first.megabytes > 0
    assert second.fine_tuning == "head × 1, from layer 2 × 40"
    assert second.accuracy is second.shift is second.estimated_score is second.megabytes is None


def test_the_command_prints_and_writes_it(folder, tmp_path):
    result = in_process("runs", "list", folder, "--csv", tmp_path / "runs.csv")
    assert result.returncode == 0 and "from layer 2" in result.stdout
    first = run_table.rows(folder)[0]
    shown = result.stdout.split()
    assert f"{first.seconds:,.0f}" in shown and f"{first.megabytes:,.1f}" in shown
    lines = list(csv.DictReader(io.StringIO((tmp_path / "runs.csv").read_text())))
    assert [line["name"] for line in lines] == ["first", "second"]
    assert (
        float(lines[0]["accuracy"]) == run_table.rows(folder)[0].accuracy
        and lines[1]["accuracy"] == ""
    )
    assert len(json.loads(in_process("runs", "list", folder, "--json").stdout)["runs"]) == 2


def test_no_runs_and_broken_ones_are_errors(folder, tmp_path):
    assert_one_sentence(in_process("runs", "list", tmp_path), "no runs in")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.toml").write_text("[model]\nbackbone = 3\n")
    assert_one_sentence(in_process("runs", "list", tmp_path), "cannot be read")
