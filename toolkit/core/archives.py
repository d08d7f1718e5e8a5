"""Zips: what they announce is checked before anything is read.

A zip of a few kilobytes can announce terabytes, and unpack to them.
"""

import io
import os
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from toolkit.core.damage import abridge, guard, require_file
from toolkit.core.errors import InputError
from toolkit.core.files import format_bytes

ENTRIES_LIMIT = 20_000  # files in a zip, or arrays in an npz
# Bytes of a zip's table of files; an entry has 46, its name and a little more.
DIRECTORY_LIMIT = 5_000_000
DEPTH_LIMIT = 30  # folders within each other
# Bytes that a zip may unpack to; the largest network here has 1.4 GB.
UNPACKED_LIMIT = 8_000_000_000
# How many times larger than the file an npz may be: compressed photographs take half of their
# memory, and even drawings a tenth. Small files may be anything.
EXPANSION_LIMIT = 20
SMALL = 200_000_000  # bytes
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
AGAIN = "Download or write it again."
BUILD_HINT = "Build one with: cbtool build --run DIR --out submission.zip."
MODEL_HINT = (
    "A submission is a zip with model.py at its root and the weights beside it; cbtool build --run "
    "DIR makes one of a network that cbtool trained."
)


class Archive(zipfile.ZipFile):
    """The zip at `path`, for reading. Raises InputError when it holds more than ENTRIES_LIMIT
    files, and what zipfile raises when it is damaged."""

    _content: "_Content | None" = None

    def __init__(self, path: Path):
        self._content = _Content(path)
        try:
            super().__init__(self._content)
        except BaseException:
            self._content.close()
            raise
        self._content.is_open = True
        count = len(self.filelist)
        if count > ENTRIES_LIMIT:
            self.close()
            raise InputError(
                f"{path} holds {count:,} files; the limit is {ENTRIES_LIMIT:,}.",
                "Leave out the files that are not needed.",
            )

    def close(self) -> None:
        super().close()
        if self._content is not None:
            self._content.close()


class _Content(io.BufferedReader):
    """The bytes of a zip. While it is being opened, no more than DIRECTORY_LIMIT of them are read
    at once: zipfile reads the table of files as a whole, and makes a kilobyte of each entry."""

    def __init__(self, path: Path):
        super().__init__(io.FileIO(path))
        self.path = path
        self.is_open = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.is_open and size is not None and size > DIRECTORY_LIMIT:
            raise InputError(
                f"{self.path} has a table of files of {format_bytes(size)}; the limit is "
                f"{format_bytes(DIRECTORY_LIMIT)}.",
                f"Leave out the files that are not needed: {ENTRIES_LIMIT:,} at most.",
            )
        return super().read(size)


def open_zip(path: Path) -> Archive:
    """The zip at `path`, a submission or a bundle. Raises InputError for anything else, and says
    what it is where that can be seen."""
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not a zip.",
            f"Zip its files, without the folder: cd {path} && zip -r ../submission.zip .",
        )
    if not os.path.lexists(path):
        raise InputError(f"there is no file {path}.", BUILD_HINT)
    require_file(path)
    if not zipfile.is_zipfile(path):
        if _begins_with(path, HDF5_SIGNATURE):
            raise InputError(f"{path} is an HDF5 file, not a zip.", MODEL_HINT)
        raise InputError(f"{path} is not a readable zip file.", BUILD_HINT)
    with guard(path, BUILD_HINT):
        archive = Archive(path)
    # Two kinds of files are zips inside.
    names = set(archive.namelist())
    if names and all(name.endswith(".npy") for name in names):
        archive.close()
        raise InputError(
            f"{path} is an npz file of arrays, not a submission.",
            "Name the zip first, and give images with --data: cbtool score ZIP --data FILE.",
        )
    if {"metadata.json", "config.json"} <= names and "model.py" not in names:
        archive.close()
        raise InputError(f"{path} is a saved Keras model, not a submission.", MODEL_HINT)
    return archive


def require_plausible(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises InputError when the zip at `path` announces many times its own size."""
    size = os.stat(path).st_size
    announced = sum(entry.file_size for entry in archive.infolist())
    if announced > max(SMALL, EXPANSION_LIMIT * size):
        raise InputError(
            f"{path} has {format_bytes(size)} and announces {format_bytes(announced)}, more than "
            f"{EXPANSION_LIMIT} times as much.",
            "Save it uncompressed, with np.savez, if these are really images.",
        )


def measure_unpacked(path: Path, archive: zipfile.ZipFile) -> int:
    """Bytes of all files in the zip at `path`, as it announces them. Raises InputError beyond
    UNPACKED_LIMIT."""
    size = sum(entry.file_size for entry in archive.infolist())
    if size > UNPACKED_LIMIT:
        raise InputError(
            f"{path} unpacks to {format_bytes(size)}; the limit is {format_bytes(UNPACKED_LIMIT)}.",
            "Store the weights in float16, or leave out files that predict does not need.",
        )
    return size


def unpack(path: Path, folder: Path, hint: str = AGAIN) -> None:
    """Unpacks the zip at `path` into `folder`, as zipfile does: without modes, links as small
    files, and no name leads out of the folder.

    Raises InputError when the zip is damaged, encrypted, or larger than this module's limits.
    """
    with guard(path, hint), Archive(path) as archive:
        measure_unpacked(path, archive)
        require_flat(path, archive.namelist())
        archive.extractall(folder)


def require_flat(path: Path, names: Sequence[str]) -> None:
    """Raises InputError where one of `names` in the zip at `path` lies below more than DEPTH_LIMIT
    folders."""
    for name in names:
        if name.count("/") > DEPTH_LIMIT:
            raise InputError(
                f"{path} has folders nested more than {DEPTH_LIMIT} deep.",
                "Zip the files without their folders.",
            )


def read_entry(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The content of the file `name` in the zip at `path`. Raises InputError when it is damaged,
    encrypted, or larger than `limit` bytes; KeyError where there is none."""
    entry = archive.getinfo(name)
    if entry.file_size > limit:
        raise InputError(
            f"{abridge(name)} in {path} is too large: it has {format_bytes(entry.file_size)}, "
            f"the limit is {format_bytes(limit)}.",
            "Check that it is the file you mean.",
        )
    with guard(f"{abridge(name)} in {path}", AGAIN):
        return archive.read(entry)


def _begins_with(path: Path, signature: bytes) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(signature)) == signature
    return False
