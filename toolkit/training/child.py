"""Work in a process of its own, which may run out of memory, and whose memory comes back when it
ends.

`ask` starts a module of this package with a request; the module's main function is `serve`.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from toolkit.core import documents, processes, records
from toolkit.core.damage import abridge
from toolkit.core.errors import CbtoolError, InputError
from toolkit.core.processes import Limits

SECONDS = 1800.0  # compiling a step of ConvNeXt-XLarge took 157 at most
OUTPUT = 10_000_000  # bytes that TensorFlow may print meanwhile
# What TensorFlow, XLA, C++ and Python print where memory runs out.
MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "ResourceExhaustedError", "bad_alloc", "MemoryError")
HINT = "This file is cbtool's own: run the command again."

Request = TypeVar("Request")


def ask(module: str, request: Any, what: str) -> Any | None:
    """What the function of `module` answers to `request`, a dataclass; None where memory ran out,
    or a signal ended it.

    what: the work, for the sentence where it fails. Raises InputError where it fails for another
    reason than memory.
    """
    with tempfile.TemporaryDirectory(prefix="cbtool-") as name:
        folder = Path(name)
        printed = folder / "printed"
        records.write(request, folder / "request.json")
        end = processes.run_limited(
            [sys.executable, "-m", module, folder],
            printed,
            None,
            Limits(SECONDS, OUTPUT, _measure_memory()),
            # Not where the user is: python -m would import modules of that folder first.
            folder=folder,
        )
        if end.exceeded == "memory":
            return None
        if end.code == 0:
            answer = documents.parse_json((folder / "answer.json").read_bytes())
            if answer["error"]:
                raise InputError(*answer["error"])
            return answer["value"]
        text = printed.read_text(errors="replace")
    # A library whose allocation fails can crash instead of raising an error: oneDNN does.
    crashed = end.code is not None and end.code < 0
    if crashed or any(words in text for words in MEMORY_WORDS):
        return None
    reason = "it took too long" if end.exceeded == "time" else "it printed nothing"
    *_, reason = [reason, *text.strip().splitlines()]
    raise InputError(f"{what} failed: {abridge(reason)}.", "cbtool doctor checks this machine.")


def serve(kind: type[Request], work: Callable[[Request], Any]) -> None:
    """Answers the request in the folder that the command line names, a `kind`, by what `work`
    gives for it."""
    folder = Path(sys.argv[1])
    value, fault = None, None
    try:
        value = work(records.read(kind, folder / "request.json", HINT))
    except CbtoolError as error:
        fault = (error.sentence, error.hint)
    records.write({"value": value, "error": fault}, folder / "answer.json", dict[str, Any])


def _measure_memory() -> int:
    """The bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
