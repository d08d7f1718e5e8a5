"""Shared parts: small data, one trained run, its zip, and the competition's own environment."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from tests.support.commands import COMPETITION, OLD, in_process
from toolkit.data import dataset, synthetic
from toolkit.runtime import environments

# The files that take longest, longest first.
LONG_FILES = (
    "training/test_trainer.py",
    "training/test_checkpointing.py",
    "tools/test_cli.py",
    "runtime/test_checks.py",
    "models/test_backbones.py",
    "training/test_backends.py",
    "training/test_strategy.py",
    "tools/test_bench.py",
    "augment/test_chain.py",
    "codabench/test_worker.py",
    "tests/test_examples.py",
    "tests/test_readme.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first, so that neither of the two processes is left alone with one."""

    def rank(item: pytest.Item) -> int:
        path = item.path.as_posix()
        places = [place for place, name in enumerate(LONG_FILES) if path.endswith(name)]
        return places[0] if places else len(LONG_FILES)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def cells() -> dataset.Samples:
    """20 drawn cells a class and their share of irrelevant copies."""
    return synthetic.draw(20)


@pytest.fixture(scope="session")
def training_file(tmp_path_factory) -> Path:
    """A small training file: 20 real cells a class where they are at hand, else drawn ones;
    irrelevant copies in both."""
    path = tmp_path_factory.mktemp("data") / "training_set.npz"
    if COMPETITION.exists():
        command = [sys.executable, COMPETITION / "make_training_set.py", path, "--per-class", "20"]
        subprocess.run(command, check=True, capture_output=True)
    else:
        dataset.save(synthetic.draw(20), path)
    return path


@pytest.fixture(scope="session")
def run_folder(training_file, tmp_path_factory) -> Path:
    """A run that the command line trained for three short epochs."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    settings = [
        "--set",
        "train.phases.1.epochs=2",
        "--set",
        "split.validation=0.2",
        "--set",
        "split.test=0.2",
    ]
    result = in_process(
        "train", "--preset", "tiny", "--data", training_file, "--run", folder, *settings
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="session")
def small_data() -> Path:
    """A training file of 32 × 32 drawn cells, which `small_run` was trained on."""
    return OLD / "cells.npz"


@pytest.fixture(scope="session")
def small_evaluation(small_data, tmp_path_factory) -> tuple[Path, str]:
    """A run that version 0.1 trained on `small_data`, evaluated by today's code in this process,
    and what that printed."""
    folder = tmp_path_factory.mktemp("small") / "run"
    shutil.copytree(OLD / "runs" / "run", folder)
    provenance = json.loads((folder / "provenance.json").read_text())
    provenance["data"] = str(small_data)
    (folder / "provenance.json").write_text(json.dumps(provenance))
    result = in_process("evaluate", "--run", folder, "--full")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture(scope="session")
def small_run(small_evaluation) -> Path:
    """The folder of that run."""
    return small_evaluation[0]


@pytest.fixture(scope="session")
def small_zip(small_run, tmp_path_factory) -> Path:
    """Its zip."""
    path = tmp_path_factory.mktemp("small_zip") / "submission.zip"
    result = in_process("build", "--run", small_run, "--out", path)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="session")
def fitted_zip(cells, tmp_path_factory) -> Path:
    """A zip as `build` writes it, of a network that was fitted in a second instead of trained."""
    from tests.support.packages import write_package
    from toolkit.export import package

    folder = tmp_path_factory.mktemp("fitted")
    write_package(folder / "package", cells.images[:40], cells.labels[:40])
    package.write_zip([folder / "package"], folder / "submission.zip")
    return folder / "submission.zip"


@pytest.fixture(scope="session")
def evaluator() -> list[str]:
    """The options that run a zip in the competition's TensorFlow 2.17.0 and Keras 3.4.1, which are
    set up here."""
    environments.find_python("an2dl2024")
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
    from tests.support.standin import StandIn

    for server in servers:
        server.clear()
    return StandIn(*servers)
