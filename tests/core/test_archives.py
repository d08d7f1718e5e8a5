"""Zips that are damaged, or announce more than they hold."""

import struct
import zipfile

import pytest

from tests.support.readers import make_zip
from toolkit.core import archives
from toolkit.core.arrays import read_arrays
from toolkit.core.errors import InputError


def write(path, content):
    path.write_bytes(content)
    return path


def test_encrypted_odd_and_deep_zips_are_one_sentence(tmp_path):
    plain = make_zip({"model.py": b"x" * 100}, zipfile.ZIP_STORED)
    encrypted = bytearray(plain)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[plain.index(signature) + place] |= 1
    odd = bytearray(plain)
    for signature, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        odd[plain.index(signature) + place] = 99
    for content, words in (
        (bytes(encrypted), "encrypted"),
        (bytes(odd), "compression"),
        (plain[: len(plain) // 2], "not a zip"),
        (make_zip({"a/" * 31 + "x": b"x"}), "nested more than 30 deep"),
    ):
        with pytest.raises(InputError, match=words):
            archives.unpack(write(tmp_path / "a.zip", content), tmp_path / "out")


def test_too_many_files_and_too_many_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ENTRIES_LIMIT", 3)
    monkeypatch.setattr(archives, "UNPACKED_LIMIT", 1000)
    path = write(tmp_path / "a.zip", make_zip({str(number): b"x" for number in range(4)}))
    with pytest.raises(InputError, match="holds 4 files; the limit is 3"):
        archives.unpack(path, tmp_path / "out")
    path = write(tmp_path / "b.zip", make_zip({"x": b"x" * 1001}))
    with pytest.raises(InputError, match=r"unpacks to 1 kB; the limit is 1 kB"):
        archives.unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_name_leads_out_of_the_folder(tmp_path):
    path = write(tmp_path / "a.zip", make_zip({"../evil": b"x", "/abs": b"y", "a/../../b": b"z"}))
    archives.unpack(path, tmp_path / "deep" / "out")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.zip", "deep"]
    assert sorted(item.name for item in (tmp_path / "deep").iterdir()) == ["out"]


def make_table(count: int) -> bytes:
    """A zip of nothing but a table of `count` files."""
    table = bytearray()
    for number in range(count):
        name = b"%07d" % number
        table += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, *[0] * 7, len(name), *[0] * 6)
        table += name
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0, 0, len(table), 0, 0)
    return bytes(table) + end


@pytest.mark.parametrize("read", [archives.open_zip, read_arrays])
def test_a_long_table_of_files_is_refused_before_it_is_read(read, tmp_path, monkeypatch):
    """Half a million names would take 250 MB, four million 2 GB."""
    made = []
    monkeypatch.setattr(zipfile, "ZipInfo", lambda *_: made.append(1))
    path = write(tmp_path / "a.zip", make_table(100_000))
    with pytest.raises(InputError, match=r"a table of files of 5\.3 MB; the limit is 5 MB"):
        read(path)
    assert not made


def test_a_table_below_the_limit_is_counted(tmp_path):
    path = write(tmp_path / "a.zip", make_table(20_001))
    with pytest.raises(InputError, match="holds 20,001 files; the limit is 20,000"):
        archives.open_zip(path)
    archives.open_zip(write(path, make_table(20_000))).close()


def test_an_archive_closes_its_file(tmp_path):
    path = write(tmp_path / "a.zip", make_zip({"model.py": b"x"}))
    archive = archives.open_zip(path)
    content = archive.fp
    archive.close()
    assert content.closed
