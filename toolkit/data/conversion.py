"""What `cbtool data convert` makes of pictures or arrays: samples, and what was left out."""

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.damage import quote
from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from toolkit.data.dataset import CLASSES_LIMIT, Samples


@dataclass(frozen=True)
class Skipped:
    """A picture that is not among the samples. where: its file, or its row. reason: one of a few
    words, so that reasons can be counted. detail: more about this one."""

    where: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Conversion:
    """samples: what was read. skipped: what was not. resized: how many pictures had another size
    than the samples."""

    samples: Samples
    skipped: tuple[Skipped, ...] = ()
    resized: int = 0

    @property
    def reasons(self) -> dict[str, int]:
        """How many pictures were skipped for each reason, most frequent first."""
        return dict(Counter(each.reason for each in self.skipped).most_common())


def write_report(skipped: tuple[Skipped, ...], path: Path) -> None:
    """Writes a CSV table with a row for each of `skipped`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("where", "reason", "detail"))
    writer.writerows((each.where, each.reason, each.detail) for each in skipped)
    write_text(path, text.getvalue())


def name_label(value: Any, what: str) -> str | None:
    """A label as the name of a class; None where there is none. what: holds it, for the sentence.

    Whole numbers may be stored as floats, as pandas does where one is missing. Raises InputError
    for other fractions: they are no classes.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        if value != int(value):
            raise InputError(
                f"{what} holds {quote(value)}, neither a number of a class nor a name.",
                "Name the labels: --labels-key NAME.",
            )
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value).strip() or None


def sort_labels(labels: set[str]) -> list[str]:
    """`labels` in the order of their classes: as numbers if all are numbers."""
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)


def require_few_classes(classes: int, what: str) -> None:
    """Raises InputError for more classes than a training file may have. what: holds them."""
    if classes > CLASSES_LIMIT:
        raise InputError(
            f"{what} has {classes:,} different labels; the limit is {CLASSES_LIMIT}.",
            "Name the labels: --labels-key NAME.",
        )
