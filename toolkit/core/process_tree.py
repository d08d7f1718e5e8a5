"""The processes that a process started, and what they hold of memory: read from /proc, which only
Linux has."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
# A machine that has less than this share of its memory left is about to kill some process.
LEAST_SHARE_LEFT = 0.02


@dataclass(frozen=True)
class ProcessIdentity:
    """A process. started: clock ticks since the machine's start, which tell it from a later process
    with the same number."""

    number: int
    started: int


def find_processes(process: int, limit: int) -> list[ProcessIdentity]:
    """`process` and all processes below it, `limit` + 1 at most; empty without /proc, or where it
    has ended."""
    found: list[ProcessIdentity] = []
    waiting = [process]
    while waiting and len(found) <= limit:
        number = waiting.pop()
        identity = _identify(number)
        if identity is not None:
            found.append(identity)
            waiting += _find_children(number)
    return found


def is_alive(process: ProcessIdentity) -> bool:
    """Whether `process` runs; a dead one that nobody has waited for does not."""
    return _identify(process.number) == process


def measure_resident_bytes(processes: Iterable[ProcessIdentity]) -> int:
    """Bytes of memory that `processes` hold now; what two of them share counts twice."""
    pages = 0
    for process in processes:
        with suppress(OSError):
            pages += int((PROC / str(process.number) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure_proportional_bytes(processes: Iterable[ProcessIdentity]) -> int:
    """The same, where each of n processes that share memory counts an nth of it; the system counts
    page by page, which takes longer. What it does not tell counts as resident."""
    total = 0
    for process in processes:
        try:
            text = (PROC / str(process.number) / "smaps_rollup").read_text()
        except OSError:
            total += measure_resident_bytes([process])
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def measure_peak_bytes(processes: Iterable[ProcessIdentity]) -> int:
    """The most bytes that each of `processes` has held, summed; 0 without /proc."""
    kilobytes = 0
    for process in processes:
        with suppress(OSError):
            for line in (PROC / str(process.number) / "status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    kilobytes += int(line.split()[1])
    return kilobytes * 1024


def is_memory_exhausted() -> bool:
    """Whether this machine has less than LEAST_SHARE_LEFT of its memory left. This also sees what
    belongs to no process, such as files in memory."""
    known = measure_machine_memory()
    if known is None:
        return False
    total, free = known
    return free < LEAST_SHARE_LEFT * total


def measure_machine_memory() -> tuple[int, int] | None:
    """All bytes of this machine's memory, and those that are free; None where there is no Linux to
    say so."""
    values = {}
    with suppress(OSError):
        for line in (PROC / "meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                values[name] = int(value.split()[0]) * 1024
    if len(values) < 2:
        return None
    return values["MemTotal"], values["MemAvailable"]


def _identify(number: int) -> ProcessIdentity | None:
    try:
        text = (PROC / str(number) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The name, in parentheses, may hold spaces and parentheses itself. The fields behind it begin
    # with the third of the file; the start is the 22nd.
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        return None
    return ProcessIdentity(number, int(fields[19]))


def _find_children(number: int) -> Iterator[int]:
    """The children of `number`: each of its threads may have some."""
    with suppress(OSError):
        for thread in (PROC / str(number) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (thread / "children").read_text().split())
