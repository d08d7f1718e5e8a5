"""The bars that a terminal shows while a command runs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from tools.output import duration

BAR_WIDTH = 30  # characters
DRAW_SECONDS = 0.2  # between two drawings


class TimeLeft(ProgressColumn):
    """How long a stage will go on, where that is known: without it, nothing that looks like it."""

    def render(self, task: Task) -> Text:
        if task.finished or task.time_remaining is None:
            return Text("")
        return Text(f"about {duration(task.time_remaining)} left")


@contextmanager
def show_bars() -> Iterator[Progress]:
    """Shows bars on stderr while the block runs: the stage, how long it has gone on, how long it
    will, and a note."""
    bars = Progress(
        TextColumn("{task.description:<10}"),
        BarColumn(BAR_WIDTH),
        TimeElapsedColumn(),
        TimeLeft(),
        # A note may be a stranger's name of a file: words in brackets are no markup.
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        auto_refresh=False,
    )
    ended = threading.Event()
    drawer = threading.Thread(target=_redraw, args=(bars, ended), daemon=True)
    with bars:
        drawer.start()
        try:
            yield bars
        finally:
            ended.set()
            drawer.join()


def _redraw(bars: Progress, ended: threading.Event) -> None:
    """Draws `bars` again and again until `ended` is set.

    As rich's own thread does, which ends with a traceback when a drawing fails. One does: rich
    imports modules while it draws, and etils, which comes with keras-cv, replaces `__import__` in
    all threads while it is loaded, by one that refuses such imports.
    """
    while not ended.wait(DRAW_SECONDS):
        try:
            bars.refresh()
        except Exception:  # whatever a replaced import makes of a drawing: the next one follows
            continue
