"""The first stage of a run: cleaning and splitting."""

import numpy as np

from toolkit.core.config import Config
from toolkit.data import cleaning, splitting
from toolkit.data.dataset import Samples
from toolkit.training.run_folder import Run


def prepare(
    run: Run, samples: Samples, settings: Config
) -> tuple[cleaning.Cleaning, splitting.Split]:
    """Cleans and splits `samples` as `settings` say; writes clean.csv and split.json into the
    run."""
    if settings.clean.enabled:
        found = cleaning.find(samples, settings.clean)
    else:
        found = cleaning.nothing(samples)
    cleaning.write_csv(found, run.clean)
    parts = splitting.stratified(
        samples, np.flatnonzero(found.kept), settings.split, settings.clean.near_copy_bits
    )
    splitting.write(parts, run.split)
    return found, parts
