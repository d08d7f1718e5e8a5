"""`train --strategy mirrored`: one run on two virtual devices, begun and resumed, against one on
one device in this process."""

import subprocess
import sys

import pytest

from tests.support.commands import ROOT, assert_one_sentence, history_of, in_process
from toolkit.training import run_folder

# Without batch norms, which see a device's part of the batch, and dropout, which draws for each.
SETTINGS = (
    *("model.head_norm=layer", "model.dropout=0", "model.head_units=[16]", "train.batch_size=16"),
    *("split.validation=0.2", "split.test=0.2", "train.deterministic=true"),
    # One phase: each is compiled again for both devices.
    *("train.phases=[{trainable='all', epochs=2, learning_rate=1e-3}]", "augment=[{name='flip'}]"),
)
MEASURES = ("loss", "accuracy", "val_loss", "val_accuracy", "val_shift_accuracy")


def arguments(data, folder):
    return [
        *("train", "--preset", "tiny", "--data", str(data), "--run", str(folder)),
        *(part for setting in SETTINGS for part in ("--set", setting)),
    ]


def on_two_devices(*words):
    command = [sys.executable, "-m", "tests.support.two_devices", *words]
    command += ["--strategy", "mirrored"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_two_devices_have_the_history_of_one(small_data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert in_process(*arguments(small_data, one)).returncode == 0
    result = on_two_devices(*arguments(small_data, two))
    assert result.returncode == 0, result.stderr
    assert "2 devices: each batch of 16 is split, 8 images at most for a device" in result.stderr
    rows = [history_of(run_folder.Run(folder)) for folder in (one, two)]
    assert len(rows[0]) == len(rows[1]) == 2
    for expected, found in zip(*rows):
        for measure in MEASURES:
            assert float(found[measure]) == pytest.approx(float(expected[measure]), abs=1e-5)


def test_one_device_is_not_enough(small_data, tmp_path):
    words = (*arguments(small_data, tmp_path / "run"), "--strategy", "mirrored")
    assert_one_sentence(in_process(*words), "needs two devices or more; TensorFlow sees")
    assert not (tmp_path / "run").exists()


def test_accumulation_is_refused(small_data, tmp_path):
    words = (*arguments(small_data, tmp_path / "run"), "--set", "train.phases.0.accumulate=2")
    result = in_process(*words, "--strategy", "mirrored")
    assert_one_sentence(result, "do not go together")
