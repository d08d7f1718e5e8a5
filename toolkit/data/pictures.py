"""Picture files, read into samples: a few at a time, so that memory holds the samples alone.

Every picture becomes 8-bit RGB: grey is repeated, transparency dropped, 16 bits and numbers in 0..1
are scaled to 0..255. What cannot be read is skipped, and told.
"""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from toolkit.core.damage import describe
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.channels import to_bytes
from toolkit.data.conversion import Conversion, Skipped, require_few_classes, sort_labels
from toolkit.data.dataset import SMALLEST_SIDE, Samples

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# Pillow looks at the content, not at the ending; for some formats, such as EPS, it starts another
# program.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
PIXELS_LIMIT = 50_000_000  # of a picture; a larger one is taken for a bomb
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # of 16 bits a pixel
UNREADABLE = "cannot be read"


@dataclass(frozen=True)
class Picture:
    """A picture file that is to be read. where: its path or its row, for a person. content: its
    path, or its bytes."""

    where: str
    label: str
    content: Path | bytes


# Gives all pictures, in the same order whenever it is called, and what is skipped without a look.
Listing = Callable[[], Iterator[Picture | Skipped]]


def read_pictures(
    listing: Listing,
    what: str,
    hint: str,
    class_names: list[str] | None = None,
    size: int | None = None,
    progress: Progress = silent,
) -> Conversion:
    """The samples of the pictures in `listing`, which is gone through twice: for their labels and
    sizes, then for their pixels.

    what: is listed, for a sentence; hint: the way out where no picture can be read. class_names: in
    their order; by default the labels in theirs. size: of the sides, None for that of all pictures;
    of a picture of other proportions, the largest part in the middle is taken. Raises InputError
    when there are too many classes, several sizes, or no picture that can be read.
    """
    counts: Counter[str] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    for listed in listing():
        if isinstance(listed, Picture):
            counts[listed.label] += 1
            progress(0, 0, f"{counts.total():,} pictures found")
            if size is None:
                _count_size(listed, sizes)
    classes = class_names or sort_labels(set(counts))
    require_few_classes(len(classes), what)
    side = (size, size) if size else _choose_size(sizes)
    images = np.empty((counts.total(), side[1], side[0], 3), np.uint8)
    labels: list[str] = []
    skipped: list[Skipped] = []
    resized = 0
    for listed in listing():
        if isinstance(listed, Skipped):
            skipped.append(listed)
            continue
        progress(len(labels) + len(skipped), counts.total(), listed.where)
        try:
            picture = read_picture(listed.content)
        # A damaged picture makes Pillow raise anything: struct.error, TypeError, EOFError.
        except Exception as error:
            skipped.append(Skipped(listed.where, UNREADABLE, describe(error)))
            continue
        if picture.size != side:
            picture = resize(picture, side)
            resized += 1
        images[len(labels)] = np.asarray(picture)
        labels.append(listed.label)
    if not labels:
        first = f" The first, {skipped[0].where}: {_explain(skipped[0])}." if skipped else ""
        raise InputError(f"{what} has no picture that could be read.", hint + first)
    place = {name: number for number, name in enumerate(classes)}
    numbers = np.array([place[label] for label in labels])
    samples = Samples(images[: len(labels)], numbers, np.arange(len(labels)), tuple(classes))
    return Conversion(samples, tuple(skipped), resized)


def read_picture(content: Path | bytes) -> Image.Image:
    """The picture in a file, or in its bytes, as 8-bit RGB, turned as its camera says. Raises
    whatever Pillow raises when it cannot be read."""
    with warnings.catch_warnings(), _open_picture(content) as picture:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        if picture.width * picture.height > PIXELS_LIMIT:
            raise ValueError(f"it has {picture.width} × {picture.height} pixels, too many")
        turned = ImageOps.exif_transpose(picture)
        if turned.mode in WIDE_MODES:
            values = np.asarray(turned, np.float64) / 257
            return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")
        if turned.mode == "F":
            return Image.fromarray(to_bytes(np.asarray(turned), "its pixels")).convert("RGB")
        if turned.mode == "P":
            turned = turned.convert("RGBA")
        return turned.convert("RGB")


def resize(picture: Image.Image, side: tuple[int, int]) -> Image.Image:
    """The largest part in the middle of `picture` that has the proportions of `side`, (width,
    height), scaled to it."""
    return ImageOps.fit(picture, side, Image.Resampling.BILINEAR)


def _open_picture(content: Path | bytes) -> Image.Image:
    Image.init()  # else Pillow does not know all of the formats yet
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    return Image.open(source, formats=FORMATS)


def _count_size(listed: Picture, sizes: Counter[tuple[int, int]]) -> None:
    try:
        with _open_picture(listed.content) as picture:
            sizes[picture.size] += 1
    except Exception:  # whatever Pillow raises
        pass  # it will be skipped


def _choose_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """The size (width, height) that all pictures have. Raises InputError when they differ, or are
    too small."""
    if not sizes:
        return SMALLEST_SIDE, SMALLEST_SIDE
    (common, count), *_ = sizes.most_common(1)
    if len(sizes) > 1:
        raise InputError(
            f"the pictures have {len(sizes)} different sizes; {count} have "
            f"{common[0]} × {common[1]} pixels.",
            f"Choose one, to which all are cut and scaled: --size {max(SMALLEST_SIDE, *common)}.",
        )
    if min(common) < SMALLEST_SIDE:
        raise InputError(
            f"the pictures have {common[0]} × {common[1]} pixels; {SMALLEST_SIDE} a side is the "
            "least.",
            "Scale them: --size 32.",
        )
    return common


def _explain(skipped: Skipped) -> str:
    return f"{skipped.reason} ({skipped.detail})" if skipped.detail else skipped.reason
