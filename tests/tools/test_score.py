"""Scoring and timing the zip itself."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.support.commands import ROOT, assert_one_sentence, in_process
from tests.support.submissions import GOOD, made
from toolkit.data import dataset
from toolkit.evaluation.predictions import read_predictions
from toolkit.training import run_folder


def test_the_zip_labels_every_held_out_image_as_evaluate_did(
    small_run, small_zip, small_data, evaluator
):
    """In the competition's environment; the next test is in this one."""
    metrics = json.loads(run_folder.Run(small_run).metrics.read_text())["validation"]
    result = in_process(
        "score", small_zip, "--data", small_data, "--run", small_run, "--json", *evaluator
    )
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert report["labels_differing_from_evaluate"] == 0
    assert report["accuracy"] == pytest.approx(metrics["clean"])


def test_shifted_scores_of_the_zip_are_those_of_evaluate(small_run, small_zip, small_data):
    metrics = json.loads(run_folder.Run(small_run).metrics.read_text())["validation"]
    command = ("score", small_zip, "--data", small_data, "--run", small_run, "--shift")
    report = json.loads(in_process(*command, "--runs", small_run.parent, "--json").stdout)
    assert report["labels_differing_from_evaluate"] == 0
    assert report["accuracy"] == pytest.approx(metrics["clean"])
    for key in (
        "clean",
        "shift",
        "estimated_score",
        "estimated_low",
        "estimated_high",
        "families",
        "absent_families",
        "stand_in_family",
    ):
        assert report[key] == metrics[key]


def test_predictions_of_another_split_are_an_error(small_run, small_zip, small_data, tmp_path):
    run = run_folder.Run(shutil.copytree(small_run, tmp_path / "run"))
    found = read_predictions(run, "validation", "clean")
    dataclasses.replace(found, ids=found.ids + 1).save(run.predictions("validation", "clean"))
    result = in_process("score", small_zip, "--data", small_data, "--run", run.folder)
    assert_one_sentence(result, "to another split")


def test_another_zip_is_told_apart(small_run, small_data, tmp_path):
    """A zip that always says 3 disagrees with evaluate: exit code 1."""
    path = made(tmp_path / "three.zip")
    result = in_process("score", path, "--data", small_data, "--run", small_run, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 1
    predicted = read_predictions(run_folder.Run(small_run), "validation", "clean").predicted
    assert report["labels_differing_from_evaluate"] == int((predicted != 3).sum())


def test_a_constant_zip_scores_the_share_of_its_class(tmp_path, cells):
    dataset.save(cells, tmp_path / "cells.npz")
    result = in_process(
        "score", made(tmp_path / "three.zip"), "--data", tmp_path / "cells.npz", "--json"
    )
    report = json.loads(result.stdout)
    assert report["n"] == len(cells)
    assert report["accuracy"] == pytest.approx((cells.labels == 3).mean())


def test_a_test_set_may_lack_a_class(tmp_path, cells):
    some = cells.take(np.flatnonzero(cells.labels[:160] < 5))
    dataset.save(some, tmp_path / "some.npz")
    result = in_process("score", made(tmp_path / "three.zip"), "--data", tmp_path / "some.npz")
    assert result.returncode == 0, result.stderr
    assert f"{(some.labels == 3).mean():.4f}" in result.stdout


def test_scoring_a_zip_and_reading_the_ledger_import_nothing_heavy(tmp_path, cells):
    """In a process of its own: what it has imported is the point."""
    dataset.save(cells.take(np.arange(8)), tmp_path / "cells.npz")
    made(tmp_path / "three.zip")
    code = (
        "import sys; from tools.cli import main;"
        "assert main(['score', 'three.zip', '--data', 'cells.npz', '--shift']) == 0;"
        "assert main(['runs', 'zips', '.']) == 2;"
        "heavy = {'tensorflow', 'keras', 'keras_cv', 'sklearn', 'scipy'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_failures_of_the_zip_exit_with_1(tmp_path, cells):
    dataset.save(cells, tmp_path / "cells.npz")
    broken = made(tmp_path / "broken.zip", GOOD.replace("return np.full", "return np.fool"))
    result = in_process("score", broken, "--data", tmp_path / "cells.npz")
    assert_one_sentence(result, "predict failed", "model.py line 10", code=1)
    eight = made(tmp_path / "eight.zip", files=[("weights.txt", "8")])
    assert_one_sentence(
        in_process("score", eight, "--data", tmp_path / "cells.npz"), "from 8 to 8", code=1
    )


def test_time_reports_and_projects(small_zip):
    result = in_process("time", small_zip, "--images", "3421", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert report["images"] == 3421 and report["measured_images"] == 512
    startup = report["import_seconds"] + report["load_seconds"] + report["first_call_seconds"]
    rest = (3421 - 64) / report["images_per_second"]
    assert report["projected_seconds"] == pytest.approx(startup + rest, rel=0.01)
    assert 100 < report["peak_mb"] < 10_000
    assert report["ceiling_share"] == pytest.approx(
        report["gflop_per_image"] * report["images_per_second"] / report["ceiling_gflops"], rel=0.05
    )
    assert report["limit_seconds"] == 600 and report["zip_time_limit"] == 600


def test_time_says_when_a_zip_is_too_slow(tmp_path):
    path = made(
        tmp_path / "slow.zip",
        GOOD.replace("return np", "import time; time.sleep(len(X) / 1000); return np"),
    )
    result = in_process("time", path, "--images", 100_000, "--limit", 30)
    assert result.returncode == 4, result.stderr
    assert "Too slow: 1" in result.stderr
