"""What is shown while a command runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from toolkit.core.progress import Progress, silent
from tools.lazy import lazy_imports
from tools.output import duration, hint, plain

with lazy_imports():
    from rich import console, progress
    from rich import text as rich_text

    from tools import bars as terminal_bars

SILENT_SECONDS = 4.0  # between two plain progress lines where there is no terminal
LOOK_SECONDS = 0.5  # between two looks whether it is time for one
SPEED_SECONDS = 30.0  # of the last work, whose speed says how long the rest will take
QUIET = "cbtool.quiet"  # in the context of a command whose user wants no progress


class Stages:
    """Shows one line or progress bar per stage."""

    def __init__(self, bars: progress.Progress | None = None):
        self.bars = bars
        self._plain: PlainStage | None = None  # the latest, where there are no bars

    def line(self, text: str) -> None:
        """Prints `text` on stderr, above the bars where there are some."""
        if self.bars is None:
            hint(text)
            if self._plain:
                self._plain.note_line()
        else:
            self.bars.console.print(rich_text.Text(plain(text)))

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Shows stage `name` while the block runs; yields the function that reports progress."""
        if self.bars is None:
            self._plain = PlainStage(name)
            with self._plain as plain_stage:
                yield plain_stage.report
            return
        bars = self.bars
        task = bars.add_task(name, total=None, note="")

        def update(done: int, total: int, note: str = "") -> None:
            bars.update(task, completed=done, total=total, note=plain(note))

        yield update
        bars.update(task, total=1, completed=1, note="")
        bars.stop_task(task)


class Silence(Stages):
    """Shows nothing of the stages."""

    def line(self, text: str) -> None:
        pass

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        yield silent


def _note_quiet(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:  # before the name of the command, or after it
        context.meta[QUIET] = True


def be_quiet() -> None:
    """Shows no more progress in this command, as with --quiet."""
    click.get_current_context().meta[QUIET] = True


quiet_option = click.option(
    "-q",
    "--quiet",
    is_flag=True,
    envvar="CBTOOL_QUIET",
    expose_value=False,
    callback=_note_quiet,
    help="No progress: only results, hints and errors.",
)


def _is_quiet() -> bool:
    """Whether the user wants no progress."""
    context = click.get_current_context(silent=True)
    return context is not None and QUIET in context.meta


@contextmanager
def stages() -> Iterator[Stages]:
    """Bars on a terminal, plain lines elsewhere, nothing with --quiet."""
    if _is_quiet():
        yield Silence()
        return
    if not sys.stderr.isatty():
        yield Stages()
        return
    with terminal_bars.show_bars() as bars:
        yield Stages(bars)


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """Yields a function that shows a status: one updated line on a terminal, elsewhere a new line
    whenever the text changes, nothing with --quiet."""
    if _is_quiet():
        yield lambda text: None
        return
    if sys.stderr.isatty():
        with console.Console(stderr=True).status("") as line:
            yield lambda text: line.update(rich_text.Text(plain(text)))
        return
    last = ""

    def tell(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            hint(text)

    yield tell


class PlainStage:
    """A stage where there is no terminal: a line when it begins and when it ends, and one whenever
    there was none for SILENT_SECONDS, whether the work reports its progress or not."""

    def __init__(self, name: str):
        self.name = name
        self._started = self._last = time.monotonic()
        self._points: deque[tuple[float, int]] = deque()  # when how much was done
        self._state = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> PlainStage:
        click.echo(f"{self.name} ...", err=True)
        threading.Thread(target=self._break_silences, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        with self._lock:  # no line after this block
            self._ended.set()
        if kind is None:
            seconds = time.monotonic() - self._started
            click.echo(f"{self.name}: done in {seconds:.1f} s", err=True)

    def report(self, done: int, total: int, note: str = "") -> None:
        """Takes note of how far the stage is, and says so where it is time."""
        state = f"{100 * done / max(total, 1):.0f} %"
        # By the speed of the last work, not since the beginning: a resumed stage does not begin at
        # 0, and before its first report TensorFlow may have been loaded and a graph built.
        now = time.monotonic()
        if not self._points or now - self._points[-1][0] >= LOOK_SECONDS:
            self._points.append((now, done))
        while len(self._points) > 2 and self._points[1][0] < now - SPEED_SECONDS:
            self._points.popleft()
        since, before = self._points[0]
        if before < done < total:
            left = (now - since) * (total - done) / (done - before)
            state += f", about {duration(left)} left"
        self._state = f"{state}, {note}" if note else state
        self._tell_if_due()

    def note_line(self) -> None:
        """Takes note of a line that the work itself printed: it was no silence until now."""
        with self._lock:
            self._last = time.monotonic()

    def _tell_if_due(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._last >= SILENT_SECONDS and not self._ended.is_set():
                self._last = now
                hint(f"{self.name}: {self._state or f'{duration(now - self._started)} so far'}")

    def _break_silences(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._tell_if_due()
