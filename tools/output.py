"""What a person or a script sees: data on stdout; progress, hints and errors on stderr."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from toolkit.core.errors import CbtoolError
from toolkit.core.progress import Progress

SILENT_SECONDS = 10.0  # between two plain progress lines where there is no terminal


def error(problem: CbtoolError) -> None:
    """Prints the sentence and the way out."""
    click.echo(f"Error: {problem.sentence}", err=True)
    if problem.hint:
        click.echo(f"Hint: {problem.hint}", err=True)


def hint(text: str) -> None:
    """Prints what to do next."""
    click.echo(text, err=True)


def as_json(values: dict) -> None:
    """Prints one JSON object."""
    click.echo(json.dumps(values, indent=2))


def table(columns: tuple[str, ...], rows: list[tuple], title: str = "") -> None:
    """Prints a table; columns after the first are right-aligned when they hold numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    drawn = Table(
        title=title or None,
        box=SIMPLE_HEAD,
        show_header=any(columns),
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for position, name in enumerate(columns):
        numeric = position > 0 and all(isinstance(row[position], (int, float)) for row in rows)
        drawn.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    # Without a terminal nothing is cut: a file or a pipe is as wide as its longest line.
    Console(width=None if sys.stdout.isatty() else 200).print(drawn)


def log(name: str, text: str) -> None:
    """Prints a log under its name; an empty one on one line."""
    if not text.strip():
        click.echo(f"-- {name}: empty")
        return
    click.echo(f"-- {name}:")
    click.echo(text.rstrip("\n"))


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


class Stages:
    """Shows one line or bar a stage of the road."""

    def __init__(self, bars=None):
        self.bars = bars

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Shows stage `name` while the block runs; the block gets a function to tell how far it
        is."""
        started = time.monotonic()
        if self.bars is None:
            click.echo(f"{name} ...", err=True)
            yield _lines(name)
            click.echo(f"{name}: done in {time.monotonic() - started:.1f} s", err=True)
            return
        task = self.bars.add_task(name, total=None, note="")
        yield lambda done, total, note="": self.bars.update(
            task, completed=done, total=total, note=note
        )
        self.bars.update(task, total=1, completed=1)
        self.bars.stop_task(task)


@contextmanager
def stages() -> Iterator[Stages]:
    """Bars on a terminal, plain lines elsewhere."""
    if not sys.stderr.isatty():
        yield Stages()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(30),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield Stages(bars)


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """A function that shows how something stands: a living line on a terminal, elsewhere a line
    whenever it changes."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("") as living:
            yield living.update
        return
    last = ""

    def tell(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            click.echo(text, err=True)

    yield tell


def _lines(name: str) -> Progress:
    last = time.monotonic()

    def progress(done: int, total: int, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last >= SILENT_SECONDS:
            last = time.monotonic()
            click.echo(
                f"{name}: {100 * done / max(total, 1):.0f} %{', ' + note if note else ''}", err=True
            )

    return progress


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps what TensorFlow's libraries print while they load off the terminal; shows it if the
    block fails.

    Some of it is written before any logging level is looked at, so the file descriptor itself is
    turned away.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        terminal = os.dup(2)
        os.dup2(noise.fileno(), 2)
        try:
            yield
        except ImportError:
            noise.seek(0)
            os.write(terminal, noise.read().encode())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
