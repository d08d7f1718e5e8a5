"""How long work tells what it does: a function of done, total and a note."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, note: str = "") -> None:
    """Tells nobody."""
