"""HDF5 files of others: read in a limited process first, because the library can crash or loop for
ever in one that is damaged."""

import math
import sys
import tempfile
from pathlib import Path

import h5py

from toolkit.core import documents, hdf5_child, processes
from toolkit.core.damage import abridge
from toolkit.core.errors import InputError
from toolkit.core.processes import Limits

WORK_SECONDS = 5  # of processor time, and more for each byte
SECONDS = (
    10.0  # by the clock, as starting alone takes seconds on a busy machine; more for each byte
)
BYTES_PER_SECOND = 50_000_000  # a disk reads and a machine unpacks at least as fast
MEMORY = 500_000_000  # bytes
OUTPUT = 10_000  # bytes


def require_readable(path: Path, hint: str, name: str | None = None) -> None:
    """Raises InputError unless all groups, attributes and values of the HDF5 file at `path` can be
    read, and are in that file. hint: the way out. name: what to call the file, `path` by default.
    """
    name = name or str(path)
    if not h5py.is_hdf5(path):
        raise InputError(f"{name} is no HDF5 file.", hint)
    with tempfile.TemporaryDirectory(prefix="cbtool-") as folder:
        found, errors = Path(folder) / "found", Path(folder) / "errors"
        more = path.stat().st_size / BYTES_PER_SECOND
        work = str(WORK_SECONDS + math.ceil(more))
        end = processes.run_limited(
            [sys.executable, "-I", "-B", hdf5_child.__file__, path.resolve(), work],
            found,
            errors,
            Limits(SECONDS + more, OUTPUT, MEMORY),
            folder=Path(folder),
        )
        if end.code != 0:
            raise InputError(
                f"{name} is damaged: reading it crashed, or took too much time or memory.", hint
            )
        fault = documents.parse_json(found.read_bytes())
    if fault is not None:
        raise InputError(f"{name} is damaged: {abridge(str(fault))}.", hint)
