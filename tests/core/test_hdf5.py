"""HDF5 files of others. Processes, because what hangs or crashes the library is the subject."""

import time

import h5py
import numpy as np
import pytest

from toolkit.core import hdf5, hdf5_child, trial_reading
from toolkit.core.errors import InputError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.arange(6.0).reshape(2, 3)
        file["scalar"] = 3.0
        file["nothing"] = h5py.Empty("f")
        file.attrs["keras_version"] = "3.4.1"
    return path


def change(path, what):
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["values"] = np.ones(3)
    with h5py.File(path, "a") as file:
        if what == "external link":
            file["elsewhere"] = h5py.ExternalLink("other.h5", "/values")
        elif what == "soft link":
            file["elsewhere"] = h5py.SoftLink("/scalar")
        elif what == "external values":
            size = other.stat().st_size
            file.create_dataset("elsewhere", (8,), "u1", external=[(str(other), 0, size)])
        elif what == "virtual values":
            layout = h5py.VirtualLayout((3,), "f8")
            layout[:] = h5py.VirtualSource(str(other), "values", (3,))
            file.create_virtual_dataset("elsewhere", layout)
        else:
            file["layers/dense/around"] = file["layers"]


def test_a_whole_file_can_be_read(path):
    hdf5.require_readable(path, "")


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("external link", "is a link"),
        ("soft link", "is a link"),
        ("external values", "are in another file"),
        ("virtual values", "are in another file"),
        ("groups in a circle", "more than 100 groups"),
    ],
)
def test_what_is_not_in_the_file_is_refused(what, reason, path, monkeypatch):
    """In this process: a library that only reads these is no danger."""
    monkeypatch.setattr(hdf5_child, "OBJECTS_LIMIT", 100)
    change(path, what)
    assert reason in hdf5_child.find_fault(str(path))


def test_values_that_are_announced_take_no_memory(path, monkeypatch):
    """A file of kilobytes with 800 GB of zeros."""
    with h5py.File(path, "a") as file:
        file.create_dataset("zeros", (100_000, 1_000_000), "f8", chunks=(1, 1_000_000))
    monkeypatch.setattr(trial_reading, "SECONDS", 1.0)
    with pytest.raises(InputError, match="took too much time or memory"):
        hdf5.require_readable(path, "")


@pytest.mark.parametrize("code", ["while True: pass", "import os; os.abort()"])
def test_a_hang_and_a_crash_are_one_sentence(code, path, tmp_path, monkeypatch):
    (tmp_path / "child.py").write_text(code)
    monkeypatch.setattr(hdf5_child, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(trial_reading, "SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(InputError, match="is damaged: reading it crashed"):
        hdf5.require_readable(path, "")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "is no HDF5 file"), (100, "is damaged: OSError"), (1500, "is damaged: OSError")],
)
def test_a_cut_file_is_one_sentence(size, words, path):
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=words):
        hdf5.require_readable(path, "")
