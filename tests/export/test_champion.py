"""The trained network that comes with cbtool."""

import shutil
import zipfile

import numpy as np
import pytest

from submission.model import Model
from tests.support.commands import OLD, assert_one_sentence, in_process
from toolkit.core.files import digest
from toolkit.export import champion
from toolkit.export.manifest import FORMAT, read_manifest


@pytest.fixture
def built(tmp_path):
    """The zip that `build` writes in a folder without runs."""
    result = in_process("build", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "the champion that comes with cbtool" in result.stderr
    return tmp_path / "submission.zip"


def test_without_a_run_it_is_what_build_writes(built, cells, tmp_path):
    with zipfile.ZipFile(built) as archive:
        archive.extractall(tmp_path / "zip")
    written = read_manifest(tmp_path / "zip")
    assert written.format == FORMAT
    for network in written.networks:
        assert digest(tmp_path / "zip" / network.weights.file) == network.weights.sha256
    images = cells.images[:8]
    probabilities = Model(tmp_path / "zip").probabilities(images)
    assert np.allclose(probabilities, Model(champion.FOLDER).probabilities(images), atol=1e-6)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(set(probabilities.argmax(axis=1))) > 1  # the weights are those of the manifest


def test_a_run_that_is_not_complete_is_not_passed_over(tmp_path):
    shutil.copytree(OLD / "runs" / "run", tmp_path / "runs" / "run")
    (tmp_path / "runs" / "run" / "training.json").unlink()
    assert_one_sentence(in_process("build", cwd=tmp_path), "there is no complete run in runs")


def test_it_is_refused_for_another_competition(tmp_path):
    (tmp_path / "competition.toml").write_text(
        'name = "Digits"\n[images]\nheight = 8\nwidth = 8\nchannels = 1\n[classes]\ncount = 10\n'
    )
    result = in_process("build", cwd=tmp_path)
    assert_one_sentence(result, "is not for Digits")
    assert not (tmp_path / "submission.zip").exists()


def test_options_of_runs_are_refused(tmp_path):
    result = in_process("build", "--weights", "float32", cwd=tmp_path)
    assert result.returncode == 2
    assert "--weights and --data need --run DIR or --model FILE." in result.stderr
