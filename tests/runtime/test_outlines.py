"""Saved models in a zip are read in a process of their own: what hangs or crashes the HDF5 library
there does not hang or crash the toolkit. Processes, because they are the subject."""

import pytest

from tests.support.readers import make_hdf5, make_keras, make_zip
from toolkit.runtime.checks import contents, outline_child, outlines, read_subject


@pytest.fixture
def path(tmp_path):
    files = {"a.h5": make_hdf5(), "b.keras": make_keras(), "c.h5": b"no HDF5", "model.py": b"x"}
    path = tmp_path / "s.zip"
    path.write_bytes(make_zip(files))
    return path


def test_what_the_files_are(path):
    found = outlines.read_outlines(path, frozenset({"a.h5", "b.keras", "c.h5", "model.py"}))
    assert list(found) == ["a.h5", "b.keras", "c.h5"]
    assert found["a.h5"] == outlines.Outline(None, "3.4.1", ())
    assert found["b.keras"].custom == ("Lambda",) and found["b.keras"].keras_version == "3.4.1"
    assert found["c.h5"].fault.startswith("OSError")
    assert outlines.read_outlines(path, frozenset({"model.py"})) == {}


@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",  # the library loops in some files
        "import os; os.abort()",
        "print('{\"a.h5\": 3}')",
        "print('x' * 20_000_000)",
    ],
)
def test_a_hang_and_a_crash_are_faults(code, path, tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(code)
    monkeypatch.setattr(outline_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(outlines, "SECONDS", 1.0)
    outlines._read.cache_clear()
    check = contents.check_weights(read_subject(path))
    assert check.status == "failed" and "crashed or took too long" in check.detail
    outlines._read.cache_clear()
