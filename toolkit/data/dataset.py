"""The competition's file: an npz of images and labels, read into `Samples`."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from toolkit.core.arrays import open_arrays
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.data.channels import to_rgb

NPZ_HINT = "Download it again, or save it with np.savez(path, images=images, labels=labels)."
ARRAYS = ("images", "labels", "class_names")
CLASSES_LIMIT = 256  # labels are stored as uint8
NAME_LENGTH = 100  # characters of a class name that are kept
SMALLEST_SIDE = 8  # pixels
CELL_NAMES = AN2DL2024.class_names  # BloodMNIST has the same


@dataclass(frozen=True, eq=False)  # no == of arrays: two of the same data are two
class Samples:
    """Labelled images.

    images: uint8 [n, height, width, 3], 0..255. labels: int64 [n]. ids: int64 [n], the row of each
    image in its file. class_names: one name a class, in the order of the labels.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def counts(self) -> np.ndarray:
        """Images per class, int64 [classes]."""
        return np.bincount(self.labels, minlength=len(self.class_names))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the pixels and labels, as hexadecimal: the same data, whatever the file's
        name."""
        # The shape is part of it: images of another shape can have the same bytes.
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def take(self, rows: np.ndarray) -> "Samples":
        """The samples at `rows` (positions, not ids)."""
        return Samples(self.images[rows], self.labels[rows], self.ids[rows], self.class_names)

    def with_images(self, images: np.ndarray) -> "Samples":
        """The same labels and ids with other `images`, uint8 [n, height, width, 3]."""
        if len(images) != len(self):
            raise ValueError(f"{len(images)} images for {len(self)} labels")
        return dataclasses.replace(self, images=images)


def concatenate(parts: Sequence[Samples]) -> Samples:
    """`parts`, one or more of the same classes and image size, as one."""
    return Samples(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.ids for part in parts]),
        parts[0].class_names,
    )


def load(path: Path, classes: int | None = None, contract: Contract = AN2DL2024) -> Samples:
    """Reads an npz with `images` uint8 [n, height, width, channels] and integer `labels` [n] or
    [n, 1].

    contract: says how many channels there are; the images become RGB (`data.channels`). The file's
    own `class_names`, if it has them, decide the number of classes; otherwise `classes` does, by
    default those of the contract. Pickled objects are never unpickled. Raises InputError for
    anything else than such a file, and for images of another size than that of a described
    competition.
    """
    classes = classes or contract.classes
    with open_arrays(path, NPZ_HINT) as archive:
        # Before memory is taken for the first.
        for key in ("images", "labels"):
            archive.require(key)
        # Others, which the file may also hold, are not read.
        arrays = {key: archive.read(key) for key in ARRAYS if key in archive.entries}
    if "class_names" in arrays:
        names = _read_class_names(path, arrays["class_names"])
    elif classes == len(contract.class_names):
        # The competition's own file names no classes.
        names = contract.class_names
    else:
        names = tuple(f"class {number}" for number in range(classes))
    images = _check_images(path, arrays["images"], contract)
    labels = _check_labels(path, arrays["labels"], len(images), len(names))
    return Samples(images, labels, np.arange(len(images)), names)


def save(samples: Samples, path: Path) -> None:
    """Writes `samples` as the competition does, with their class names."""
    with atomic(path) as temporary:
        np.savez(
            temporary,
            images=samples.images,
            labels=samples.labels.astype(np.uint8)[:, None],
            class_names=np.array(samples.class_names),
        )


def require_trainable(samples: Samples, path: Path) -> None:
    """Raises InputError unless every class has at least one image and there are two classes or
    more."""
    counts = samples.counts
    if np.count_nonzero(counts) == 1:
        only = int(counts.argmax())
        raise InputError(
            f"{path} has images of one class only, {only} ({samples.class_names[only]}): training "
            "needs at least two.",
            "Add images of the other classes.",
        )
    if not counts.all():
        empty = int(np.flatnonzero(counts == 0)[0])
        raise InputError(
            f"{path} has no image of class {empty} ({samples.class_names[empty]}); it should have "
            f"{len(counts)} classes.",
            "Add images of that class, or number the labels without gaps and set the number of "
            "classes: --set data.classes=N.",
        )


def _read_class_names(path: Path, names: np.ndarray) -> tuple[str, ...]:
    if names.dtype.kind not in "US" or names.ndim != 1:
        raise InputError(
            f"class_names in {path} are {names.dtype} of shape {names.shape}, not a list of names.",
            'Save them as np.array(["name of class 0", …]).',
        )
    if len(names) > CLASSES_LIMIT:
        raise InputError(
            f"{path} names {len(names):,} classes; the limit is {CLASSES_LIMIT}.",
            "Give one name a class, in the order of the labels.",
        )
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "replace")
    # Half of a pair of UTF-16 is no text, and cannot be written into a file.
    valid = [name.encode("utf-8", "replace").decode() for name in names.tolist()]
    return tuple(name[:NAME_LENGTH] for name in valid)


def _check_images(path: Path, images: np.ndarray, contract: Contract) -> np.ndarray:
    """`images` as RGB."""
    if images.dtype != np.uint8:
        raise InputError(
            f"images in {path} are {_describe_wrong_values(images)}.",
            "Save them as uint8 from 0 to 255.",
        )
    if contract.channels == 1 and images.ndim == 3:
        images = images[..., None]
    # RGB is always welcome: pictures are converted to it, whatever the competition shows.
    if images.ndim != 4 or images.shape[3] not in (3, contract.channels):
        raise InputError(
            f"images in {path} have the shape {images.shape}, not (n, height, width, "
            f"{contract.channels}).",
            _describe_way_to_channels(images.shape, contract),
        )
    if len(images) == 0:
        raise InputError(f"{path} contains no images.", "Give a file with at least one image.")
    if min(images.shape[1:3]) < SMALLEST_SIDE:
        height, width = images.shape[1:3]
        raise InputError(
            f"images in {path} are {height}×{width} pixels.",
            f"Give images of {SMALLEST_SIDE}×{SMALLEST_SIDE} or more.",
        )
    # Drawn cells and subsets of other sizes are welcome where nobody has described a competition.
    if contract != AN2DL2024 and images.shape[1:3] != contract.image_shape[:2]:
        found, wanted = images.shape[1:3], contract.image_shape[:2]
        raise InputError(
            f"images in {path} are {found[0]}×{found[1]} pixels, those of {contract.name} "
            f"{wanted[0]}×{wanted[1]}.",
            "Give images of that size; or correct competition.toml.",
        )
    return to_rgb(images)


def _describe_way_to_channels(shape: tuple[int, ...], contract: Contract) -> str:
    """How images of `shape` become those of `contract`."""
    if contract.channels != 3:
        return f"{contract.name} has images of {contract.channels} channels; put them last."
    if len(shape) == 3 or (len(shape) == 4 and shape[3] == 1):
        return (
            "Grey images: make them RGB with cbtool data convert; or describe a competition of "
            "grey images with cbtool init --channels 1."
        )
    if len(shape) == 4 and shape[3] == 4:
        return "Leave out the alpha channel: images[..., :3]."
    if len(shape) == 4 and shape[1] == 3:
        return "Put the channels last: images.transpose(0, 2, 3, 1)."
    return "Put the channels last; make them three."


def _describe_wrong_values(values: np.ndarray) -> str:
    """What is wrong with images that are not uint8, for an error message."""
    if values.dtype.kind not in "iufc" or values.size == 0:
        return f"{values.dtype}, not uint8"
    if np.isnan(values).any():
        return f"{values.dtype} and contain NaN, not uint8"
    low, high = values.min(), values.max()
    beyond = "" if low >= 0 and high <= 255 else ", outside 0..255"
    return f"{values.dtype} from {low:g} to {high:g}{beyond}, not uint8"


def _check_labels(path: Path, labels: np.ndarray, n: int, classes: int) -> np.ndarray:
    if labels.shape not in ((n,), (n, 1)):
        raise InputError(
            f"labels in {path} have the shape {labels.shape}, not ({n},) or ({n}, 1) for {n} "
            "images.",
            "Give one class number per image (for one-hot labels: labels.argmax(1)).",
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"labels in {path} are {labels.dtype}, not integers.",
            "Save class numbers, from 0, as uint8.",
        )
    labels = labels.reshape(-1).astype(np.int64)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"label {labels[row]} of image {row} in {path} is out of range: classes go from 0 to "
            f"{classes - 1}.",
            "Correct it, or set the number of classes (--classes N; for train: --set "
            "data.classes=N).",
        )
    return labels
