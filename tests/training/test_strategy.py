"""`train --strategy`: runs on several devices against one on one device.

Each process makes its devices once, so these tests start four besides their own: one with two
virtual devices for each backend, and two that train together, of which one is killed.
"""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.support.commands import ROOT, assert_one_sentence, history_of, in_process
from toolkit.training import run_folder

# Without batch norms, which see a device's part of the batch on TensorFlow, and dropout, which
# draws for each.
SETTINGS = (
    *("model.head_norm=layer", "model.dropout=0", "model.head_units=[16]", "train.batch_size=16"),
    *("split.validation=0.2", "split.test=0.2", "train.deterministic=true"),
)
# One phase on TensorFlow: each is compiled again for both devices.
TENSORFLOW = (
    "train.phases=[{trainable='all', epochs=2, learning_rate=1e-3}]",
    "augment=[{name='flip'}]",
)
# On JAX also a head on stored features, and batches of which the last one is filled up; and more
# epochs than the process that is killed sees. No augmentation: each of several processes draws
# other numbers for it.
JAX = (
    *("train.batch_size=14", "model.head_units=[]"),
    "train.phases=[{trainable='head', augment=false, epochs=2, learning_rate=1e-3}, "
    "{trainable='all', epochs=16, learning_rate=5e-5, plateau=0, patience=0}]",
    "augment=[]",
)
# Rounding differs, because sums are made in another order, and grows over the 18 epochs on JAX; it
# may tip an image, of 16 at least.
GROWN = {"loss": 1e-3, "accuracy": 0.07}
LOSSES = ("loss", "val_loss")
ACCURACIES = ("accuracy", "val_accuracy", "val_shift_accuracy")


def arguments(data, folder, settings=TENSORFLOW):
    return [
        *("train", "--preset", "tiny", "--data", str(data), "--run", str(folder)),
        *(part for setting in (*SETTINGS, *settings) for part in ("--set", setting)),
    ]


def start(place, *lines, **environment):
    file = place / f"lines{len(list(place.glob('lines*')))}.json"
    file.write_text(json.dumps(lines))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.several_devices", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def finish(process):
    try:
        stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()  # a process that waits for another one for good
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def assert_same_history(one, other, loss=1e-5, accuracy=1e-5):
    rows = [history_of(run_folder.Run(folder)) for folder in (one, other)]
    assert len(rows[0]) == len(rows[1]) > 1
    for expected, found in zip(*rows):
        for measure in (*LOSSES, *ACCURACIES):
            tolerance = loss if measure in LOSSES else accuracy
            assert float(found[measure]) == pytest.approx(float(expected[measure]), abs=tolerance)
    assert float(rows[0][-1]["loss"]) < float(rows[0][0]["loss"])


def test_two_devices_have_the_history_of_one(small_data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert in_process(*arguments(small_data, one)).returncode == 0
    result = finish(start(tmp_path, [*arguments(small_data, two), "--strategy", "mirrored"]))
    assert result.returncode == 0, result.stderr
    assert "2 devices: each batch of 16 is split, 8 images at most for a device" in result.stderr
    assert_same_history(one, two)


@pytest.fixture(scope="module")
def jax_runs(small_data, tmp_path_factory):
    """A folder with runs on JAX: `one`, on one device; `two`, on two; `joined`, begun by two
    processes and gone on with by one, after the other was killed. And how the first of these two
    ended."""
    place = tmp_path_factory.mktemp("jax")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*free.getsockname())
    joined = run_folder.Run(place / "joined")
    line = [*arguments(small_data, joined.folder, JAX), "--backend", "jax"]
    line += ["--strategy", "multiworker"]
    # The variable, too: TensorFlow, whose devices are made first, imports Keras.
    variables = {
        "KERAS_BACKEND": "jax",
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "KERAS_DISTRIBUTION_PROCESS_ID": "0",
    }
    first = start(place, line, **variables)
    variables |= {"KERAS_DISTRIBUTION_PROCESS_ID": "1", "VICTIM": str(joined.history)}
    second = start(place, line, **variables)
    left = finish(first)
    finish(second)
    one, two = (
        [*arguments(small_data, place / name, JAX), "--backend", "jax"] for name in ("one", "two")
    )
    result = finish(
        start(
            place,
            ["train", "--backend", "jax", "--resume", str(joined.folder)],
            one,
            # What is computed again (train.remat) changes nothing, either.
            [*two, "--strategy", "mirrored", "--set", "train.remat=true"],
            KERAS_BACKEND="jax",
            XLA_FLAGS="--xla_force_host_platform_device_count=2",
        )
    )
    assert result.returncode == 0, result.stderr
    assert "2 devices: each batch of 14 is split, 7 images" in result.stderr
    return place, left


def test_two_devices_of_jax_have_the_history_of_one(jax_runs):
    place, _ = jax_runs
    assert_same_history(place / "one", place / "two", **GROWN)


def test_a_killed_process_ends_the_others_and_one_goes_on(jax_runs):
    place, left = jax_runs
    assert left.returncode == 4
    assert "2 devices of 2 processes: each batch of 14 is split, 7 images" in left.stderr
    assert "Error: another process of this training has ended" in left.stderr
    assert f"cbtool train --backend jax --resume {place / 'joined'}" in left.stderr
    assert "Traceback" not in left.stderr
    assert_same_history(place / "one", place / "joined", **GROWN)


def test_one_device_is_not_enough(small_data, tmp_path):
    words = (*arguments(small_data, tmp_path / "run"), "--strategy", "mirrored")
    assert_one_sentence(in_process(*words), "needs two devices or more; TensorFlow sees")
    assert not (tmp_path / "run").exists()


def test_several_processes_need_jax(small_data, tmp_path):
    words = (*arguments(small_data, tmp_path / "run"), "--strategy", "multiworker")
    assert_one_sentence(in_process(*words), "--strategy multiworker is for JAX")
    assert not (tmp_path / "run").exists()


def test_accumulation_is_refused(small_data, tmp_path):
    words = (*arguments(small_data, tmp_path / "run"), "--set", "train.phases.0.accumulate=2")
    result = in_process(*words, "--strategy", "mirrored")
    assert_one_sentence(result, "do not go together")
