"""`bench augment`: what it measures and prints; how fast anything is belongs elsewhere."""

import json

import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.augment import peers


def bench_augment(training_file, *arguments):
    # edges: other libraries lack it.
    settings = ["--set", "augment=[{name='brightness', rate=0.5}, {name='edges', factor=0.2}]"]
    return in_process(
        *("bench", "augment", "--preset", "tiny", *settings, "--data", training_file),
        *("--size", 16, "--seconds", 0.3, *arguments),
    )


@pytest.fixture(autouse=True)
def _without_albumentations(monkeypatch):
    """As where the extra `bench` is not installed."""
    monkeypatch.setitem(peers.PACKAGES, "albumentations", "no_such_package")


def test_augmentation_is_timed_against_each_library_on_the_operations_that_both_have(training_file):
    """Starts a process: Pillow's form runs in one for each core."""
    result = bench_augment(training_file, "--threads", "1", "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["size"] == [16, 16] and report["not_installed"] == ["albumentations"]
    assert report["lacking"]["pillow"] == ["edges"] and report["lacking"]["keras-cv"] == []
    both, shared = report["rows"]
    assert (both["operations"], shared["operations"], shared["of"]) == (2, 1, 2)
    assert set(both["images_per_second"]) == {"ours", "keras-cv"}
    assert set(shared["images_per_second"]) == {"ours", "pillow"}
    assert min(both["images_per_second"].values()) > 1
    speeds = shared["images_per_second"]
    ratio = pytest.approx(speeds["ours"] / speeds["pillow"], rel=0.01, abs=0.01)
    assert shared["ratios"] == {"pillow": ratio} and shared["threads"] == 1


@pytest.mark.slow
def test_each_operation_is_timed_alone_and_the_table_names_what_is_not_measured(training_file):
    """Starts processes, as above."""
    result = bench_augment(training_file, "--each")
    assert "pillow lacks edges." in result.stderr
    assert "albumentations is not installed: pip install 'cbtool[bench]'." in result.stderr
    assert "1 of 2" in result.stdout and "× pillow" in result.stdout
    assert "brightness 0.5" in result.stdout and "edges 0.2" in result.stdout


@pytest.mark.parametrize("text", ["0", "two"])
def test_a_number_of_cores_is_a_number(text):
    result = in_process("bench", "augment", "--preset", "tiny", "--threads", text)
    assert_one_sentence(result, f"--threads is '{text}', which is no number of cores")


def test_more_cores_than_there_are_are_refused(training_file):
    result = bench_augment(training_file, "--threads", "4096")
    assert_one_sentence(result, "4096 cores were asked for")
