"""Shared parts: small data, one trained run, its zip, and the competition's own environment."""

import csv
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from toolkit import data, evaluators, runs, synthetic

ROOT = Path(__file__).resolve().parents[1]
COMPETITION = ROOT.parent / "shared" / "competition"  # the competition's images, where they are at hand


def cbtool(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs the command line as a user does: a process of its own."""
    command = [sys.executable, "-m", "tools", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=options.pop("cwd", ROOT), timeout=400, **options)


def started(*arguments) -> subprocess.Popen:
    """Starts the command line, to be interrupted. Shells start background jobs deaf to Ctrl-C, which a test in one would inherit."""
    command = [sys.executable, "-m", "tools", *map(str, arguments)]
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=listen)


def assert_one_sentence(result: subprocess.CompletedProcess, *words: str, code: int = 2) -> None:
    """The process failed as a user's mistake should: code, one error sentence with `words`, a hint, no traceback."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert "Hint: " in result.stderr
    for word in words:
        assert word in errors[0]


def history_of(run: runs.Run) -> list[dict]:
    """The rows of the run's history.csv, as text."""
    with run.history.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="session")
def cells() -> data.Samples:
    """20 drawn cells a class and their share of irrelevant copies."""
    return synthetic.draw(20)


@pytest.fixture(scope="session")
def training_file(tmp_path_factory) -> Path:
    """A small training file: 40 real cells a class where they are at hand, else drawn ones; irrelevant copies in both."""
    path = tmp_path_factory.mktemp("data") / "training_set.npz"
    if COMPETITION.exists():
        command = [sys.executable, COMPETITION / "make_training_set.py", path, "--per-class", "40"]
        subprocess.run(command, check=True, capture_output=True)
    else:
        data.save(synthetic.draw(40), path)
    return path


@pytest.fixture(scope="session")
def run_folder(training_file, tmp_path_factory) -> Path:
    """A run that the command line trained for three short epochs."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = ["--set", "train.phases.1.epochs=2", "--set", "split.validation=0.2", "--set", "split.test=0.2"]
    result = cbtool("train", "--preset", "tiny", "--data", training_file, "--run", folder, *settings)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="session")
def evaluated(run_folder) -> Path:
    """The same run, evaluated."""
    result = cbtool("evaluate", "--run", run_folder)
    assert result.returncode == 0, result.stderr
    return run_folder


@pytest.fixture(scope="session")
def submission_zip(evaluated, tmp_path_factory) -> Path:
    """Its zip."""
    path = tmp_path_factory.mktemp("zips") / "submission.zip"
    result = cbtool("build", "--run", evaluated, "--out", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="session")
def evaluator() -> list[str]:
    """The options that run a zip in the competition's TensorFlow 2.17.0 and Keras 3.4.1, which are set up here."""
    evaluators.python("an2dl2024")
    return ["--evaluator", "an2dl2024"]


@pytest.fixture
def images() -> np.ndarray:
    """Eight images of noise, uint8 [8, 32, 32, 3]."""
    return np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)


@pytest.fixture(scope="session")
def servers():
    """Two HTTP servers that answer nothing yet."""
    from pytest_httpserver import HTTPServer

    with HTTPServer(threaded=True) as api, HTTPServer(threaded=True) as storage:
        yield api, storage


@pytest.fixture
def standin(servers):
    """A stand-in for CodaBench, with a server for the API and one for the storage."""
    from standin import StandIn

    for server in servers:
        server.clear()
    return StandIn(*servers)
