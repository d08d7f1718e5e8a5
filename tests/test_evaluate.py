"""Evaluation: the numbers, the files, and other data refused."""

import json
import shutil

import numpy as np
import pytest
from conftest import assert_one_sentence, cbtool
from sklearn.metrics import accuracy_score, f1_score

from submission.model import VIEWS
from toolkit import data, metrics, package, runs, split, synthetic


def test_scores_of_a_small_case_by_hand():
    """Four of five right; class 2 neither occurs nor is predicted and does not count in the means."""
    scores = metrics.scores(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1]), 3)
    assert scores.accuracy == pytest.approx(4 / 5)
    assert scores.precision == pytest.approx((1 + 2 / 3) / 2)
    assert scores.recall == pytest.approx((2 / 3 + 1) / 2)
    assert scores.f1 == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert scores.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert scores.per_class[2] == (0.0, 0.0, 0.0, 0)


def test_metrics_follow_from_the_stored_predictions(evaluated, training_file):
    run = runs.open_finished(evaluated)
    samples = data.load(training_file)
    stored = json.loads(run.metrics.read_text())
    for name in ("validation", "test", "validation-shifted", "test-shifted"):
        part = name.removesuffix("-shifted")
        predictions = runs.read_predictions(run, name)
        assert predictions.ids.tolist() == list(getattr(split.read(run.split), part))
        assert predictions.labels.tolist() == samples.labels[predictions.ids].tolist()
        assert predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert stored[name]["accuracy"] == pytest.approx(accuracy_score(predictions.labels, predictions.predicted))
        macro = f1_score(predictions.labels, predictions.predicted, average="macro", zero_division=0)
        assert stored[name]["macro_f1"] == pytest.approx(macro)
        assert (evaluated / f"confusion_{name}.png").stat().st_size > 10_000


def test_the_command_prints_one_json_object(evaluated):
    result = cbtool("evaluate", "--run", evaluated, "--json")
    report = json.loads(result.stdout)
    assert report["clean"] == report["test"]["accuracy"]
    assert report["shift"] == report["test-shifted"]["accuracy"]
    assert report["test"] == json.loads(runs.Run(evaluated).metrics.read_text())["test"]


def test_the_command_prints_tables(evaluated):
    result = cbtool("evaluate", "--run", evaluated)
    for words in ("accuracy", "Classes, test part", "Confusion matrix", "basophil"):
        assert words in result.stdout


def test_other_data_and_no_run_are_errors(evaluated, tmp_path):
    data.save(synthetic.draw(3), tmp_path / "other.npz")
    result = cbtool("evaluate", "--run", evaluated, "--data", tmp_path / "other.npz")
    assert_one_sentence(result, "not what this run was split on")
    assert_one_sentence(cbtool("evaluate", "--run", tmp_path), "is not a run folder")


def test_views_are_chosen_on_shifted_validation_images(evaluated):
    found = json.loads(runs.Run(evaluated).metrics.read_text())["views"]
    chosen = found["chosen"]["views"]
    assert chosen == package.read_manifest(runs.Run(evaluated).package)["networks"][0]["views"]
    assert chosen[0] == "identity" and found["chosen"]["low"] <= found["chosen"]["gain"] <= found["chosen"]["high"]
    assert {gain["views"][1] for gain in found["alone"]} == {*VIEWS} - {"identity"}


def test_without_views_the_plain_one_is_left(evaluated, tmp_path):
    copy = shutil.copytree(evaluated, tmp_path / "copy")
    result = cbtool("evaluate", "--run", copy, "--no-views", "--json")
    assert result.returncode == 0, result.stderr
    assert "views" not in json.loads(result.stdout)
    assert package.read_manifest(copy / "package")["networks"][0]["views"] == ["identity"]


def test_views_are_printed_with_their_gains(evaluated):
    result = cbtool("evaluate", "--run", evaluated)
    assert "95 % interval" in result.stdout and "three-quarter-turn" in result.stdout
