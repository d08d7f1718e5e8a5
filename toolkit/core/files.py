"""Writing files so that an unfinished file never has the final name."""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from toolkit.core.errors import InputError

NAME_LENGTH = 60  # characters of a text that become part of a file's name
NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")
STRAY = re.compile(r"\.(?P<process>\d+)\.")  # how the names of temporary files begin


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which becomes `path` when the block ends without an
    error.

    On any error, Ctrl-C included, the temporary file is removed and an older file at `path` is
    untouched. Raises InputError when the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(
        f".{os.getpid()}.{path.name}"
    )  # whole name last: some writers look at the ending
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `path`, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_strays(folder: Path) -> None:
    """Removes from `folder` the temporary files of processes that were killed while they wrote."""
    for path in folder.glob(".*"):
        found = STRAY.match(path.name)
        if found and path.is_file() and not _is_alive(int(found["process"])):
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def remove_special_files(folder: Path) -> list[str]:
    """Removes links, pipes, sockets and devices below `folder`, and returns their names.

    Programs of strangers write there, and whoever reads what they left must not be led to another
    file of this machine, or wait for a pipe.
    """
    removed = []
    for place, names, files in os.walk(folder, followlinks=False):
        for name in (*names, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                path.unlink()
                removed.append(str(path.relative_to(folder)))
    return removed


def write_error(path: Path, error: OSError) -> InputError:
    """The sentence for a failed write to `path`."""
    if error.errno == errno.ENOSPC or "No space left" in str(error):
        return InputError(
            f"the disk is full: {path} was not written.",
            "Free some space, or choose another folder.",
        )
    if isinstance(error, IsADirectoryError):
        return InputError(f"{path} is a folder, not a file.", "Give the name of a file.")
    if isinstance(error, (PermissionError, NotADirectoryError, FileExistsError)):
        return InputError(
            f"cannot write in {path.parent}: {error.strerror}.",
            "Choose a folder with write permission.",
        )
    return InputError(
        f"cannot write {path}: {error.strerror or error}.", "Check the disk and the path."
    )


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The hexadecimal digest of the file at `path`, in flat memory."""
    with path.open("rb") as file:
        return digest_of(file, algorithm)


def digest_of(file: IO[bytes], algorithm: str = "sha256") -> str:
    """The hexadecimal digest of what `file`, open for reading, still holds, in flat memory."""
    value = hashlib.new(algorithm, usedforsecurity=False)
    while block := file.read(1 << 20):
        value.update(block)
    return value.hexdigest()


def file_name(text: str) -> str:
    """`text`, which a stranger may have written, as a part of a file's name: it leads nowhere."""
    return re.sub(r"[^\w-]+", "-", text)[:NAME_LENGTH]


def format_count(number: int, noun: str) -> str:
    """`number` of what `noun` names, in the singular for one: "1 file", "1,200 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def is_numeric(value: Any) -> bool:
    """Whether a cell of a table is a number, or the text of one, such as "+0.25" or "1,800"."""
    return isinstance(value, (int, float)) or NUMBER.fullmatch(str(value)) is not None


def format_bytes(size: int) -> str:
    """`size` as a person reads it, in decimal units: "12 bytes", "3.4 MB", "1.25 GB"."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        # What three digits would round to a thousand of the smaller unit is one of this.
        if size >= 0.9995 * factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
