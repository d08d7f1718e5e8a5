"""HDF5 files of others: read in a limited process first, because the library can crash or loop for
ever in one that is damaged."""

from pathlib import Path

import h5py

from toolkit.core import hdf5_child, trial_reading
from toolkit.core.errors import InputError

MEMORY = 500_000_000  # bytes


def require_readable(path: Path, hint: str, name: str | None = None) -> None:
    """Raises InputError unless all groups, attributes and values of the HDF5 file at `path` can be
    read, and are in that file. hint: the way out. name: what to call the file, `path` by default.
    """
    name = name or str(path)
    if not h5py.is_hdf5(path):
        raise InputError(f"{name} is no HDF5 file.", hint)
    trial_reading.require_readable(Path(hdf5_child.__file__), path, MEMORY, hint, name)
