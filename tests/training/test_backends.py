"""A training on JAX: the same steps as on TensorFlow, a run that resumes bit for bit, and a network
that TensorFlow exports. A process, because Keras has one backend in each."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from submission.model import Model
from tests.support import backend_training
from tests.support.commands import ROOT, assert_one_sentence, in_process
from toolkit.data import synthetic
from toolkit.export import package
from toolkit.training import run_folder
from toolkit.training.run_folder import Run

TOLERANCE = 1e-4  # of a loss


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of backend_training, run on JAX."""
    folder = tmp_path_factory.mktemp("jax")
    backend_training.write_steps(folder / "steps.npz")
    np.save(folder / "images.npy", synthetic.draw(3, 7, backend_training.SIDE).images)
    command = [sys.executable, "-m", "tests.support.backend_training", folder]
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "PYTHONPATH": str(ROOT),
        # Most of the time is XLA's: half of it without optimisation, and each step compiled once.
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    subprocess.run(command, check=True, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
    return folder


def test_five_steps_have_the_losses_of_tensorflow(trained):
    ours = backend_training.take_steps(trained / "steps.npz")
    theirs = json.loads((trained / "losses.json").read_text())
    assert len(set(theirs)) == backend_training.STEPS
    assert theirs == pytest.approx(ours, abs=TOLERANCE)


def test_a_resumed_training_has_the_same_weights(trained):
    """Bit for bit, with averaged weights and learning rates by step."""
    whole, resumed = (Run(trained / name) for name in ("whole", "resumed"))
    rows = [run.history.read_text().splitlines() for run in (whole, resumed)]
    assert len(rows[0]) == len(rows[1]) == 4
    for ours, theirs in zip(*rows):
        values = [line.split(",") for line in (ours, theirs)]
        assert values[0][:2] + values[0][3:] == values[1][:2] + values[1][3:]  # but the seconds
    with np.load(whole.checkpoint) as first, np.load(resumed.checkpoint) as second:
        assert first.files == second.files
        assert all(np.array_equal(first[name], second[name]) for name in first.files)


def test_tensorflow_exports_what_jax_trained(trained):
    run = Run(trained / "whole")
    images = np.load(trained / "images.npy")
    assert run_folder.read_provenance(run)["backend"] == "jax"
    package.export_run(run, images)
    wanted = np.load(trained / "scores.npy").argmax(axis=1)
    assert np.array_equal(Model(run.package).predict(images), wanted)


def test_a_training_goes_on_only_on_its_own_backend(trained, tmp_path):
    run = Run(trained / "resumed")
    run.finished.rename(tmp_path / "training.json")
    provenance = json.loads(run.provenance.read_text())
    data = tmp_path / "cells.npz"
    samples = synthetic.draw(12, side=backend_training.SIDE)
    np.savez(data, images=samples.images, labels=samples.labels)
    run.provenance.write_text(json.dumps(provenance | {"fingerprint": samples.fingerprint}))
    result = in_process("train", "--resume", run.folder, "--data", data)
    assert_one_sentence(result, "begun on jax", "runs on tensorflow now")


def test_steps_are_timed(trained):
    timing = json.loads((trained / "timing.json").read_text())
    assert min(timing.values()) > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backend", "torch"), "'torch' is not one of"),
        (("--backend", "jax"), "Keras runs on tensorflow in this process, not on jax"),
    ],
)
def test_other_backends_are_refused(arguments, words, training_file, tmp_path):
    result = in_process("train", "--data", training_file, "--run", tmp_path / "run", *arguments)
    assert result.returncode == 2 and words in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_backend_that_is_not_installed_is_one_sentence(training_file, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = in_process("train", "--data", training_file, "--backend", "jax")
    assert_one_sentence(result, "the backend jax is not installed")
    assert "cbtool[jax]" in result.stderr
