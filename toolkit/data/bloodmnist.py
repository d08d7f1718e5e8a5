"""Public training data, for people without the course's file: fetched, checked and converted."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests

from toolkit.core import http
from toolkit.core.arrays import read_arrays
from toolkit.core.errors import InputError
from toolkit.core.files import digest, write_error
from toolkit.core.progress import Progress, silent
from toolkit.data import dataset
from toolkit.data.dataset import CELL_NAMES, Samples

ATTEMPTS = 5  # requests until a broken connection is given up
PAUSE = 1.0  # seconds before the second request; doubles each time
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Source:
    """A file on the web and its MD5, as its publishers state it."""

    url: str
    md5: str


_RECORD = "https://zenodo.org/records/10519652/files"
# BloodMNIST (Yang et al., MedMNIST v2, Scientific Data 10, 2023; CC BY 4.0) by side in pixels.
BLOODMNIST = {
    64: Source(f"{_RECORD}/bloodmnist_64.npz?download=1", "2b94928a2ae4916078ca51e05b6b800b"),
    128: Source(f"{_RECORD}/bloodmnist_128.npz?download=1", "adace1e0ed228fccda1f39692059dd4c"),
    224: Source(f"{_RECORD}/bloodmnist_224.npz?download=1", "b718ff6835fcbdb22ba9eacccd7b2601"),
}
PARTS = {"train": "train", "validation": "val", "test": "test"}


def fetch(source: Source, path: Path, progress: Progress = silent) -> None:
    """Fetches `source` to `path`. What has come is kept as `path`.part, and taken up from there
    next time.

    Raises InputError when the server cannot be reached or refuses, or the checksum is wrong (the
    part is then removed: it would be wrong again).
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(source, part, progress)
        if digest(part, "md5") != source.md5:
            part.unlink()
            raise InputError(
                f"the file from {source.url} has a wrong checksum.",
                "Run the same command again. If the checksum is wrong again, report it.",
            )
        part.replace(path)
    except OSError as error:
        raise write_error(path, error) from error


def convert(path: Path, part: str) -> Samples:
    """The `part` ("train", "validation", "test") of a BloodMNIST file as samples."""
    # The published file has the checksum that `fetch` compared.
    arrays = read_arrays(path)
    images, labels = arrays[f"{PARTS[part]}_images"], arrays[f"{PARTS[part]}_labels"]
    return Samples(images, labels.reshape(-1).astype(np.int64), np.arange(len(images)), CELL_NAMES)


def bloodmnist(size: int, part: str, path: Path, cache: Path, progress: Progress = silent) -> None:
    """Writes `part` of BloodMNIST at `size` pixels to `path`; the published file stays in `cache`
    for other parts."""
    source = BLOODMNIST[size]
    original = cache / f"bloodmnist_{size}.npz"
    # The checksum again, because the file may have been changed since it was fetched.
    if not original.exists() or digest(original, "md5") != source.md5:
        fetch(source, original, progress)
    dataset.save(convert(original, part), path)


def _download(source: Source, part: Path, progress: Progress) -> None:
    """Completes `part` with what it lacks of `source`."""
    try:
        http.download(
            source.url,
            part,
            attempts=ATTEMPTS,
            pause=PAUSE,
            timeout=TIMEOUT,
            name=part.name.removesuffix(".part"),
            progress=progress,
        )
    except requests.HTTPError as error:
        response = error.response
        assert response is not None  # `download` promises it
        raise InputError(
            f"{source.url} answered {response.status_code} {response.reason}.", "Try again later."
        ) from error
    except requests.RequestException as error:
        raise InputError(
            f"the download of {source.url} was interrupted: {http.reason(error)}.",
            "Run the same command again: it continues where it stopped.",
        ) from error
