"""Evaluation: the numbers, the files, and other data refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import f1_score

from submission.model import VIEWS
from tests.support.commands import assert_one_sentence, in_process
from toolkit.data import dataset, shift, splitting, synthetic
from toolkit.evaluation import evaluate, metrics, shift_benchmark
from toolkit.evaluation.predictions import read_predictions
from toolkit.export import package
from toolkit.export.manifest import read_manifest
from toolkit.training import run_folder


def test_scores_of_a_small_case_by_hand():
    """Four of five right; class 2 neither occurs nor is predicted and does not count in the
    means."""
    scores = metrics.score(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1]), 3)
    assert scores.accuracy == pytest.approx(4 / 5)
    assert scores.precision == pytest.approx((1 + 2 / 3) / 2)
    assert scores.recall == pytest.approx((2 / 3 + 1) / 2)
    assert scores.f1 == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert scores.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert scores.per_class[2] == (0.0, 0.0, 0.0, 0)


@pytest.fixture(scope="module")
def opened(small_run, tmp_path_factory):
    """A copy of the run, whose test part was opened once before, and the report of opening it
    again, in the plain view alone."""
    copy = shutil.copytree(small_run, tmp_path_factory.mktemp("opened") / "run")
    run_folder.Run(copy).test_openings.write_text('["2026-01-01T00:00:00+00:00"]')
    result = in_process("evaluate", "--run", copy, "--split", "test", "--no-views", "--json")
    assert result.returncode == 0, result.stderr
    return copy, json.loads(result.stdout)


def test_metrics_follow_from_the_stored_predictions(opened, small_data):
    run = run_folder.open_finished(opened[0])
    samples = dataset.load(small_data)
    stored = json.loads(run.metrics.read_text())
    for part in evaluate.HELD_OUT:
        ids = list(getattr(splitting.read(run.split), part))
        for condition, copies in (
            ("clean", 1),
            ("shift", shift_benchmark.BENCHMARK_SEEDS),
            ("blur", len(shift.SEVERITIES)),
        ):
            predictions = read_predictions(run, part, condition)
            assert predictions.ids.tolist() == ids * copies
            assert predictions.labels.tolist() == samples.labels[predictions.ids].tolist()
            assert predictions.probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)
            right = predictions.labels == predictions.predicted
            if condition == "blur":
                by_severity = right.reshape(copies, -1).mean(axis=1).tolist()
                assert [
                    found["value"] for found in stored[part]["families"]["blur"]
                ] == pytest.approx(by_severity)
                continue
            assert stored[part][condition] == pytest.approx(right.mean())
            interval = stored[part]["intervals"][condition]
            assert interval["low"] <= right.mean() <= interval["high"]
            macro = f1_score(
                predictions.labels, predictions.predicted, average="macro", zero_division=0
            )
            assert stored[part]["scores"][condition]["macro_f1"] == pytest.approx(macro)
            assert (run.folder / f"confusion_{part}_{condition}.png").stat().st_size > 10_000


def test_the_json_object_has_the_numbers_a_script_reads(opened):
    folder, report = opened
    assert (
        report["split"] == "test"
        and report["test"] == json.loads(run_folder.Run(folder).metrics.read_text())["test"]
    )
    for key in ("clean", "shift", "estimated_score", "estimated_low", "estimated_high"):
        assert report[key] == report["test"][key]
    assert (
        0 <= report["estimated_low"] <= report["estimated_score"] <= report["estimated_high"] <= 1
    )
    assert report["test"]["absent_families"] == [
        name for name in shift.FAMILIES if name != "geometric"
    ]


def test_the_test_part_is_opened_on_request_only_and_counted(small_run, opened):
    assert "test" not in json.loads(run_folder.Run(small_run).metrics.read_text())
    assert not run_folder.Run(small_run).test_openings.exists()
    assert not list((small_run / "predictions").glob("test*"))
    folder, report = opened
    assert report["test_openings"] == len(evaluate.openings(run_folder.Run(folder))) == 2


def test_a_stale_package_is_exported_again_with_its_type_and_progress_only_rises(
    small_run, small_data, tmp_path
):
    run = run_folder.Run(shutil.copytree(small_run, tmp_path / "run"))
    samples, steps = dataset.load(small_data), []
    package.export_on_validation(run, samples, "float32")
    (run.package / "model.py").write_text("# of another version")
    evaluate.evaluate(
        run, samples, augmented=False, progress=lambda done, total, _: steps.append((done, total))
    )
    assert read_manifest(run.package).networks[0].weights.dtype == "float32"
    assert package.is_current(run)
    total = len(steps)
    assert steps == [(number, total) for number in range(total)]


def test_a_class_that_a_part_lacks_and_no_split_are_errors(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "lacks")
    parts, labels = (
        splitting.read(run_folder.Run(copy).split),
        read_predictions(run_folder.Run(copy), "validation", "clean"),
    )
    some = tuple(labels.ids[labels.labels != 4].tolist())
    splitting.write(dataclasses.replace(parts, validation=some), run_folder.Run(copy).split)
    assert_one_sentence(
        in_process("evaluate", "--run", copy), "validation part has no image of class 4"
    )
    run_folder.Run(copy).split.unlink()
    assert_one_sentence(in_process("evaluate", "--run", copy), "there is no split")


def test_other_data_and_no_run_are_errors(small_run, tmp_path):
    dataset.save(synthetic.draw(3), tmp_path / "other.npz")
    result = in_process("evaluate", "--run", small_run, "--data", tmp_path / "other.npz")
    assert_one_sentence(result, "not the data of this run")
    assert_one_sentence(in_process("evaluate", "--run", tmp_path), "is not a run folder")


def test_the_tables_tell_all(small_evaluation):
    _, text = small_evaluation
    for words in (
        "estimated for a hidden test set",
        "severity 5",
        "overlay",
        "Classes, validation part, clean",
        "basophil",
        "Worst families: ",
        "Most frequent errors, shift: ",
        "expected calibration error",
        "95 % interval",
        "three-quarter-turn",
        "the chosen set",
        "temperature",
        "other class shares",
    ):
        assert words in text, words


def test_the_headline_comes_last_and_fits_a_screen(small_evaluation):
    _, text = small_evaluation
    headline = text[text.rindex("Scores, validation part") :]
    assert "Classes, " not in headline and "severity" not in headline
    assert "Worst classes under corruptions, by recall: " in headline
    table, _, sentences = headline.partition("Families that")
    assert len(headline.splitlines()) < 20 and sentences
    assert max(map(len, table.splitlines())) <= 80


def test_views_are_chosen_on_shifted_validation_images(small_run):
    found = json.loads(run_folder.Run(small_run).metrics.read_text())["tta"]
    chosen = found["chosen"]["views"]
    assert chosen == list(read_manifest(run_folder.Run(small_run).package).networks[0].views)
    gain = found["chosen"]["gain"]
    assert chosen[0] == "identity" and gain["low"] <= gain["value"] <= gain["high"]
    assert {gain["views"][1] for gain in found["alone"]} == {*VIEWS} - {"identity"}


def test_without_views_the_plain_one_is_left(opened):
    folder, report = opened
    assert "tta" not in report
    assert read_manifest(run_folder.Run(folder).package).networks[0].views == ("identity",)
