"""The measurements: that they measure, and what they print; how fast anything is belongs elsewhere."""

import json

import pytest
from conftest import assert_one_sentence, cbtool


def test_training_is_timed_against_the_stock_network():
    result = cbtool("bench", "train", "--backbone", "convnext-tiny", "--batch", "2", "--steps", "1", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["ratio"] == pytest.approx(report["ours"] / report["stock"], rel=0.05)
    assert report["head_ratio"] == pytest.approx(report["head"] / report["stock_head"], rel=0.05)
    assert report["cached_head"] > report["head"]
    assert report["peak_gb"] > 0.1


def test_augmentation_is_timed_against_plain_layers(training_file):
    settings = ["--set", "augment=[{name='brightness', rate=0.5}, {name='mix-up'}]"]
    arguments = ["--preset", "tiny", *settings, "--data", training_file, "--seconds", "1", "--json"]
    report = json.loads(cbtool("bench", "augment", *arguments).stdout)
    assert report["operations"] == 1
    assert report["ratio"] == pytest.approx(report["ours"] / report["naive"], rel=0.05)


def test_there_must_be_something_to_compare():
    assert_one_sentence(cbtool("bench", "train", "--backbone", "simple-cnn"), "no stock network of 'simple-cnn'")
    assert_one_sentence(cbtool("bench", "augment", "--preset", "report-base-unclean"), "no augmentations to measure")
