"""What is no file, and whatever a parser raises."""

import os
import struct
import zlib

import pytest

from toolkit.core import damage
from toolkit.core.errors import InputError


@pytest.mark.parametrize(
    "error",
    [
        zlib.error("Error -3"),
        RuntimeError("encrypted"),
        NotImplementedError(),
        RecursionError("too deep"),
        EOFError(),
        MemoryError(),
        struct.error("unpack"),
        AttributeError("x\ny"),
        KeyError("k"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ],
)
def test_whatever_a_parser_raises_is_one_sentence(error):
    with pytest.raises(InputError) as caught, damage.guard("x.npz", "Write it again."):
        raise error
    assert caught.value.sentence.startswith("x.npz is damaged: ")
    assert "\n" not in caught.value.sentence and caught.value.hint == "Write it again."


def test_an_interruption_and_our_own_errors_pass():
    with pytest.raises(KeyboardInterrupt), damage.guard("x", ""):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="ours"), damage.guard("x", ""):
        raise InputError("ours", "")


def test_pipes_folders_and_large_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    with pytest.raises(InputError, match="a device or a pipe"):
        damage.read_bytes(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a folder"):
        damage.read_bytes(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        damage.read_bytes(tmp_path / "none")
    with pytest.raises(InputError, match="null character"):
        damage.read_bytes(tmp_path / "a\0b")
    (tmp_path / "large").write_bytes(bytes(1001))
    with pytest.raises(InputError, match="is too large"):
        damage.read_bytes(tmp_path / "large", 1000)
