"""Finding the images that do not belong: broken ones, outliers, and copies. Nothing is deleted
anywhere."""

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from sklearn.cluster import DBSCAN
from sklearn.decomposition import PCA

from toolkit.core.config import CleanConfig
from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.data.dataset import Samples
from toolkit.report import plots

THUMBNAIL = 24  # pixels a side: the PCA sees shapes and colours, not noise
# Share of the farthest images the second PCA is not fitted on, so that outliers cannot bend it.
TRIM = 0.02
HASH_SIDE = 16  # 256-bit hashes: at 64 bits, unrelated centred cells collide
FLATTEST = 8  # grey levels between an image's darkest and brightest value; less shows nothing
FEWEST_FOR_PCA = 20  # below this, distances say nothing


@dataclass(frozen=True)
class Cleaning:
    """What was found for each image, in file order.

    ids: int64 [n]. reasons: why it is dropped, "" where it is kept. scores: float64 [n], robust
    z-score of the log distance from the origin of the whitened PCA space. coordinates: float32 [n,
    2], the first two whitened components.
    """

    ids: np.ndarray
    reasons: tuple[str, ...]
    scores: np.ndarray
    coordinates: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """bool [n]"""
        return np.array([reason == "" for reason in self.reasons])


def find(samples: Samples, config: CleanConfig) -> Cleaning:
    """Judges every image of `samples`.

    An image is dropped when it is constant; when it is an outlier; when the same picture also
    stands under another label, which makes all its labels worthless; or when it copies an earlier
    image. Copies of one picture count once in the PCA: 1,600 copies would otherwise be its first
    axis, and look ordinary.
    """
    pixels = samples.images.reshape(len(samples), -1)
    broken = pixels.max(axis=1) - pixels.min(axis=1) < FLATTEST
    if broken.all():
        raise InputError(
            "every image is constant: there is nothing to learn from.",
            "Check how the file was written.",
        )
    groups = copy_groups(samples.images, config.near_copy_bits)
    exact = _exact_groups(samples.images)
    first_of_exact = np.unique(exact, return_index=True)[1]
    whole = np.sort(first_of_exact[~broken[first_of_exact]])
    scores, coordinates = np.zeros(len(samples)), np.zeros((len(samples), 2), np.float32)
    scores[whole], coordinates[whole] = outlier_scores(samples.images[whole], config.components)
    leader = first_of_exact[exact]
    scores, coordinates = scores[leader], coordinates[leader]
    reasons = [""] * len(samples)
    for row in range(len(samples)):
        if broken[row]:
            reasons[row] = "constant"
        elif scores[row] > config.outlier_score:
            reasons[row] = "outlier"
    for members in _groups_of_several(groups):
        _judge_copies(members, samples, exact, reasons)
    return Cleaning(samples.ids, tuple(reasons), scores, coordinates)


def nothing(samples: Samples) -> Cleaning:
    """The cleaning that keeps every image, for runs on uncleaned data."""
    n = len(samples)
    return Cleaning(samples.ids, ("",) * n, np.zeros(n), np.zeros((n, 2), np.float32))


def outlier_scores(images: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of `images` (uint8 [n, h, w, 3]) from the origin of their centred, whitened PCA
    space.

    Returns the robust z-scores (median and median absolute deviation) of the log distances, float64
    [n], and the first two whitened components, float32 [n, 2]. The space has `components` axes,
    fewer for small sets: a tenth of the images.
    """
    if len(images) < FEWEST_FOR_PCA:
        return np.zeros(len(images)), np.zeros((len(images), 2), np.float32)
    pixels = np.stack([_thumbnail(image) for image in images]) / np.float32(255)
    axes = max(2, min(components, len(images) // 10))
    trusted = np.ones(len(images), bool)
    for _ in range(2):
        pca = PCA(axes, whiten=True, svd_solver="randomized", random_state=0).fit(pixels[trusted])
        whitened = pca.transform(pixels)
        distance = np.sqrt(np.square(whitened).sum(axis=1, dtype=np.float64))
        trusted = distance <= np.quantile(distance, 1 - TRIM)
    logs = np.log(np.maximum(distance, 1e-12))
    deviation = np.median(np.abs(logs - np.median(logs)))
    # 1.4826 turns the median absolute deviation of a normal distribution into its standard
    # deviation.
    return (logs - np.median(logs)) / max(1.4826 * deviation, 1e-12), whitened[:, :2]


def copy_groups(images: np.ndarray, near_copy_bits: int) -> np.ndarray:
    """The group of each image of `images` (uint8 [n, h, w, 3]), int64 [n]: equal for copies and
    near copies.

    Near copies are images whose 256-bit perceptual hashes (DCT, `imagehash.phash`) differ in at
    most `near_copy_bits` bits, directly or through a chain of such images.
    """
    exact = _exact_groups(images)
    first = np.unique(exact, return_index=True)[1]
    bits = np.stack(
        [imagehash.phash(Image.fromarray(images[row]), HASH_SIDE).hash.ravel() for row in first]
    )
    # With single-member cores, DBSCAN's clusters are connected components; squared distance counts
    # bits.
    near = DBSCAN(eps=np.sqrt(near_copy_bits + 0.5), min_samples=1, algorithm="brute").fit_predict(
        bits.astype(np.float32)
    )
    return near[exact]


def write_csv(cleaning: Cleaning, path: Path) -> None:
    """Writes one row an image, in file order: id, reason, score, kept (0 or 1)."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "reason", "score", "kept"))
        for row, reason in enumerate(cleaning.reasons):
            writer.writerow(
                (cleaning.ids[row], reason, f"{cleaning.scores[row]:.3f}", int(reason == ""))
            )


def write_pictures(cleaning: Cleaning, folder: Path) -> None:
    """Writes clean_before.png and clean_after.png: the PCA scatter with and without the dropped
    images."""
    kept = cleaning.kept
    plots.scatter(
        cleaning.coordinates,
        kept,
        "Whitened PCA of the images, before cleaning",
        folder / "clean_before.png",
    )
    after = cleaning.coordinates[kept]
    plots.scatter(
        after,
        np.ones(len(after), bool),
        "Whitened PCA of the images, after cleaning",
        folder / "clean_after.png",
    )


def _exact_groups(images: np.ndarray) -> np.ndarray:
    """int64 [n], equal for images that agree in every pixel."""
    digests = [hashlib.sha256(np.ascontiguousarray(image)).hexdigest() for image in images]
    return np.unique(digests, return_inverse=True)[1].reshape(-1)


def _groups_of_several(groups: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    return [members for members in np.split(order, starts[1:]) if len(members) > 1]


def _judge_copies(
    members: np.ndarray, samples: Samples, exact: np.ndarray, reasons: list[str]
) -> None:
    """Writes the reasons of one group of copies: outliers and constant images keep the reason they
    have."""
    members = [row for row in members if reasons[row] == ""]
    if len({samples.labels[row] for row in members}) > 1:
        for row in members:
            reasons[row] = "same picture under several labels"
        return
    for row in members[1:]:
        kind = "copy" if exact[row] == exact[members[0]] else "near copy"
        reasons[row] = f"{kind} of {samples.ids[members[0]]}"


def _thumbnail(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, np.float32).ravel()
