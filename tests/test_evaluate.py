"""Evaluation: the numbers, the files, and other data refused."""

import json

import numpy as np
import pytest
from conftest import assert_one_sentence, cbtool
from sklearn.metrics import accuracy_score, f1_score

from toolkit import data, files, metrics, package, runs, split, synthetic
from toolkit.errors import SubmissionError


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


def test_a_package_that_labels_differently_is_withdrawn(tmp_path):
    run, sure = runs.Run(tmp_path), np.tile(np.float32([0.9, 0.1]), (1000, 1))
    changed = np.where(np.arange(1000)[:, None] < 2, sure[:, ::-1], sure)
    files.write_text(run.package / "manifest.json", "{}")
    package.verify(run, np.where(np.arange(1000)[:, None] < 1, changed, sure), sure)
    assert (run.package / "manifest.json").exists()
    with pytest.raises(SubmissionError, match="2 of 1000 images differently"):
        package.verify(run, changed, sure)
    assert not (run.package / "manifest.json").exists()
    package.verify(run, changed[1:21], sure[1:21])  # one alone proves nothing, however few there are


def test_a_tie_that_tips_is_no_change(tmp_path):
    tie = np.tile(np.float32([0.502, 0.498]), (10, 1))
    package.verify(runs.Run(tmp_path), tie[:, ::-1], tie)
