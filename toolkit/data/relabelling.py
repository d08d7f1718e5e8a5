"""Correcting labels by a table that a person has gone through."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from toolkit.core.damage import guard, list_names, quote, read_bytes
from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.data.dataset import Samples
from toolkit.data.label_errors import Suspects

COLUMNS = ("id", "given", "suggested", "probability", "margin")
READ_COLUMNS = COLUMNS[:3]
ID_DIGITS = 12  # more than any file has images


@dataclass(frozen=True)
class Relabelling:
    """samples: with the new labels, without the dropped images. relabelled, dropped: how many
    images were."""

    samples: Samples
    relabelled: int
    dropped: int


@dataclass(frozen=True)
class _Row:
    line: int
    id: int
    given: str
    suggested: str


def write_table(suspects: Suspects, class_names: tuple[str, ...], path: Path) -> None:
    """Writes `suspects` as CSV, the surest first: the id, the names of the given and the suggested
    label, the probability of the suggested one, and the margin between the two."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in range(len(suspects)):
            writer.writerow(
                (
                    suspects.ids[row],
                    class_names[suspects.given[row]],
                    class_names[suspects.suggested[row]],
                    f"{suspects.probabilities[row]:.4f}",
                    f"{suspects.margins[row]:.4f}",
                )
            )


def relabel(samples: Samples, table: Path) -> Relabelling:
    """`samples`, a whole file in its order, with the labels that `table` suggests.

    table: what `write_table` wrote, after a person went through it: only the lines that are there
    count, a suggested label may be changed, and an empty one drops the image. Raises InputError,
    which names the line, for an image or a class that does not exist, an image that is named twice,
    and a given label that is not the image's.
    """
    # As they come out of a spreadsheet's cells.
    names = [name.strip() for name in samples.class_names]
    labels = samples.labels.copy()
    dropped: list[int] = []
    seen: set[int] = set()
    for row in _read(table):
        if not 0 <= row.id < len(samples):
            _refuse(table, row, f"there is no image {row.id}; the file has {len(samples):,}")
        if row.id in seen:
            _refuse(table, row, f"image {row.id} is named a second time")
        seen.add(row.id)
        label = names[samples.labels[row.id]]
        if label != row.given:
            reason = f"image {row.id} has the label {quote(label)}, not {quote(row.given)}"
            _refuse(table, row, reason)
        if not row.suggested:
            dropped.append(row.id)
        elif names.count(row.suggested) != 1:
            _refuse(
                table,
                row,
                f"{quote(row.suggested)} is not the name of one class; the classes are "
                f"{list_names(names)}",
            )
        else:
            labels[row.id] = names.index(row.suggested)
    kept = np.setdiff1d(np.arange(len(samples)), dropped)
    changed = int((labels != samples.labels)[kept].sum())
    return Relabelling(replace(samples, labels=labels).take(kept), changed, len(dropped))


def _read(table: Path) -> list[_Row]:
    hint = "Give the table that cbtool data labels wrote: --labels DIR/labels.csv."
    text = read_bytes(table).decode("utf-8-sig", errors="replace")
    # What a spreadsheet writes where the comma is the sign of decimals.
    header = text.partition("\n")[0]
    delimiter = ";" if header.count(";") > header.count(",") else ","
    with guard(table, hint):
        reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter)
        columns = reader.fieldnames or []
        missing = [name for name in READ_COLUMNS if name not in columns]
        if missing:
            raise InputError(
                f"{table} has no column {missing[0]}; it has: {list_names(columns)}.", hint
            )
        return [_parse(table, reader.line_num, values) for values in reader]


def _parse(table: Path, line: int, values: dict[str, str | None]) -> _Row:
    number, given, suggested = ((values[name] or "").strip() for name in READ_COLUMNS)
    # Longer numbers are refused here, since Python reads only thousands of digits.
    if not (number.isascii() and number.isdecimal() and len(number) <= ID_DIGITS):
        raise InputError(
            f"line {line} of {table}: {quote(number)} is no id.",
            "Correct the line, or delete it.",
        )
    return _Row(line, int(number), given, suggested)


def _refuse(table: Path, row: _Row, reason: str) -> NoReturn:
    raise InputError(
        f"line {row.line} of {table}: {reason}.",
        "Correct the line, or delete it; the table belongs to the file that it was made of.",
    )
