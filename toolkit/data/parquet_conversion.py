"""Tables of pictures in Parquet, as Hugging Face's datasets are stored, made into samples."""

import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from toolkit.core import trial_reading
from toolkit.core.damage import guard, list_names, require_file
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.conversion import Conversion, Skipped, name_label
from toolkit.data.folder_conversion import IMAGE_COLUMNS, LABEL_COLUMNS
from toolkit.data.pictures import Picture, read_pictures

SUFFIXES = (".parquet",)
AGAIN = "Download it again."
PICTURE_LIMIT = 100_000_000  # bytes of a picture's file
BATCH = 8  # rows that are read at a time
BATCH_LIMIT = 200_000_000  # bytes that these may hold
CHILD = Path(__file__).with_name("parquet_child.py")  # which imports pyarrow
MEMORY = 1_500_000_000  # bytes of addresses for it; pyarrow alone takes one billion
BUFFER = 1_000_000  # bytes of the file that are read at a time


def convert_parquet(
    path: Path,
    image_column: str | None = None,
    label_column: str | None = None,
    size: int | None = None,
    progress: Progress = silent,
) -> Conversion:
    """The pictures and labels in the Parquet file at `path`.

    The pictures are files, as bytes or as a record with `bytes`; labels are numbers or texts, and
    get the names that the file's description of a dataset has for them. Columns: by their usual
    names by default. size: as in `pictures.read_pictures`. Raises InputError where pyarrow is not
    installed, or there are no such columns.
    """
    require_file(path)
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "pyarrow, which reads Parquet, is not installed.", "pip install 'cbtool[parquet]'."
        )
    with guard(path, AGAIN), _open(path) as file:
        columns = [field.name for field in file.schema_arrow]
        image = _choose(path, columns, image_column, IMAGE_COLUMNS, "--images-key")
        label = _choose(path, columns, label_column, LABEL_COLUMNS, "--labels-key")
        _require_readable(path, image, label)
        names = _read_names(file.schema_arrow.metadata or {}, label)
        listing = partial(_list_rows, file, image, label, names)
        classes = _find_classes(file, label, names)
        hint = f"Name the column of the pictures: --images-key NAME; it was {image}."
        return read_pictures(listing, str(path), hint, classes, size, progress)


def _require_readable(path: Path, image: str, label: str) -> None:
    words = (str(MEMORY), image, label, str(BATCH), str(BATCH_LIMIT))
    hint = f"Name other columns: --images-key, --labels-key; they were {image} and {label}."
    trial_reading.require_readable(CHILD, path, MEMORY, hint, str(path), words)


def _open(path: Path) -> Any:
    parquet = importlib.import_module("pyarrow.parquet")
    # Else it reads a column of pictures whole.
    return parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)


def _choose(
    path: Path, columns: list[str], wanted: str | None, usual: Sequence[str], option: str
) -> str:
    if wanted in columns:
        return str(wanted)
    found = [name for name in usual if name in columns]
    if wanted is not None or not found:
        what = f"no column {wanted}" if wanted else "no column with a usual name"
        raise InputError(
            f"{path} has {what}; it has: {list_names(columns)}.", f"Name it: {option} NAME."
        )
    return found[0]


def _read_names(metadata: dict[bytes, bytes], column: str) -> list[str]:
    """The names of the classes, in the order of their numbers, as the `datasets` library writes
    them; none where it did not write the file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[column]["names"]]
    except (KeyError, TypeError, ValueError):
        return []


def _find_classes(file: Any, column: str, names: list[str]) -> list[str] | None:
    """Those of `names` that occur, in their order; None where labels have other names."""
    found: set[str | None] = set()
    for batch in file.iter_batches(BATCH, columns=[column]):
        found |= {_name(value, names, column) for value in batch.column(column).to_pylist()}
    known = found - {None} <= set(names)
    return [name for name in names if name in found] if names and known else None


def _list_rows(file: Any, image: str, label: str, names: list[str]) -> Iterator[Picture | Skipped]:
    number = 0
    for batch in file.iter_batches(BATCH, columns=[image, label]):
        labels = batch.column(label).to_pylist()
        # One after the other: of a picture that the file has once for many rows, each is a copy.
        for scalar, value in zip(batch.column(image), labels):
            picture = scalar.as_py()
            number += 1
            where = f"row {number}"
            content = picture.get("bytes") if isinstance(picture, dict) else picture
            name = _name(value, names, label)
            if not isinstance(content, bytes) or len(content) > PICTURE_LIMIT:
                yield Skipped(where, "has no picture")
            elif name is None:
                yield Skipped(where, "has no label")
            else:
                yield Picture(where, name, content)


def _name(value: Any, names: list[str], column: str) -> str | None:
    name = name_label(value, f"the column {column}")
    if name is not None and name.isdecimal() and int(name) < len(names):
        return names[int(name)]
    return name
