"""Files of others that are read in a limited process first, because their library can crash, loop
for ever, or take any memory in one that is made for that."""

import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolkit.core import documents, processes
from toolkit.core.damage import abridge
from toolkit.core.errors import InputError
from toolkit.core.processes import Limits

WORK_SECONDS = 5  # of processor time, and more for each byte
# By the clock, as starting alone takes seconds on a busy machine; more for each byte.
SECONDS = 10.0
BYTES_PER_SECOND = 50_000_000  # a disk reads and a machine unpacks at least as fast
OUTPUT = 10_000  # bytes


def require_readable(
    script: Path, path: Path, memory: int, hint: str, name: str, words: Sequence[str] = ()
) -> None:
    """Raises InputError unless `script`, run in a process of its own, can read the file at `path`.

    script: gets the path, the seconds of processor time that it may take, and `words`; prints a
    JSON text, the fault of the file or null. memory: bytes that it may take. hint: the way out.
    name: what to call the file.
    """
    with tempfile.TemporaryDirectory(prefix="cbtool-") as folder:
        found, errors = Path(folder) / "found", Path(folder) / "errors"
        more = path.stat().st_size / BYTES_PER_SECOND
        work = str(WORK_SECONDS + math.ceil(more))
        end = processes.run_limited(
            [sys.executable, "-I", "-B", script, path.resolve(), work, *words],
            found,
            errors,
            Limits(SECONDS + more, OUTPUT, memory),
            folder=Path(folder),
        )
        if end.code != 0:
            raise InputError(
                f"{name} is damaged: reading it crashed, or took too much time or memory.", hint
            )
        fault = documents.parse_json(found.read_bytes())
    if fault is not None:
        # A library's reason may be of several lines.
        reason = " ".join(str(fault).split()).rstrip(".")
        raise InputError(f"{name} is damaged: {abridge(reason)}.", hint)
