"""What the user sees: data on stdout; progress, hints and errors on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, Literal
from unicodedata import category

import click

from toolkit.core.errors import CbtoolError
from toolkit.core.files import is_numeric
from tools.lazy import lazy_imports

with lazy_imports():
    from rich import box, console
    from rich import table as rich_table
    from rich import text as rich_text

    from toolkit.runtime import checks as runtime_checks

CHECK_MARKS = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped"}
MARK_STYLES = {"ok": "green", "warning": "yellow", "FAILED": "bold red", "DIFFERS": "bold red"}
# Of Unicode: control characters, formats such as a change of the writing direction, surrogates, and
# the separators of lines and paragraphs.
CONTROL_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
PIPE_WIDTH = 200  # characters of a table where there is no terminal
WIDEST = 10_000  # characters, in which every table fits
TAIL_LINES = 15  # of a log that is not shown whole


def plain(text: str) -> str:
    """`text` with control characters written out as escapes: names and logs of strangers must not
    move the cursor, clear the screen, or hide what they say."""
    kept = []
    for character in text:
        harmless = character in "\n\t" or category(character) not in CONTROL_CATEGORIES
        kept.append(character if harmless else character.encode("unicode_escape").decode())
    return "".join(kept)


def error(problem: CbtoolError) -> None:
    """Prints the error sentence and the hint."""
    text = _break_lines(f"Error: {plain(problem.sentence)}", err=True)
    click.echo(text.replace("Error:", _colour("Error:", "red"), 1), err=True)
    if problem.hint:
        click.echo(f"{_colour('Hint:', 'cyan')} {plain(problem.hint)}", err=True)


def hint(text: str) -> None:
    """Prints `text`, such as the next command, on stderr."""
    click.echo(plain(text), err=True)


def sentence(text: str, err: bool = False) -> None:
    """Prints `text` on stdout, or with `err` on stderr. On a terminal, lines end between words
    instead of at its edge: not for commands, which a person copies as one line."""
    click.echo(_break_lines(plain(text), err), err=err)


def _break_lines(text: str, err: bool) -> str:
    if not (sys.stderr if err else sys.stdout).isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def confirm(question: str) -> bool:
    """Asks on the terminal. Raises UsageError where there is none to ask."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError("there is no terminal for the confirmation: add --yes.") from None


def as_json(values: dict[str, Any]) -> None:
    """Prints one JSON object."""
    click.echo(json.dumps(values, indent=2))


def table(
    columns: tuple[str, ...],
    rows: Sequence[Sequence[Any]],
    title: str = "",
    spare: Sequence[str] = (),
) -> None:
    """Prints a table; columns after the first are right-aligned when they hold numbers.

    spare: columns that are left out where the terminal is too narrow for all, the first of them
    first; a line says so.
    """
    # Without a terminal nothing may be cut, so that scripts can read every column.
    screen = console.Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    left_out: list[str] = []
    drawn = _draw_table(columns, rows, title)
    for name in spare:
        if console.Console(width=WIDEST).measure(drawn).maximum <= screen.width:
            break
        left_out.append(name)
        kept = [place for place, column in enumerate(columns) if column not in left_out]
        some = [[row[place] for place in kept] for row in rows]
        drawn = _draw_table(tuple(columns[place] for place in kept), some, title)
    screen.print(drawn)
    if left_out:
        names = ", ".join(left_out)
        sentence(f"Left out, because the terminal is narrow: {names}.", err=True)


def _draw_table(
    columns: tuple[str, ...], rows: Sequence[Sequence[Any]], title: str
) -> rich_table.Table:
    drawn = rich_table.Table(
        title=rich_text.Text(plain(title)) if title else None,
        box=box.SIMPLE_HEAD,
        show_header=any(columns),
        title_justify="left",
        title_style="bold",
        pad_edge=False,
    )
    for position, name in enumerate(columns):
        numeric = position > 0 and all(is_numeric(row[position]) for row in rows)
        heading = rich_text.Text(plain(name))
        justify: Literal["left", "right"] = "right" if numeric else "left"
        drawn.add_column(heading, justify=justify, overflow="fold", no_wrap=numeric)
    for row in rows:
        # As Text: in a string, rich takes words in brackets for its own markup.
        drawn.add_row(*(_draw_cell(value) for value in row))
    return drawn


def _draw_cell(value: Any) -> rich_text.Text:
    text = _cell(value)
    # rich leaves the colours out where there is no terminal, or NO_COLOR is set.
    return rich_text.Text(plain(text), style=MARK_STYLES.get(text, ""))


def checks(found: Sequence[runtime_checks.Check], title: str = "") -> None:
    """Prints a table of checks, and the hints of those that have one."""
    rows = [(check.name, CHECK_MARKS[check.status], check.detail) for check in found]
    table(("check", "", "found"), rows, title)
    for check in found:
        if check.hint:
            hint(f"{check.name}: {check.hint}")


def log(name: str, text: str) -> None:
    """Prints a log under its name; an empty one on one line."""
    if not text.strip():
        click.echo(f"-- {name}: empty")
        return
    click.echo(f"-- {name}:")
    click.echo(plain(text.rstrip("\n")))


def log_end(name: str, text: str, err: bool = False) -> None:
    """Prints the last lines of a log, and says how many there are in all."""
    lines = text.rstrip().splitlines()
    cut = f", last {TAIL_LINES} of {len(lines)} lines" if len(lines) > TAIL_LINES else ""
    click.echo(f"-- {name}{cut}:", err=err)
    click.echo(plain("\n".join(lines[-TAIL_LINES:])), err=err)


def _colour(word: str, colour: str) -> str:
    """`word` in a colour, which click leaves out where stderr is no terminal; without one where the
    user wants none (https://no-color.org)."""
    return word if os.environ.get("NO_COLOR") else click.style(word, fg=colour, bold=True)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def duration(seconds: float) -> str:
    """`seconds` as a person reads them: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
