"""Zips and npz files: what they announce is checked before anything is read.

A zip of a few kilobytes can announce terabytes, and unpack to them.
"""

import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from toolkit.core.damage import guard, require_file
from toolkit.core.errors import InputError
from toolkit.core.files import format_bytes

ENTRIES_LIMIT = 20_000  # files in a zip, or arrays in an npz
DEPTH_LIMIT = 30  # folders within each other
# Bytes that a zip may unpack to; the largest network here has 1.4 GB.
UNPACKED_LIMIT = 8_000_000_000
# How many times larger than the file an npz may be: compressed photographs take half of their
# memory, and even drawings a tenth. Small files may be anything.
EXPANSION_LIMIT = 20
SMALL = 200_000_000  # bytes
NAMED = 20  # names that an error lists
BEGINNING = b"PK\x03\x04"  # of a zip's first file
AGAIN = "Download or write it again."


@dataclass(frozen=True)
class Arrays:
    """The arrays of an open npz file, which are read one by one."""

    path: Path
    hint: str
    archive: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]

    def read(self, name: str) -> np.ndarray:
        """The array `name`. Raises InputError when there is none, or it is damaged."""
        if name not in self.entries:
            raise InputError(
                f"{self.path} has no array '{name}'; it contains: "
                f"{', '.join(sorted(self.entries)[:NAMED]) or 'nothing'}.",
                self.hint,
            )
        return _read_array(self.path, self.archive, self.entries[name], self.hint)


@contextmanager
def open_arrays(path: Path, hint: str = AGAIN) -> Iterator[Arrays]:
    """The npz file at `path`. Raises InputError for anything else, and for a file that announces
    more than it can plausibly hold. hint: the way out."""
    path = Path(path)
    require_file(path)
    with guard(path, hint):
        if not zipfile.is_zipfile(path):
            _refuse(path, hint)
        archive = zipfile.ZipFile(path)
    with archive:
        require_plausible(path, archive)
        entries = {}
        for entry in archive.infolist():
            if entry.filename.endswith(".npy"):
                entries[entry.filename.removesuffix(".npy")] = entry
        yield Arrays(path, hint, archive, entries)


def read_arrays(path: Path, hint: str = AGAIN) -> dict[str, np.ndarray]:
    """All arrays of the npz file at `path`, by name. Pickled objects are never unpickled. Raises
    InputError as `open_arrays` and `Arrays.read`."""
    with open_arrays(path, hint) as arrays:
        return {name: arrays.read(name) for name in arrays.entries}


def _refuse(path: Path, hint: str) -> NoReturn:
    with path.open("rb") as file:
        begun = file.read(len(BEGINNING)) == BEGINNING
    if begun:
        raise InputError(f"{path} is incomplete: its end is missing.", hint)
    raise InputError(f"{path} is not an npz file.", hint)


def require_plausible(path: Path, archive: zipfile.ZipFile) -> None:
    size = os.stat(path).st_size
    require_few_entries(path, archive)
    announced = sum(entry.file_size for entry in archive.infolist())
    if announced > max(SMALL, EXPANSION_LIMIT * size):
        raise InputError(
            f"{path} has {format_bytes(size)} and announces {format_bytes(announced)}, more than "
            f"{EXPANSION_LIMIT} times as much.",
            "Save it uncompressed, with np.savez, if these are really images.",
        )


def _read_array(
    path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, hint: str
) -> np.ndarray:
    name = entry.filename.removesuffix(".npy")
    with guard(f"'{name}' in {path}", hint, "is not a readable array"):
        with archive.open(entry) as file:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise ValueError(f"the format {version[0]}.{version[1]} is not known")
            shape, _, dtype = read_header(file)
            held = entry.file_size - file.tell()
        if dtype.hasobject:
            raise InputError(
                f"'{name}' in {path} contains pickled Python objects, which can run any code; "
                "cbtool never loads them.",
                "Save it as a plain numeric array.",
            )
        # Before memory is taken for what the header says.
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != held:
            raise ValueError(f"it has {held} bytes, which is not the shape {shape} of {dtype}")
        with archive.open(entry) as file:
            return np.lib.format.read_array(file, allow_pickle=False)


def require_few_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises InputError when the zip at `path` holds more than ENTRIES_LIMIT files."""
    count = len(archive.infolist())
    if count > ENTRIES_LIMIT:
        raise InputError(
            f"{path} holds {count:,} files; the limit is {ENTRIES_LIMIT:,}.",
            "Leave out the files that are not needed.",
        )


def measure_unpacked(path: Path, archive: zipfile.ZipFile) -> int:
    """Bytes of all files in the zip at `path`, as it announces them. Raises InputError beyond
    UNPACKED_LIMIT."""
    require_few_entries(path, archive)
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
    with guard(path, hint), zipfile.ZipFile(path) as archive:
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
            f"{name} in {path} is too large: it has {format_bytes(entry.file_size)}, the limit is "
            f"{format_bytes(limit)}.",
            "Check that it is the file you mean.",
        )
    with guard(f"{name} in {path}", AGAIN):
        return archive.read(entry)
