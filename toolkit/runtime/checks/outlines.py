"""What the saved models and weights in a zip are, found out in a limited process."""

import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from toolkit.core import processes, records
from toolkit.core.errors import InputError
from toolkit.core.processes import Limits
from toolkit.runtime import bubblewrap
from toolkit.runtime.bubblewrap import Mounts
from toolkit.runtime.checks import outline_child
from toolkit.runtime.interpreters import find_interpreter

SECONDS = 10.0  # for all files of a zip, of the clock; the process itself limits its work to 5
MEMORY = 500_000_000  # bytes
OUTPUT = 10_000_000  # bytes
ENDINGS = outline_child.ENDINGS


@records.strict
@dataclass(frozen=True)
class Outline:
    """fault: why the file cannot be read, None where it can. keras_version: that saved it as a
    whole model, None for weights alone. custom: its layers that are not Keras' own."""

    fault: str | None
    keras_version: str | None
    custom: tuple[str, ...]


def read_outlines(path: Path, names: frozenset[str]) -> dict[str, Outline]:
    """The outline of each HDF5 and .keras file among `names`, those in the zip at `path`.

    All have a fault where the process that reads them crashes or takes too long.
    """
    wanted = sorted(name for name in names if name.endswith(ENDINGS))
    if not wanted:
        return {}
    # Two checks ask, one after the other.
    return dict(zip(wanted, _read(path.resolve(), path.stat().st_mtime_ns, tuple(wanted))))


@lru_cache(maxsize=1)
def _read(path: Path, modified: int, names: tuple[str, ...]) -> tuple[Outline, ...]:
    interpreter = find_interpreter(sys.executable)
    with tempfile.TemporaryDirectory(prefix="cbtool-") as root_name:
        root = Path(root_name)
        script = Path(outline_child.__file__)
        command = [interpreter.executable, "-I", "-B", str(script), str(path)]
        if bubblewrap.find_reason() is None:
            shown = {"/app/child.py": script, "/app/submission.zip": path}
            command[3:] = list(shown)
            mounts = Mounts(readable=shown)
            command = bubblewrap.build_command(command, interpreter, mounts, "/", root)
        found, errors = root / "found", root / "errors"
        limits = Limits(SECONDS, OUTPUT, MEMORY)
        end = processes.run_limited(command, found, errors, limits, folder=root)
        try:
            if end.code != 0:
                raise InputError("it took too long, or crashed", "")
            outlines = records.parse(dict[str, Outline], found.read_bytes())
        except (InputError, ValueError):
            outlines = {}
    unread = Outline("reading it crashed or took too long", None, ())
    return tuple(outlines.get(name, unread) for name in names)
