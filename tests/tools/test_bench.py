"""The measurements: that they measure, and what they print; how fast anything is belongs
elsewhere."""

import json

import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.data import shift


@pytest.mark.slow
def test_training_is_timed_against_the_stock_network():
    """Starts a process for each case."""
    result = in_process(
        *("bench", "train", "--backbone", "vgg16", "--batch", "2", "--steps", "2", "--size", 32),
        *("--heads", "--json"),
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    stock, ours = report["rows"]
    assert (stock["ours"], ours["ours"]) == (False, True)
    ratio = ours["images_per_second"] / stock["images_per_second"]
    assert ours["ratio"] == pytest.approx(ratio, abs=0.01) and stock["ratio"] is None
    assert min(row["peak_mb"] for row in report["rows"]) > 100
    heads = report["heads"]
    assert heads["head_ratio"] == pytest.approx(heads["head"] / heads["stock_head"], rel=0.05)
    assert heads["cached_head"] > heads["head"]


@pytest.mark.slow
def test_prediction_is_timed_in_every_form():
    result = in_process(
        "bench", "predict", "--backbone", "mobilenetv3-small", "--images", "32", "--json"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    rows = {row["name"]: row for row in report["rows"]}
    assert {
        "template",
        "stock, tf.function",
        "ours, float32",
        "ours, bfloat16",
        "ours, 4 views",
    } <= set(rows)
    template, ours = rows["template"], rows["ours, float32"]
    assert template["ratio"] == 1 and template["max_relative_difference"] == 0
    assert ours["ratio"] == pytest.approx(
        ours["images_per_second"] / template["images_per_second"], rel=0.05
    )
    assert ours["max_relative_difference"] < 1e-4 and ours["label_agreement"] == 1
    assert 0 < rows["ours, bfloat16"]["max_relative_difference"] < 0.2
    assert report["ceiling_gflops"] > 1 and report["images"] == 32
    assert all(row["peak_mb"] > 100 and row["load_seconds"] > 0 for row in rows.values())


@pytest.mark.slow
def test_prediction_of_a_trained_run_is_timed_on_its_validation_part(small_run):
    result = in_process("bench", "predict", "--run", small_run)
    assert result.returncode == 0, result.stderr
    assert "ours, bfloat16" in result.stdout and "simple-cnn" in result.stdout


def test_prediction_needs_one_network():
    both = in_process("bench", "predict", "--backbone", "convnext-tiny", "--run", "x")
    assert both.returncode == 2 and "either --backbone NAME or --run DIR" in both.stderr
    assert_one_sentence(
        in_process("bench", "predict", "--backbone", "resnet"), "no backbone has that name"
    )


def test_there_must_be_something_to_compare():
    assert_one_sentence(
        in_process("bench", "train", "--backbone", "simple-cnn"),
        "has no network 'simple-cnn' for the comparison",
    )
    assert_one_sentence(
        in_process("bench", "augment", "--preset", "report-base-unclean"),
        "no augmentations to measure",
    )


def test_corruptions_are_timed_in_chains_and_by_family():
    report = json.loads(in_process("bench", "shift", "--images", 100, "--json").stdout)
    assert set(report) == {f"{name}_images_per_second" for name in ("chains", *shift.FAMILIES)}
    assert all(speed > 10 for speed in report.values())
