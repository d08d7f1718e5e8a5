"""The first stage of a run: clean the samples and split what is kept."""

from dataclasses import dataclass

import numpy as np

from toolkit.core.config import Config
from toolkit.data import cleaning, splitting
from toolkit.data.cleaning import Cleaning
from toolkit.data.dataset import Samples
from toolkit.data.splitting import Split


@dataclass(frozen=True)
class Prepared:
    """Samples, which of them are kept and why, and the part of each that is."""

    samples: Samples
    cleaning: Cleaning
    parts: Split


def prepare(samples: Samples, settings: Config) -> Prepared:
    """Cleans and splits `samples` as `settings` say. Nothing is written.

    Raises InputError when every image is constant, or a class has too few images to be split.
    """
    if settings.clean.enabled:
        found = cleaning.clean(samples, settings.clean)
    else:
        found = cleaning.keep_all(samples, settings.clean)
    # Cleaned before it is split: an outlier in a held-out part would be scored as an error.
    kept = np.flatnonzero(found.kept)
    parts = splitting.split(samples, kept, found.groups[kept], settings.split)
    return Prepared(samples, found, parts)
