"""The zip: its bytes, its layout, and the submission's own interface."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
from conftest import ROOT, assert_one_sentence, cbtool

from submission.model import SLICE, Model
from toolkit import runs


def test_the_same_run_gives_the_same_bytes(evaluated, submission_zip, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(evaluated, copy)
    shutil.rmtree(copy / "package")
    again = tmp_path / "again.zip"
    result = cbtool("build", "--run", copy, "--out", again)
    assert result.returncode == 0, result.stderr
    assert again.read_bytes() == submission_zip.read_bytes()
    assert hashlib.sha256(again.read_bytes()).hexdigest() in result.stdout


def test_files_lie_flat_and_stored(submission_zip):
    with zipfile.ZipFile(submission_zip) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        assert set(entries) == {"manifest.json", "model.py", "weights.h5"}
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
        assert archive.read("model.py") == (ROOT / "submission" / "model.py").read_bytes()
        manifest = json.loads(archive.read("manifest.json"))
        assert manifest["weights"]["sha256"] == hashlib.sha256(archive.read("weights.h5")).hexdigest()


@pytest.fixture(scope="module")
def model(evaluated):
    return Model(runs.Run(evaluated).package)


def test_predict_takes_any_number_and_type(model, cells):
    whole = model.predict(cells.images[:150])
    assert whole.dtype == np.int64 and whole.shape == (150,)
    assert 150 > 2 * SLICE
    assert np.array_equal(model.predict(cells.images[:150].astype(np.float32)), whole)
    assert np.array_equal(model.predict(cells.images[:150].astype(np.float64)), whole)
    assert np.array_equal(model.predict(cells.images[:300:2][:75]), whole[::2])
    assert model.predict(cells.images[:0]).shape == (0,)


def test_predict_names_the_shape_it_expects(model, cells):
    for wrong in (cells.images[0], cells.images[:2, :64], cells.images[:2, ..., 0]):
        with pytest.raises(ValueError, match=r"expected \(n, 96, 96, 3\)"):
            model.predict(wrong)


def test_a_full_disk_and_a_limit_on_file_sizes_leave_nothing(evaluated, tmp_path):
    """`ulimit -f` makes the kernel refuse the write half-way, as a full disk does."""
    import subprocess
    import sys

    command = (
        f"ulimit -f 200; exec {sys.executable} -m tools build --run {evaluated} --out {tmp_path}/out/submission.zip"
    )
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert_one_sentence(result, "submission.zip")
    assert list((tmp_path / "out").iterdir()) == []


def test_unwritable_places_are_errors(evaluated, tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_sentence(cbtool("build", "--run", evaluated, "--out", tmp_path / "file" / "x.zip"), "cannot write")
    assert_one_sentence(cbtool("build", "--run", evaluated, "--out", tmp_path), "is a folder")
    assert_one_sentence(cbtool("build", "--run", evaluated, "--out", "/proc/none/x.zip"), "cannot write")
