"""What `cbtool data convert` makes of pictures or arrays: samples, and what was left out."""

import csv
import io
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.damage import abridge, quote
from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from toolkit.data.dataset import CLASSES_LIMIT, NAME_LENGTH, Samples


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
    # A name on the disk may be no UTF-8.
    write_text(path, text.getvalue().encode("utf-8", "backslashreplace").decode())


def name_label(value: Any, what: str) -> str | None:
    """A label as the name of a class; None where there is none. what: holds it, for the sentence.

    Whole numbers may be stored as floats, as pandas does where one is missing. Raises InputError
    for other fractions, which are no classes, and as `name_class`.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            raise InputError(
                f"{what} holds {quote(value)}, neither a number of a class nor a name.",
                "Name the labels: --labels-key NAME.",
            )
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return name_class(str(value).strip(), what) or None


def name_class(name: str, what: str) -> str:
    """`name`, as a class may have it. what: holds it, for the sentence. Raises InputError where it
    is longer: a training file would keep its beginning, which two classes may share."""
    if len(name) > NAME_LENGTH:
        raise InputError(
            f"{what} names the class {abridge(name)}, of {len(name):,} characters; the limit is "
            f"{NAME_LENGTH}.",
            "Name the labels: --labels-key NAME; or give the class a shorter name.",
        )
    return name


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
