"""Whether a stranger's code can be kept from this machine, and what to say where it cannot."""

from dataclasses import dataclass
from typing import Literal

from toolkit.core.errors import InputError
from toolkit.core.processes import Limits
from toolkit.runtime import bubblewrap

EngineName = Literal["docker", "podman", "bubblewrap", "processes"]
NOT_ISOLATED = "not isolated: run only zips you trust"
INSTALL_HINT = "On Linux, install bubblewrap: sudo apt install bubblewrap."
# Bytes that a program and all it starts may hold. Predicting with the largest network here takes
# less than half of it.
MEMORY_LIMIT = 8_000_000_000
PROCESSES_LIMIT = 256
DISK_LIMIT = bubblewrap.DISK


@dataclass(frozen=True)
class Isolation:
    """How a program is run. engine: "processes" where it is not isolated. reason: why it is
    not."""

    engine: EngineName
    reason: str = ""

    @property
    def isolated(self) -> bool:
        return self.engine != "processes"

    @property
    def statement(self) -> str:
        """What to tell a person about it."""
        if self.isolated:
            return f"isolated by {self.engine}: no network, none of your files"
        return f"{NOT_ISOLATED} ({self.reason})"

    @property
    def values(self) -> dict[str, str | bool]:
        """The same for a script, ready for JSON."""
        return {
            "isolated": self.isolated,
            "engine": self.engine,
            "statement": self.statement,
        }


def choose_isolation(wanted: EngineName | None = None) -> Isolation:
    """The engine `wanted`, by default bubblewrap where it works. Raises InputError where bubblewrap
    is wanted and does not."""
    if wanted == "processes":
        return Isolation("processes", "as you asked for")
    reason = bubblewrap.find_reason()
    if reason is None:
        return Isolation("bubblewrap")
    if wanted == "bubblewrap":
        raise InputError(f"cannot isolate: {reason}.", INSTALL_HINT)
    return Isolation("processes", reason)


def make_limits(seconds: float, output: int, memory: int = MEMORY_LIMIT) -> Limits:
    """The limits of a stranger's program. seconds: of time. output: bytes that it prints."""
    return Limits(seconds, output, memory, PROCESSES_LIMIT, DISK_LIMIT)
