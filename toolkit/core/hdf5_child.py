"""Runs in a process of its own: reads all that an HDF5 file holds, and says what is wrong with it.

The HDF5 library can crash, or never come back, in a file that is made for that. Standard library
and h5py only. Usage: python -I hdf5_child.py FILE SECONDS, of processor time at most; prints a JSON
text: null for a file that can be read, or else the reason.
"""

import json
import resource
import sys
from typing import Any

import h5py

OBJECTS_LIMIT = 100_000  # groups and datasets; the largest network here has 3,000
REASON_LENGTH = 200  # characters of an error that are passed on
SLAB = 16_000_000  # bytes of a dataset that are read at once


def find_fault(path: str) -> str | None:
    """Why the file at `path` cannot be read, or None."""
    try:
        with h5py.File(path, "r") as file:
            return find_fault_in(file)
    # Whatever a damaged file makes the library raise.
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def find_fault_in(file: Any) -> str | None:
    # A list of places to look at, not a recursion: groups may be nested without end, and hold each
    # other.
    waiting, seen = [file], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > OBJECTS_LIMIT:
            return f"it has more than {OBJECTS_LIMIT:,} groups and datasets"
        list(value.attrs.values())
        if isinstance(value, h5py.Group):
            for name in value:
                # Another link would make the library open another file of this machine.
                if not isinstance(value.get(name, getlink=True), h5py.HardLink):
                    return f"{name} is a link"
                waiting.append(value[name])
        elif value.is_virtual or value.external:
            return f"the values of {value.name} are in another file"
        else:
            read_all(value)
    return None


def read_all(dataset: Any) -> None:
    """Reads all of `dataset`, in pieces, so that what it announces takes no memory."""
    if dataset.shape is None or dataset.size == 0:
        return
    if dataset.ndim == 0:
        dataset[()]
        return
    rows = max(SLAB * len(dataset) // max(dataset.nbytes, 1), 1)
    for start in range(0, len(dataset), rows):
        dataset[start : start + rows]


def main() -> None:
    seconds = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    fault = find_fault(sys.argv[1])
    json.dump(fault and fault[:REASON_LENGTH], sys.stdout)


if __name__ == "__main__":
    main()
