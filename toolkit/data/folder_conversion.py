"""Folders of pictures, made into samples: a folder for each class, or a table of their labels."""

import csv
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from toolkit.core.damage import guard, quote, require_file
from toolkit.core.errors import InputError
from toolkit.core.files import format_count
from toolkit.core.progress import Progress, silent
from toolkit.data.conversion import Conversion, Skipped, name_class, name_label
from toolkit.data.pictures import SUFFIXES, Picture, read_pictures

IMAGE_COLUMNS = ("image", "images", "file", "filename", "file_name", "path", "image_id", "id")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "target", "category")
ENDINGS = f"Endings of pictures: {', '.join(SUFFIXES)}."
DELIMITERS = ",;\t|"
SNIFFED = 10_000  # characters of a table by which its delimiter is found
# What systems leave in folders without asking.
SYSTEM_FILES = ("thumbs.db", "desktop.ini")
LEADS_OUT = "is a link that leads out of the folder"


def convert_folder(
    folder: Path, size: int | None = None, progress: Progress = silent
) -> Conversion:
    """The pictures in the folders of `folder`, each of which is a class, in the order of their
    names. A link that leads out of `folder` is no class, and no picture.

    size: the side of the images, in pixels; None where all pictures have one size. Raises
    InputError when there are no such folders or pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}.", "Check the path.")
    root = folder.resolve()
    classes, outside = [], []
    for each in sorted(folder.iterdir()):
        # Not Path.is_dir, which raises OSError where a link leads to what must not be looked at.
        if os.path.isdir(each) and not each.name.startswith("."):
            if _is_inside(each, root):
                classes.append(name_class(each.name, str(folder)))
            else:
                outside.append(Skipped(str(each), LEADS_OUT))
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {format_count(len(classes), 'folder')}; each class needs one.",
            "Make a folder for each class; or give a table of the labels: --labels FILE.csv.",
        )
    listing = partial(_list_folders, folder, classes, outside)
    return read_pictures(listing, str(folder), ENDINGS, classes, size, progress)


def convert_table(
    table: Path,
    folder: Path,
    image_column: str | None = None,
    label_column: str | None = None,
    size: int | None = None,
    progress: Progress = silent,
) -> Conversion:
    """The pictures in `folder` that the CSV file `table` names, a row each, with its label.

    The columns are those of the usual names where none is given. A name may lack its ending.
    Classes are the labels, in their order: as numbers if all are. Raises InputError when there is
    no such column.
    """
    require_file(table)
    with (
        guard(table, "Save it as CSV, in UTF-8, with a row of names."),
        Path(table).open(newline="", encoding="utf-8-sig", errors="replace") as file,
    ):
        delimiter = _find_delimiter(file.read(SNIFFED))
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter)
        columns = reader.fieldnames or []
        images = _choose_column(table, columns, image_column, IMAGE_COLUMNS, "--images-key")
        labels = _choose_column(table, columns, label_column, LABEL_COLUMNS, "--labels-key")
        rows = [(row[images] or "", name_label(row[labels], str(table))) for row in reader]
    listing = partial(_list_rows, Path(folder), rows)
    hint = "Name the column of the pictures: --images-key NAME."
    return read_pictures(listing, str(table), hint, None, size, progress)


def _list_folders(
    folder: Path, classes: list[str], outside: list[Skipped]
) -> Iterator[Picture | Skipped]:
    root = folder.resolve()
    yield from outside
    for name in classes:
        for path in sorted((folder / name).rglob("*")):
            if (
                os.path.isdir(path)
                or path.name.startswith(".")
                or path.name.lower() in SYSTEM_FILES
            ):
                continue
            if path.suffix.lower() not in SUFFIXES:
                yield Skipped(str(path), "has no ending of a picture")
            elif not _is_inside(path, root):
                yield Skipped(str(path), LEADS_OUT)
            elif not os.path.isfile(path):  # opening a pipe would wait for a writer
                yield Skipped(str(path), "is no file")
            else:
                yield Picture(str(path), name, path)


def _list_rows(folder: Path, rows: list[tuple[str, str | None]]) -> Iterator[Picture | Skipped]:
    for number, (name, label) in enumerate(rows, 2):
        path = _find_picture(folder, name)
        if label is None:
            yield Skipped(f"row {number}", "has no label")
        elif path is None:
            yield Skipped(f"row {number}", "names no picture in the folder", quote(name))
        else:
            yield Picture(str(path), label, path)


def _find_picture(folder: Path, name: str) -> Path | None:
    """The picture `name` in `folder`, with its ending or without; None where there is none."""
    if not name or "\0" in name:  # which no path may hold
        return None
    root = folder.resolve()
    # Windows writes its paths the other way.
    for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
        for suffix in ("", *SUFFIXES):
            found = folder / f"{spelling}{suffix}"
            # Not Path.is_file, which raises OSError for a name that is too long.
            if os.path.isfile(found) and _is_inside(found, root):
                return found
    return None


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether `path`, with all links followed, is in `folder`, whose links are followed already: a
    stranger's table or archive must not lead to other files of this machine."""
    return os.path.realpath(path).startswith(str(folder) + os.sep)


def _find_delimiter(beginning: str) -> str:
    """The delimiter that the first line has most of: a comma where it has none."""
    first = beginning.partition("\n")[0]
    return max(DELIMITERS, key=first.count)


def _choose_column(
    table: Path,
    columns: Sequence[str],
    wanted: str | None,
    usual: tuple[str, ...],
    option: str,
) -> str:
    names = [wanted] if wanted else usual
    for name in names:
        for column in columns:
            if column.strip().lower() == name.lower():
                return column
    raise InputError(
        f"{table} has no column {' or '.join(names[:3])}; it has: "
        f"{', '.join(columns[:20]) or 'none'}.",
        f"Name the column: {option} NAME.",
    )
