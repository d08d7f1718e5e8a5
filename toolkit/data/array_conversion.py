"""Arrays of images and labels as people have them, in npz and HDF5 files, made into samples.

Every image becomes 8-bit RGB: grey is repeated, transparency dropped, 16 bits and numbers in 0..1
are scaled to 0..255.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from toolkit.core import hdf5
from toolkit.core.archives import UNPACKED_LIMIT
from toolkit.core.arrays import read_arrays
from toolkit.core.damage import abridge, guard, list_names, require_file
from toolkit.core.errors import InputError
from toolkit.core.files import format_bytes
from toolkit.core.progress import Progress, silent
from toolkit.data.channels import to_bytes
from toolkit.data.conversion import Conversion, name_class, require_few_classes
from toolkit.data.dataset import SMALLEST_SIDE, Samples
from toolkit.data.pictures import resize

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
AGAIN = "Download or write it again."


def convert_arrays(
    path: Path,
    images_key: str | None = None,
    labels_key: str | None = None,
    size: int | None = None,
    progress: Progress = silent,
) -> Conversion:
    """The images and labels in an npz or HDF5 file, whatever their names, types and layout.

    Without keys, the images are the array of pictures, the labels the other one of the same length.
    In HDF5, a key is the dataset's whole name: "train/images". size: as in
    `pictures.read_pictures`. Raises InputError when it is not clear which these are.
    """
    if path.suffix.lower() in HDF5_SUFFIXES:
        key, images, found, labels = _read_hdf5(path, images_key, labels_key)
    else:
        arrays = read_arrays(path)
        key, found = _choose_pair(path, arrays, images_key, labels_key)
        images, labels = arrays[key], arrays[found]
    numbers, names = _number_labels(path, found, labels)
    pixels = _as_rgb(path, key, images)
    if size is None and min(pixels.shape[1:3]) < SMALLEST_SIDE:
        raise InputError(
            f"'{key}' in {path} are images of {pixels.shape[2]} × {pixels.shape[1]} pixels; "
            f"{SMALLEST_SIDE} a side is the least.",
            "Scale them: --size 32.",
        )
    resized = 0
    if size and pixels.shape[1:3] != (size, size):
        pixels, resized = _resize_all(pixels, size, progress), len(pixels)
    return Conversion(Samples(pixels, numbers, np.arange(len(pixels)), names), (), resized)


def _read_hdf5(
    path: Path, images_key: str | None, labels_key: str | None
) -> tuple[str, np.ndarray, str, np.ndarray]:
    """The images and labels of the HDF5 file at `path`, each after its name; no other dataset is
    read. Raises InputError when it cannot be read, or holds more than memory should."""
    require_file(path)
    hdf5.require_readable(path, AGAIN)
    with guard(path, AGAIN), h5py.File(path, "r") as file:
        names: list[str] = []
        file.visit(names.append)
        datasets = {name: file[name] for name in names if _is_array(file[name])}
        pair = _choose_pair(path, datasets, images_key, labels_key)
        size = sum(datasets[name].nbytes for name in pair)
        if size > UNPACKED_LIMIT:
            raise InputError(
                f"{' and '.join(pair)} of {path} hold {format_bytes(size)} of values; the limit is "
                f"{format_bytes(UNPACKED_LIMIT)}.",
                "Give a part of it.",
            )
        images, labels = (_read_dataset(datasets[name]) for name in pair)
    return pair[0], images, pair[1], labels


def _read_dataset(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.array(dataset.asstr()[()], str)
    return np.asarray(dataset[()])


def _choose_pair(
    path: Path, arrays: Mapping[str, Any], images_key: str | None, labels_key: str | None
) -> tuple[str, str]:
    """The names of the images and the labels among `arrays`, which need not be read yet. Raises
    InputError when it is not clear which these are, or they do not belong together."""
    key = images_key or _choose_array(path, arrays, [3, 4], None, "--images-key")
    images = _take(path, arrays, key)
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise InputError(
            f"'{key}' in {path} has the shape {images.shape}: no pictures.",
            "Name the array of the images: --images-key NAME.",
        )
    found = labels_key or _choose_array(path, arrays, [1, 2], len(images), "--labels-key", key)
    labels = _take(path, arrays, found)
    if len(labels) != len(images):
        raise InputError(
            f"'{found}' in {path} has {len(labels)} labels for {len(images)} images.",
            "Name the array of the labels: --labels-key NAME.",
        )
    return key, found


def _is_array(value: object) -> bool:
    """Whether `value` of an HDF5 file is an array of numbers or texts."""
    if not isinstance(value, h5py.Dataset) or not value.shape:
        return False
    return value.dtype.kind in "biufS" or h5py.check_string_dtype(value.dtype) is not None


def _choose_array(
    path: Path,
    arrays: Mapping[str, Any],
    ranks: list[int],
    length: int | None,
    option: str,
    taken: str = "",
) -> str:
    found = [
        key
        for key, array in arrays.items()
        if key != taken and array.ndim in ranks and length in (None, len(array))
    ]
    if len(found) != 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in sorted(arrays.items())[:20])
        raise InputError(
            f"it is not clear which array of {path} is meant; it contains: {shapes or 'nothing'}.",
            f"Name it: {option} NAME.",
        )
    return found[0]


def _take(path: Path, arrays: Mapping[str, Any], key: str) -> Any:
    if key not in arrays or arrays[key].ndim == 0:
        raise InputError(
            f"{path} has no array '{abridge(key)}'; it contains: {list_names(arrays)}.",
            "Check the name.",
        )
    return arrays[key]


def _number_labels(path: Path, key: str, labels: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels as numbers int64 [n], and the names of the classes."""
    if labels.ndim == 2 and labels.shape[1] > 1 and _are_numbers(labels):
        labels = labels.argmax(axis=1)  # one-hot, or scores
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind == "f" and np.all((np.abs(labels) < 2**53) & (labels == np.round(labels))):
        labels = labels.astype(np.int64)  # pandas stores whole numbers so where one is missing
    if labels.size != len(labels) or labels.dtype.kind not in "iubU":
        shape = f" of the shape {labels.shape}" if labels.size != len(labels) else ""
        raise InputError(
            f"'{key}' in {path} are {abridge(str(labels.dtype))}{shape}, neither numbers of "
            "classes nor names.",
            "Name the array of the labels: --labels-key NAME.",
        )
    what = f"'{key}' in {path}"
    classes, numbers = np.unique(labels, return_inverse=True)
    require_few_classes(len(classes), what)
    if labels.dtype.kind == "U":
        return numbers.reshape(-1), tuple(name_class(str(name), what) for name in classes)
    return numbers.reshape(-1), tuple(f"class {number}" for number in classes.tolist())


def _are_numbers(values: np.ndarray) -> bool:
    return values.dtype.kind in "iub" or (
        values.dtype.kind == "f" and bool(np.isfinite(values).all())
    )


def _resize_all(images: np.ndarray, size: int, progress: Progress) -> np.ndarray:
    """`images` as `pictures.resize` makes them, uint8 [n, size, size, 3]."""
    resized = np.empty((len(images), size, size, 3), np.uint8)
    for number, image in enumerate(images):
        progress(number, len(images), "scaled")
        resized[number] = np.asarray(resize(Image.fromarray(image), (size, size)))
    return resized


def _as_rgb(path: Path, key: str, images: np.ndarray) -> np.ndarray:
    """`images` as uint8 [n, height, width, 3]."""
    if images.ndim == 3:
        images = images[..., None]
    if images.shape[3] not in (1, 3, 4) and images.shape[1] in (1, 3, 4):
        images = images.transpose(0, 2, 3, 1)
    if images.shape[3] not in (1, 3, 4):
        raise InputError(
            f"'{key}' in {path} has the shape {images.shape}: no channels of grey, RGB or RGBA.",
            "Name the array of the images: --images-key NAME.",
        )
    pixels = to_bytes(images[..., :3], f"'{key}' in {path}")
    return np.repeat(pixels, 3, axis=3) if pixels.shape[3] == 1 else np.ascontiguousarray(pixels)
