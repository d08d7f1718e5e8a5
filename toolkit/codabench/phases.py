"""Phases by name, whether a server or a bundle lists them."""

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str: ...


Phase = TypeVar("Phase", bound=Named)


def find_phase(phases: Iterable[Phase], name: str) -> Phase | None:
    """The first of `phases` called `name`, in any case; None where there is none."""
    for phase in phases:
        if phase.name.lower() == name.lower():
            return phase
    return None
