"""Splitting into training, validation and test parts, stratified, with copies kept on one side."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import FailFast
from sklearn.model_selection import train_test_split

from toolkit.core import records
from toolkit.core.config import SplitConfig
from toolkit.core.errors import InputError
from toolkit.data.dataset import Samples

IMAGES_LIMIT = 5_000_000  # that a split may list
# The first that is no number is told; all of them would take memory for each.
Ids = Annotated[tuple[int, ...], FailFast()]


@records.strict
@dataclass(frozen=True)
class Split:
    """The ids of each part, sorted, with the seed and the fingerprint of the data they index."""

    train: Ids
    validation: Ids
    test: Ids
    seed: int
    fingerprint: str

    def rows(self, part: str, samples: Samples) -> np.ndarray:
        """The positions of `part`'s ids in `samples`. Raises InputError for other data than was
        split."""
        if samples.fingerprint != self.fingerprint:
            raise InputError(
                "the data is not the data of this run (its pixels or labels differ).",
                "Give the file that the run was trained on: --data FILE.",
            )
        # An id is a row of the whole file. The fingerprint is equal only for the whole file in its
        # order, so the ids serve as rows here; in a part of the samples they would not.
        ids = getattr(self, part)
        if any(not 0 <= number < len(samples) for number in ids):
            raise InputError(
                f"the split lists images that the data has not: it has {len(samples):,}.",
                "Train the run again.",
            )
        return np.array(ids, np.int64)


def split(samples: Samples, ids: np.ndarray, groups: np.ndarray, config: SplitConfig) -> Split:
    """Splits the images with the given `ids` (positions in `samples`), stratified by class.

    groups: int64 [len(ids)], equal for copies and near copies (`cleaning.Cleaning.groups`), which
    go to one part together. The same seed gives the same parts. Raises InputError when a class has
    too few different images for the three parts.
    """
    # Groups are split, not images: a copy in another part would make its score too high. A group
    # counts for the class of its first image; on cleaned data, the others have the same class.
    _, first, groups = np.unique(groups, return_index=True, return_inverse=True)
    kinds = samples.labels[ids[first]]
    _require_enough(samples, kinds, config)
    held = config.validation + config.test
    train, rest = train_test_split(
        np.arange(len(first)), test_size=held, stratify=kinds, random_state=config.seed
    )
    # The second split divides what the first held out, so its share is one of that.
    validation, test = train_test_split(
        rest, test_size=config.test / held, stratify=kinds[rest], random_state=config.seed
    )

    def ids_of(part: np.ndarray) -> tuple[int, ...]:
        return tuple(np.sort(ids[np.isin(groups, part)]).tolist())

    return Split(ids_of(train), ids_of(validation), ids_of(test), config.seed, samples.fingerprint)


def write(parts: Split, path: Path) -> None:
    """Writes `parts` as JSON."""
    records.write(parts, path, indent=None)


def read(path: Path) -> Split:
    """Reads what `write` wrote. Raises InputError when it is missing or damaged."""
    if not path.exists():
        raise InputError(f"there is no split in {path.parent}.", "Train the run: cbtool train.")
    return records.read(Split, path, "Train the run again.", IMAGES_LIMIT)


def _require_enough(samples: Samples, kinds: np.ndarray, config: SplitConfig) -> None:
    # Checked here, because scikit-learn's own error names neither the class nor a way out.
    counts = np.bincount(kinds, minlength=len(samples.class_names))
    smallest = int(counts.argmin())
    needed = int(np.ceil(1 / min(config.validation, config.test)))
    if counts[smallest] < needed:
        raise InputError(
            f"class {smallest} ({samples.class_names[smallest]}) has {counts[smallest]} different "
            "images after cleaning;"
            f" the split needs {needed} to put one in each part.",
            "Add images, or hold out more: --set split.validation=0.2 --set split.test=0.2.",
        )
