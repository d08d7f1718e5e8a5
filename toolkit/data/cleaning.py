"""Finding the images that do not belong: broken ones, outliers, and copies. Nothing is deleted
anywhere."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.decomposition import PCA

from toolkit.core.config import CleanConfig
from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.data import near_copies
from toolkit.data.dataset import Samples

THUMBNAIL = 24  # pixels a side: the PCA sees shapes and colours, not noise
# Share of the farthest images the second PCA is not fitted on, so that outliers cannot bend it.
TRIM = 0.02
FLATTEST = 8  # grey levels between an image's darkest and brightest value; less shows nothing
COLUMNS = ("id", "reason", "score", "kept", "x", "y")  # of clean.csv
MIN_FOR_PCA = 20  # below this, distances say nothing


@dataclass(frozen=True)
class Cleaning:
    """What was found for each image, in file order.

    ids: int64 [n]. reasons: why it is dropped, "" where it is kept. scores: float64 [n], robust
    z-score of the log distance from the origin of the whitened PCA space. coordinates: float32 [n,
    2], the first two whitened components. groups: int64 [n], equal for copies and near copies.
    """

    ids: np.ndarray
    reasons: tuple[str, ...]
    scores: np.ndarray
    coordinates: np.ndarray
    groups: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """bool [n]"""
        return np.array([reason == "" for reason in self.reasons])


def shorten_reason(reason: str) -> str:
    """A reason without the image that is copied: "copy of 17" as "copy"."""
    return reason.split(" of ")[0]


def count_reasons(reasons: Iterable[str]) -> dict[str, int]:
    """How many images are dropped for each of `reasons`, shortened; the most frequent first."""
    return dict(Counter(shorten_reason(reason) for reason in reasons if reason).most_common())


def list_counts(reasons: Sequence[str]) -> list[tuple[str, int]]:
    """How many images are kept, and how many dropped for each of `reasons`: rows for a table."""
    counts = count_reasons(reasons)
    kept = len(reasons) - sum(counts.values())
    return [("kept", kept), *((f"dropped: {reason}", count) for reason, count in counts.items())]


def clean(samples: Samples, config: CleanConfig) -> Cleaning:
    """Decides for every image of `samples` whether it is kept.

    An image is dropped when it is constant; when it is an outlier; when the same picture also
    stands under another label, which makes all its labels worthless; or when it copies an earlier
    image. Copies of one picture count once in the PCA: 1,600 copies would otherwise be its first
    axis, and look ordinary.
    """
    pixels = samples.images.reshape(len(samples), -1)
    broken = pixels.max(axis=1) - pixels.min(axis=1) < FLATTEST
    if broken.all():
        raise InputError(
            "every image is constant, so training is impossible.",
            "Check the program that wrote the file.",
        )
    exact = _group_exact_copies(samples.images)
    groups = _group_near_copies(samples.images, exact, config.near_copy_bits)
    first_of_exact = np.unique(exact, return_index=True)[1]
    # Constant images are no pictures: they would shift the centre that distances are measured from.
    whole = np.sort(first_of_exact[~broken[first_of_exact]])
    scores, coordinates = np.zeros(len(samples)), np.zeros((len(samples), 2), np.float32)
    scores[whole], coordinates[whole] = score_outliers(
        _make_thumbnails(samples.images, whole), config.components
    )
    # Each copy gets the score of the one image that was scored for it.
    leader = first_of_exact[exact]
    scores, coordinates = scores[leader], coordinates[leader]
    reasons = [""] * len(samples)
    for row in range(len(samples)):
        if broken[row]:
            reasons[row] = "constant"
        elif scores[row] > config.outlier_score:
            reasons[row] = "outlier"
    for members in _list_groups_of_several(groups):
        _drop_copies(members, samples, exact, reasons)
    kept = np.array([reason == "" for reason in reasons])
    groups = _number_by_content(groups, exact, kept)
    return Cleaning(samples.ids, tuple(reasons), scores, coordinates, groups)


def keep_all(samples: Samples, config: CleanConfig) -> Cleaning:
    """The cleaning that keeps every image, for runs on uncleaned data."""
    n = len(samples)
    groups = group_copies(samples.images, config.near_copy_bits)
    return Cleaning(samples.ids, ("",) * n, np.zeros(n), np.zeros((n, 2), np.float32), groups)


def score_outliers(pixels: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of images from the origin of their centred, whitened PCA space. pixels: of their
    thumbnails, float32 [n, m] in 0..1.

    Returns the robust z-scores (median and median absolute deviation) of the log distances, float64
    [n], and the first two whitened components, float32 [n, 2]. The space has `components` axes,
    fewer for small sets: a tenth of the images.
    """
    if len(pixels) < MIN_FOR_PCA:
        return np.zeros(len(pixels)), np.zeros((len(pixels), 2), np.float32)
    # With as many axes as images, every image would be equally far from the centre.
    axes = max(2, min(components, len(pixels) // 10))
    trusted = np.ones(len(pixels), bool)
    # The second fit leaves out the images that are farthest in the first: outliers among the images
    # turn the axes towards themselves, and then seem near.
    for _ in range(2):
        pca = PCA(axes, copy=False, whiten=True, svd_solver="randomized", random_state=0)
        pca.fit(pixels[trusted])  # of which it changes a copy
        whitened = pca.transform(pixels)
        distance = np.sqrt(np.square(whitened).sum(axis=1, dtype=np.float64))
        trusted = distance <= np.quantile(distance, 1 - TRIM)
    logs = np.log(np.maximum(distance, 1e-12))
    deviation = np.median(np.abs(logs - np.median(logs)))
    # 1.4826 turns the median absolute deviation of a normal distribution into its standard
    # deviation.
    return (logs - np.median(logs)) / max(1.4826 * deviation, 1e-12), whitened[:, :2]


def group_copies(images: np.ndarray, near_copy_bits: int) -> np.ndarray:
    """The group of each image of `images` (uint8 [n, h, w, 3]), int64 [n]: equal for copies and
    near copies.

    Near copies are images whose 256-bit perceptual hashes (DCT, `imagehash.phash`) differ in at
    most `near_copy_bits` bits, directly or through a chain of such images.
    """
    return _group_near_copies(images, _group_exact_copies(images), near_copy_bits)


def write_csv(cleaning: Cleaning, path: Path) -> None:
    """Writes one row an image, in file order: id, reason, score, kept (0 or 1), and x and y, its
    first two whitened components."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row, reason in enumerate(cleaning.reasons):
            numbers = (f"{value:.3f}" for value in cleaning.coordinates[row])
            writer.writerow(
                (
                    cleaning.ids[row],
                    reason,
                    f"{cleaning.scores[row]:.3f}",
                    int(reason == ""),
                    *numbers,
                )
            )


def _group_exact_copies(images: np.ndarray) -> np.ndarray:
    """int64 [n], equal for images that agree in every pixel."""
    digests = [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest() for image in images]
    return np.unique(digests, return_inverse=True)[1].reshape(-1)


def _group_near_copies(images: np.ndarray, exact: np.ndarray, near_copy_bits: int) -> np.ndarray:
    """The groups of `group_copies`, for images whose groups of equal pixels are `exact`."""
    first = np.unique(exact, return_index=True)[1]
    # One hash for each distinct picture.
    hashes = np.stack([near_copies.hash_image(images[row]) for row in first])
    return near_copies.group_hashes(hashes, near_copy_bits)[exact]


def _number_by_content(groups: np.ndarray, exact: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """`groups`, numbered anew in the order of the smallest digest among their kept images.

    The split draws from the groups in the order of their numbers. Numbered so, it depends on the
    kept images alone: which copies were dropped does not change it.
    """
    smallest = np.full(groups.max() + 1, len(groups))
    np.minimum.at(smallest, groups[kept], exact[kept])
    order = np.argsort(smallest, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return number[groups]


def _list_groups_of_several(groups: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    # In sorted order, a group starts where the number differs from the one before it.
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return [members for members in np.split(order, starts[1:]) if len(members) > 1]


def _drop_copies(
    members: np.ndarray, samples: Samples, exact: np.ndarray, reasons: list[str]
) -> None:
    """Writes the reasons of one group of copies into `reasons`.

    Outliers and constant images keep the reason they have.
    """
    copies = [row for row in members if reasons[row] == ""]
    # Which of the labels is right is unknown, and a wrong one harms more than a missing image.
    if len({samples.labels[row] for row in copies}) > 1:
        for row in copies:
            reasons[row] = "same picture under several labels"
        return
    for row in copies[1:]:
        kind = "copy" if exact[row] == exact[copies[0]] else "near copy"
        reasons[row] = f"{kind} of {samples.ids[copies[0]]}"


def _make_thumbnails(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The pixels of small copies of the images at `rows`, float32 [n, m] in 0..1."""
    pixels = np.empty((len(rows), THUMBNAIL * THUMBNAIL * 3), np.float32)
    for place, row in enumerate(rows):
        picture = Image.fromarray(images[row])
        small = picture.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        pixels[place] = np.asarray(small, np.float32).ravel()
    pixels /= np.float32(255)
    return pixels
