"""Which of two runs is really better."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.evaluation.compare import compare
from toolkit.evaluation.predictions import read_predictions
from toolkit.training.run_folder import Run


def changed(small_run, folder, change) -> Run:
    """A copy of the run whose predictions went through `change`."""
    run = Run(shutil.copytree(small_run, folder))
    for condition in ("clean", "shift"):
        predictions = read_predictions(run, "validation", condition)
        change(predictions).save(run.predictions("validation", condition))
    return run


def test_a_run_that_is_correct_more_often_is_better_and_one_that_says_the_same_is_not(
    small_run, tmp_path
):
    def perfect(predictions):
        return dataclasses.replace(
            predictions, probabilities=np.eye(8, dtype=np.float32)[predictions.labels]
        )

    def half_wrong(predictions):
        probabilities = perfect(predictions).probabilities
        probabilities[::2] = np.roll(probabilities[::2], 1, axis=1)
        return dataclasses.replace(predictions, probabilities=probabilities)

    better = changed(small_run, tmp_path / "better", perfect)
    worse = changed(small_run, tmp_path / "worse", half_wrong)
    found = compare(better, worse, "validation")
    for difference in found.values():
        assert difference.value == pytest.approx(0.5) and difference.low > 0
    result = in_process("runs", "compare", worse.folder, better.folder, "--json")
    report = json.loads(result.stdout)
    assert report["clean"]["verdict"] == report["shift"]["verdict"] == "B"
    assert report["shift"]["value"] == pytest.approx(-found["shift"].value)
    result = in_process("runs", "compare", small_run, small_run)
    assert result.stdout.count("inconclusive") == 2


def test_one_run_of_another_split_or_without_predictions_is_an_error(small_run, tmp_path):
    other = changed(
        small_run, tmp_path / "other", lambda found: dataclasses.replace(found, ids=found.ids + 1)
    )
    assert_one_sentence(in_process("runs", "compare", small_run, other.folder), "different splits")
    provenance = json.loads(other.provenance.read_text())
    other.provenance.write_text(json.dumps(provenance | {"fingerprint": "another"}))
    assert_one_sentence(in_process("runs", "compare", small_run, other.folder), "different data")
    assert_one_sentence(
        in_process("runs", "compare", small_run, small_run, "--split", "test"), "cannot be read"
    )
