"""npz files that are damaged, or announce more than they hold."""

import io
import resource
import struct
import sys
import zipfile

import numpy as np
import pytest

from tests.support.readers import make_npz, make_zip
from toolkit.core.arrays import open_arrays, read_arrays
from toolkit.core.errors import InputError


def write(path, content):
    path.write_bytes(content)
    return path


def make_member(header: str, data: bytes = b"") -> bytes:
    """An npy file whose header is `header`."""
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def test_arrays_come_back_and_unknown_members_are_left(tmp_path):
    content = make_npz(images=np.arange(6).reshape(2, 3), labels=np.array([1]))
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("read me", "no array")
    arrays = read_arrays(write(tmp_path / "a.npz", file.getvalue()))
    assert set(arrays) == {"images", "labels"} and arrays["images"].tolist() == [
        [0, 1, 2],
        [3, 4, 5],
    ]


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (make_member("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}"), "readable"),
        (
            make_member(
                "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000000)}"
            ),
            "is not the shape",
        ),
        (make_member("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "not the shape"),
        (
            make_member("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", b"x" * 8),
            "pickled",
        ),
        (make_member("[" * 100), "not a readable array"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "format 9.0 is not known"),
        (b"no array at all", "not a readable array"),
        (b"", "not a readable array"),
    ],
)
def test_headers_that_announce_nonsense_are_one_sentence(member, words, tmp_path):
    path = write(tmp_path / "a.npz", make_zip({"images.npy": member}))
    with pytest.raises(InputError, match=words):
        read_arrays(path)


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    """A kilobyte for each megabyte of zeros."""
    content = make_zip({"images.npy": bytes(300_000_000)})
    assert len(content) < 400_000
    path = write(tmp_path / "bomb.npz", content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="announces 300 MB, more than 20 times as much"):
        read_arrays(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50_000 * (1000 if sys.platform == "darwin" else 1)


def test_a_sentence_lists_some_of_many_long_names(tmp_path):
    names = {f"{'x' * 5000}{number}.npy": b"" for number in range(100)}
    path = write(tmp_path / "a.npz", make_zip(names))
    with open_arrays(path) as arrays, pytest.raises(InputError, match="and 80 more") as caught:
        arrays.read("images")
    assert len(caught.value.sentence) < 5000
