"""Whole or nothing."""

import os

import pytest

from toolkit.core.errors import InputError
from toolkit.core.files import (
    atomic,
    digest,
    format_bytes,
    format_count,
    remove_special_files,
    remove_strays,
    write_text,
)


def test_the_file_appears_only_when_the_block_ends(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_strays_of_killed_writers_are_removed(tmp_path):
    """The name says whose they are; files of processes that live stay, and so do all others."""
    dead = 2**22 + 1  # beyond the numbers that Linux gives
    for name in (f".{dead}.state.npz", f".{os.getpid()}.state.npz", ".hidden", "state.npz"):
        (tmp_path / name).touch()
    remove_strays(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f".{os.getpid()}.state.npz", ".hidden", "state.npz"}


def test_links_and_pipes_of_strangers_are_removed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "folder" / "link").symlink_to("/etc/hostname")
    (tmp_path / "to-folder").symlink_to("/etc")
    os.mkfifo(tmp_path / "pipe")
    assert sorted(remove_special_files(tmp_path)) == ["folder/link", "pipe", "to-folder"]
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "file"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_old_file(tmp_path, interruption):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(interruption), atomic(path) as temporary:
        temporary.write_text("ha")
        raise interruption
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.skipif(
    not os.path.exists("/dev/full"), reason="only Linux has a device that is always full"
)
def test_a_full_disk_is_one_sentence(tmp_path):
    with (
        pytest.raises(InputError, match=r"the disk is full: .*file\.txt was not written"),
        atomic(tmp_path / "file.txt"),
        open("/dev/full", "w") as device,
    ):
        device.write("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_digest_of_known_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest(tmp_path / "abc", "md5") == "900150983cd24fb0d6963f7d28e17f72"  # RFC 1321


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (5 * 2**30, "5.37 GB"),
        (999_999_999, "1 GB"),
        (1_500 * 10**9, "1.5 TB"),
    ],
)
def test_sizes_are_shown_in_the_unit_that_fits(size, words):
    assert format_bytes(size) == words


def test_one_is_singular():
    assert [format_count(number, "file") for number in (0, 1, 1200)] == [
        "0 files",
        "1 file",
        "1,200 files",
    ]
