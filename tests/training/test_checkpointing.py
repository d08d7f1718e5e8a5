"""What training remembers: schedules, plateau and patience, and going on after being killed."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.support.commands import OLD, ROOT, assert_one_sentence, history_of, in_process
from toolkit.core import config, locks
from toolkit.core.errors import InputError
from toolkit.data import dataset, synthetic
from toolkit.training import checkpointing, fit
from toolkit.training import run_folder as runs


def test_plateau_and_patience_count_epochs_without_a_better_one():
    phase = config.Phase(
        trainable="all", epochs=99, learning_rate=1.0, plateau=2, plateau_factor=0.5, patience=5
    )
    state, scales = checkpointing.State(), []
    for loss in (3.0, 2.0, 2.5, 2.5, 2.1, 1.9, 2.0, 2.0, 2.0, 2.0, 2.0):
        assert not state.stopped
        state.count_epoch(loss, phase)
        scales.append(state.scale)
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert state.stopped


RESUMED = (
    "split.validation=0.2",
    "split.test=0.2",
    "train.deterministic=true",
    "train.phases.0.epochs=2",
    "train.phases.1.epochs=5",
    "train.phases.1.plateau=1",
    "train.phases.1.patience=2",
    "train.phases.1.learning_rate=0.02",
    # It draws everything that can be drawn: order, rate, place, size and share.
    "augment=[{name='cut-mix', rate=0.3}]",
)


@pytest.fixture(scope="module")
def small_file(cells, tmp_path_factory):
    """The drawn cells at half of their resolution, as a training file."""
    path = tmp_path_factory.mktemp("small") / "training_set.npz"
    dataset.save(cells.with_images(np.ascontiguousarray(cells.images[:, ::2, ::2])), path)
    return path


def start_training(training_file, folder):
    settings = [part for setting in RESUMED for part in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "tools",
        "train",
        "--preset",
        "tiny",
        "--data",
        training_file,
        "--run",
        folder,
    ]
    return subprocess.Popen([*map(str, command), *settings], cwd=ROOT, stderr=subprocess.DEVNULL)


def lines_of(path):
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.slow  # three processes; the one below stops at more moments, though by an exception
def test_a_killed_training_goes_on_as_if_nothing_had_happened(small_file, tmp_path):
    """Killed in the second phase: the same history, epoch for epoch, and the same weights, bit for
    bit. The trainings are processes, because only those can be killed."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    started = time.monotonic()
    assert start_training(small_file, whole).wait(timeout=300) == 0
    seconds = json.loads(runs.Run(whole).finished.read_text())["seconds"]
    rounded = sum(float(row["seconds"]) for row in history_of(runs.Run(whole)))
    assert rounded - 1 < seconds < time.monotonic() - started
    process = start_training(small_file, cut)
    deadline = time.monotonic() + 200
    while lines_of(cut / "history.csv") < 5:  # its header included
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert_one_sentence(in_process("evaluate", "--run", cut), "is not finished")
    process = subprocess.Popen(
        [sys.executable, "-m", "tools", "train", "--resume", str(cut)], cwd=ROOT
    )
    assert process.wait(timeout=300) == 0
    histories = [history_of(runs.Run(folder)) for folder in (whole, cut)]
    for row in (*histories[0], *histories[1]):
        del row["seconds"]
    assert histories[0] == histories[1]
    with np.load(runs.Run(whole).checkpoint) as first, np.load(runs.Run(cut).checkpoint) as second:
        assert first.files == second.files
        assert all(np.array_equal(first[name], second[name]) for name in first.files)
    assert not runs.Run(cut).state.exists()
    assert_one_sentence(in_process("train", "--resume", cut), "is finished")


def test_a_training_that_stops_after_every_epoch_is_the_uninterrupted_one(small_file, tmp_path):
    """Within a phase and between two, with stored features, averaged weights, accumulated gradients
    and plateaus. In a process of its own, as deterministic mode holds for a whole process."""
    command = [sys.executable, "-m", "tests.support.interrupted_training", small_file, tmp_path]
    result = subprocess.run(
        [*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    for row in (*found["whole"], *found["cut"]):
        del row["seconds"]
    assert found["cut"] == found["whole"] and len(found["whole"]) == 5
    assert found["same_weights"]


def test_a_run_that_is_still_training_is_left_alone(small_file, tmp_path):
    """The second is told who trains it; commands that need its end say that it is under way."""
    settings = config.preset("tiny", ("split.validation=0.2", "split.test=0.2"))
    samples = dataset.load(small_file)
    run = runs.begin(tmp_path / "run", settings, samples, small_file)
    with locks.hold(run.lock, "is training", "Wait."):
        result = in_process("train", "--resume", run.folder)
        assert_one_sentence(result, f"another process ({os.getpid()}) is training {run.folder}")
        for command in ("evaluate", "build"):
            result = in_process(command, "--run", run.folder)
            assert_one_sentence(result, f"is still training, in process {os.getpid()}")
    assert_one_sentence(in_process("build", "--run", run.folder), "is not finished")


def test_resume_takes_nothing_else_and_only_the_same_data(tmp_path):
    finished = OLD / "runs" / "run"
    assert in_process("train", "--resume", finished, "--preset", "tiny").returncode == 2
    assert_one_sentence(in_process("train", "--resume", tmp_path), "is not a run folder")
    shutil.copytree(finished, tmp_path / "run")
    runs.Run(tmp_path / "run").finished.unlink()
    dataset.save(synthetic.draw(3), tmp_path / "other.npz")
    result = in_process("train", "--resume", tmp_path / "run", "--data", tmp_path / "other.npz")
    assert_one_sentence(result, "not the data of this run")


def test_a_state_that_is_damaged_or_another_networks_is_one_sentence(small_file, tmp_path):
    """Found when resuming, whether the counts cannot be read or the variables do not fit."""
    settings = config.preset("tiny", ("split.validation=0.2", "split.test=0.2"))
    samples = dataset.load(small_file)
    run = runs.begin(tmp_path / "run", settings, samples, small_file)
    run.state.parent.mkdir()
    run.state.write_text("damaged")
    with pytest.raises(InputError, match=r"state.npz is not an npz file"):
        fit.resume(run, samples)
    state = json.dumps({"phase": 0, "epochs": 0, "rows": [], "of_a_later_version": 1})
    np.savez(run.state, state=np.array(state))
    with pytest.raises(InputError, match=r"state.npz is damaged"):
        fit.resume(run, samples)
