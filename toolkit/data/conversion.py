"""Images and labels as people have them, made into the samples that everything else reads.

Every picture becomes 8-bit RGB: grey is repeated, transparency dropped, 16 bits and numbers in 0..1
are scaled to 0..255. What cannot be read is skipped, and told.
"""

import csv
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from toolkit.core.damage import describe, quote, require_file
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.channels import to_bytes
from toolkit.data.dataset import CLASSES_LIMIT, SMALLEST_SIDE, Samples

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Pillow looks at the content, not at the ending; for some formats, such as EPS, it starts another
# program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
PIXELS_LIMIT = 50_000_000  # of a picture; a larger one is taken for a bomb
IMAGE_COLUMNS = ("image", "images", "file", "filename", "file_name", "path", "image_id", "id")
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "target", "category")
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # of 16 bits a pixel


@dataclass(frozen=True)
class Skipped:
    """A picture that is not among the samples. where: its file, or its row."""

    where: str
    reason: str


@dataclass(frozen=True)
class Conversion:
    """samples: what was read. skipped: what was not. resized: how many pictures had another size
    than the samples."""

    samples: Samples
    skipped: tuple[Skipped, ...]
    resized: int = 0


def convert_folder(
    folder: Path, size: int | None = None, progress: Progress = silent
) -> Conversion:
    """The pictures in the folders of `folder`, each of which is a class, in the order of their
    names.

    size: the side of the images, in pixels; None where all pictures have one size. Raises
    InputError when there are no such folders or pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}.", "Check the path.")
    classes = sorted(
        each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")
    )
    if len(classes) < 2:
        raise InputError(
            f"{folder} has {len(classes)} folders; each class needs one.",
            "Make a folder for each class; or give a table of the labels: --labels FILE.csv.",
        )
    listed = []
    for name in classes:
        for path in sorted((folder / name).rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                listed.append((path, name))
    return read_pictures(listed, classes, (), size, progress)


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
    with Path(table).open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        images = _choose_column(table, columns, image_column, IMAGE_COLUMNS, "--images-key")
        labels = _choose_column(table, columns, label_column, LABEL_COLUMNS, "--labels-key")
        rows = [(row[images] or "", (row[labels] or "").strip()) for row in reader]
    listed, skipped = [], []
    for number, (name, label) in enumerate(rows, 2):
        path = _find_picture(Path(folder), name)
        if not label:
            skipped.append(Skipped(f"row {number}", "it has no label"))
        elif path is None:
            skipped.append(Skipped(f"row {number}", f"there is no picture {quote(name)}"))
        else:
            listed.append((path, label))
    classes = sort_labels({label for _, label in listed})
    return read_pictures(listed, classes, tuple(skipped), size, progress)


def read_pictures(
    listed: list[tuple[Path, str]],
    classes: list[str],
    skipped: tuple[Skipped, ...],
    size: int | None,
    progress: Progress,
) -> Conversion:
    """The samples of the pictures that are `listed`, with their labels, which are among `classes`.

    skipped: what was left out before. size: of the sides, None for that of all pictures. Raises
    InputError when there are too many classes, several sizes, or no picture that can be read.
    """
    if len(classes) > CLASSES_LIMIT:
        raise InputError(
            f"there are {len(classes):,} different labels; the limit is {CLASSES_LIMIT}.",
            "Name the column of the classes: --labels-key NAME.",
        )
    side = (size, size) if size else _find_size(listed)
    images = np.empty((len(listed), side[1], side[0], 3), np.uint8)
    kept: list[str] = []
    resized = 0
    unread = list(skipped)
    for number, (path, label) in enumerate(listed):
        progress(number, len(listed), path.name)
        try:
            picture = read_picture(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            unread.append(Skipped(str(path), describe(error)))
            continue
        if picture.size != side:
            # The largest part in the middle that has the right proportions, then scaled.
            picture = ImageOps.fit(picture, side, Image.Resampling.BILINEAR)
            resized += 1
        images[len(kept)] = np.asarray(picture)
        kept.append(label)
    if not kept:
        raise InputError(
            "no picture could be read.",
            f"Endings of pictures: {', '.join(SUFFIXES)}. "
            + (f"The first was skipped because {unread[0].reason}." if unread else ""),
        )
    numbers = np.array([classes.index(label) for label in kept])
    samples = Samples(images[: len(kept)], numbers, np.arange(len(kept)), tuple(classes))
    return Conversion(samples, tuple(unread), resized)


def read_picture(path: Path) -> Image.Image:
    """The picture at `path` as 8-bit RGB, turned as its camera says. Raises OSError and ValueError
    when it cannot be read."""
    with warnings.catch_warnings(), _open_picture(path) as picture:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if picture.width * picture.height > PIXELS_LIMIT:
            raise ValueError(f"it has {picture.width} × {picture.height} pixels, too many")
        turned = ImageOps.exif_transpose(picture)
        if turned.mode in WIDE_MODES:
            values = np.asarray(turned, np.float64) / 257
            return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")
        if turned.mode == "F":
            return Image.fromarray(to_bytes(np.asarray(turned), str(path))).convert("RGB")
        if turned.mode == "P":
            turned = turned.convert("RGBA")
        return turned.convert("RGB")


def _open_picture(path: Path) -> Image.Image:
    Image.init()  # else Pillow does not know all of the formats yet
    return Image.open(path, formats=FORMATS)


def _find_size(listed: list[tuple[Path, str]]) -> tuple[int, int]:
    """The size (width, height) that all pictures have. Raises InputError when they differ."""
    sizes: Counter[tuple[int, int]] = Counter()
    for path, _ in listed:
        try:
            with _open_picture(path) as picture:
                sizes[picture.size] += 1
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # it will be skipped
    if not sizes:
        return SMALLEST_SIDE, SMALLEST_SIDE
    if len(sizes) > 1:
        (common, count), *_ = sizes.most_common(1)
        raise InputError(
            f"the pictures have {len(sizes)} different sizes; {count} have "
            f"{common[0]} × {common[1]} pixels.",
            f"Choose one, to which all are cut and scaled: --size {min(common)}.",
        )
    (only,) = sizes
    return only


def _find_picture(folder: Path, name: str) -> Path | None:
    """The picture `name` in `folder`, with its ending or without; None where there is none."""
    if not name or "\0" in name:  # which no path may hold
        return None
    path = folder / name
    for suffix in ("", *SUFFIXES):
        found = Path(f"{path}{suffix}")
        # A name in a stranger's table does not lead to other files of this machine.
        inside = os.path.realpath(found).startswith(os.path.realpath(folder) + os.sep)
        # Not Path.is_file, which raises OSError for a name that is too long.
        if inside and os.path.isfile(found):
            return found
    return None


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


def sort_labels(labels: set[str]) -> list[str]:
    if all(label.isdecimal() for label in labels):
        return sorted(labels, key=int)
    return sorted(labels)
