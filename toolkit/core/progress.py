"""Progress reports of long work: a function of the steps done, their total, and a note."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, note: str = "") -> None:
    """Reports nothing."""
