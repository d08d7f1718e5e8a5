"""npz files: what they announce is checked before memory is taken for it."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from toolkit.core.archives import AGAIN, Archive, require_plausible
from toolkit.core.damage import abridge, guard, list_names, require_file
from toolkit.core.errors import InputError

BEGINNING = b"PK\x03\x04"  # of a zip's first file


@dataclass(frozen=True)
class Arrays:
    """The arrays of an open npz file, which are read one by one."""

    path: Path
    hint: str
    archive: Archive
    entries: dict[str, zipfile.ZipInfo]

    def require(self, name: str) -> None:
        """Raises InputError when there is no array `name`."""
        if name not in self.entries:
            raise InputError(
                f"{self.path} has no array '{abridge(name)}'; it contains: "
                f"{list_names(self.entries)}.",
                self.hint,
            )

    def read(self, name: str) -> np.ndarray:
        """The array `name`. Raises InputError when there is none, or it is damaged."""
        self.require(name)
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
        archive = Archive(path)
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


def _read_array(path: Path, archive: Archive, entry: zipfile.ZipInfo, hint: str) -> np.ndarray:
    name = abridge(entry.filename.removesuffix(".npy"))
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
