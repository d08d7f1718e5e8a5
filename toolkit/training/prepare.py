"""The first stage of a run: clean the samples and split what is kept."""

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
        found = cleaning.clean(samples, settings.clean)
    else:
        found = cleaning.keep_all(samples, settings.clean)
    cleaning.write_csv(found, run.clean)
    kept = np.flatnonzero(found.kept)
    parts = splitting.split(samples, kept, found.groups[kept], settings.split)
    splitting.write(parts, run.split)
    return found, parts
