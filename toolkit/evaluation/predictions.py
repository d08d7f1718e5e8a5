"""What a network predicts for the images of a part, and where the run folder keeps it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core.arrays import read_arrays
from toolkit.core.contract import MetricName
from toolkit.core.damage import guard
from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.evaluation.metrics import Scored
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class Predictions:
    """What a network predicts for some images: metrics and comparisons need nothing else.

    ids: int64 [n], rows of the data file. probabilities: float32 [n, classes]. labels: int64 [n],
    the truth.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class, int64 [n]."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> np.ndarray:
        """Whether the most probable class is the true one, bool [n]."""
        return self.predicted == self.labels

    def scored(self, metric: MetricName) -> Scored:
        """These predictions by `metric`: of copies of images, one copy of all after the other."""
        images = len(np.unique(self.ids))
        return Scored(metric, self.probabilities, self.labels[:images])

    def save(self, path: Path) -> None:
        """Writes the three arrays as npz."""
        with atomic(path) as temporary:
            np.savez(temporary, ids=self.ids, probabilities=self.probabilities, labels=self.labels)


def read_predictions(run: Run, part: str, condition: str) -> Predictions:
    """What `evaluate` stored for `part` under `condition`. Raises InputError when it has not."""
    path = run.predictions(part, condition)
    hint = f"Run: cbtool evaluate --run {run.folder}."
    if not path.exists():
        raise InputError(f"{path} cannot be read: there is no such file.", hint)
    with guard(path, hint, "cannot be read"):
        arrays = read_arrays(path, hint)
        return Predictions(arrays["ids"], arrays["probabilities"], arrays["labels"])
