"""Run folders, zips and ledgers that version 0.1 wrote: tests/support/old."""

import json
import shutil
import zipfile

import numpy as np
import pytest

from tests.support.commands import OLD, in_process
from toolkit.core import config
from toolkit.data import dataset, splitting
from toolkit.evaluation import results, shift_benchmark
from toolkit.evaluation.predictions import read_predictions
from toolkit.export import manifest, zip_ledger
from toolkit.training import families, headline, run_table
from toolkit.training.run_folder import Run

ZIP, DATA, RUN = OLD / "submission.zip", OLD / "cells.npz", Run(OLD / "runs" / "run")
SCORE = json.loads((OLD / "score.json").read_text())
NAMES = {former: key for key, former in headline.FORMER_KEYS.items()}


@pytest.fixture
def runs(tmp_path):
    """A copy of the folder with the run and the ledger."""
    return shutil.copytree(OLD / "runs", tmp_path / "runs")


def test_an_old_ledger_is_read_and_written_with_todays_keys(runs):
    (entry,) = zip_ledger.read(runs)
    for old, new in NAMES.items():
        assert getattr(entry, new) == SCORE[old]
    zip_ledger.note_online(runs, entry.sha256, zip_ledger.OnlineScore("final", 0.5))
    (written,) = json.loads((runs / zip_ledger.FILE).read_text())
    assert written["estimated_score"] == SCORE["foretold"] and "foretold" not in written
    assert f"{SCORE['foretold']:.4f}"[:5] in in_process("runs", "zips", runs).stdout


def test_an_old_run_is_shown_with_its_estimated_score(runs):
    (row,) = run_table.rows(runs)
    assert (row.shift, row.estimated_score) == (SCORE["shift"], SCORE["foretold"])


def test_the_numbers_are_those_of_the_old_code():
    """From the same stored predictions: scores, intervals, families, the estimate. Its interval
    holds more than in version 0.1."""
    samples = dataset.load(DATA)
    part = samples.take(splitting.read(RUN.split).rows("validation", samples))
    predicted = {
        condition: read_predictions(RUN, "validation", condition).predicted
        for condition in shift_benchmark.CONDITIONS
    }
    known = families.list_covered_families(config.read(RUN.config))
    found = results.benchmark_values(shift_benchmark.score(part, predicted, known))
    for key, value in SCORE.items():
        if key in found or key in NAMES:
            now = found[NAMES.get(key, key)]
            if key == "foretold_low":
                assert now < value
            elif key == "foretold_high":
                assert now > value
            else:
                assert now == value, key
    assert found["scores"]["clean"].items() <= SCORE.items()


def test_an_old_run_is_built_with_the_views_and_steps_it_chose(runs, tmp_path):
    run = Run(runs / "run")
    old = json.loads((run.package / "manifest.json").read_text())
    path = tmp_path / "again.zip"
    result = in_process("build", "--run", run.folder, "--data", DATA, "--out", path)
    assert result.returncode == 0, result.stderr
    (network,) = manifest.read_manifest(run.package).networks
    assert list(network.views) == old["networks"][0]["views"]
    assert network.temperature == old["networks"][0]["temperature"]
    (old_entry, entry) = zip_ledger.read(runs)
    assert entry.estimated_score == old_entry.estimated_score


def test_the_choice_is_found_in_old_and_new_metrics(runs):
    run = Run(runs / "run")
    metrics = json.loads(run.metrics.read_text())
    metrics.pop("views", None)
    for key in ("views", "tta"):
        changed = metrics | {key: {"chosen": {"views": ["identity", "mirror"]}}}
        run.metrics.write_text(json.dumps(changed))
        assert manifest.read_inference(run).views == ("identity", "mirror")


@pytest.fixture
def float32_zip(tmp_path):
    """The old zip with products in float32, in which its stored labels were computed.

    A processor with bfloat16 products would use those, and some labels of so small a network tip.
    """
    path = tmp_path / "float32.zip"
    with zipfile.ZipFile(ZIP) as old, zipfile.ZipFile(path, "w") as archive:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename == "manifest.json":
                values = json.loads(content)
                values["networks"][0]["bfloat16"] = False
                content = json.dumps(values).encode()
            archive.writestr(entry, content)
    return path


def test_an_old_zip_runs_as_it_did(runs, float32_zip):
    """In its own code, which lies in the zip."""
    arguments = ("--data", DATA, "--run", runs / "run", "--shift", "--runs", runs, "--json")
    report = json.loads(in_process("score", float32_zip, *arguments).stdout)
    assert report["labels_differing_from_evaluate"] == 0
    assert report["absent_families"] == SCORE["absent_families"]
    assert np.allclose(report["estimated_score"], SCORE["foretold"])
