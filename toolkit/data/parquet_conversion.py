"""Tables of pictures in Parquet, as Hugging Face's datasets are stored, made into samples."""

import importlib
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.core.damage import guard, list_names, require_file
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.conversion import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Conversion,
    Skipped,
    read_pictures,
    sort_labels,
)

SUFFIXES = (".parquet",)
AGAIN = "Download it again."
PICTURE_LIMIT = 100_000_000  # bytes of a picture's file
BATCH = 256  # rows that are read at a time


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
    names by default. size: as in `conversion.convert_folder`. Raises InputError where pyarrow is
    not installed, or there are no such columns.
    """
    require_file(path)
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            "pyarrow, which reads Parquet, is not installed.", "pip install 'cbtool[parquet]'."
        )
    parquet = importlib.import_module("pyarrow.parquet")
    with tempfile.TemporaryDirectory(prefix="cbtool-") as name:
        with guard(path, AGAIN), parquet.ParquetFile(path) as file:
            columns = [field.name for field in file.schema_arrow]
            image = _choose(path, columns, image_column, IMAGE_COLUMNS, "--images-key")
            label = _choose(path, columns, label_column, LABEL_COLUMNS, "--labels-key")
            names = _read_names(file.schema_arrow.metadata or {}, label)
            listed, skipped = _unpack(file, image, label, names, Path(name))
        labels = {label for _, label in listed}
        classes = [each for each in names if each in labels] or sort_labels(labels)
        found = read_pictures(listed, classes, tuple(skipped), size, progress)
    # The files were temporary: a row says more.
    told = [
        replace(each, where=Path(each.where).name) if "/" in each.where else each
        for each in found.skipped
    ]
    return replace(found, skipped=tuple(told))


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


def _unpack(
    file: Any, image: str, label: str, names: list[str], folder: Path
) -> tuple[list[tuple[Path, str]], list[Skipped]]:
    """Writes each picture into `folder`; returns their paths and labels, and what is no picture."""
    listed, skipped, number = [], [], 0
    for batch in file.iter_batches(BATCH, columns=[image, label]):
        pictures, labels = batch.column(image).to_pylist(), batch.column(label).to_pylist()
        for picture, value in zip(pictures, labels):
            number += 1
            where = f"row {number}"
            content = picture.get("bytes") if isinstance(picture, dict) else picture
            if not isinstance(content, bytes) or len(content) > PICTURE_LIMIT:
                skipped.append(Skipped(where, "it has no picture"))
                continue
            if value is None:
                skipped.append(Skipped(where, "it has no label"))
                continue
            place = folder / where
            place.write_bytes(content)
            listed.append((place, _name(value, names)))
    return listed, skipped


def _name(value: Any, names: list[str]) -> str:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return str(value)
