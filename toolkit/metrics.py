"""Scores of predicted labels."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True)
class Scores:
    """Shares in 0..1 over n images; precision, recall and f1 are means over the classes that occur or are predicted.

    per_class: one (precision, recall, f1, images) a class, in class order. confusion: int64
    [classes, classes], rows the truth.
    """

    n: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    per_class: tuple[tuple[float, float, float, int], ...]
    confusion: np.ndarray

    @property
    def summary(self) -> dict[str, float]:
        """The numbers of a line in a table, ready for JSON."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "macro_precision": self.precision,
            "macro_recall": self.recall,
            "macro_f1": self.f1,
        }


def scores(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Scores:
    """Scores of `predicted` against `truth`, both int [n] in 0..classes-1."""
    every = list(range(classes))
    columns = precision_recall_fscore_support(truth, predicted, labels=every, zero_division=0)
    present = np.union1d(truth, predicted)
    precision, recall, f1 = (float(np.mean(column[present])) for column in columns[:3])
    per_class = tuple((float(p), float(r), float(f), int(n)) for p, r, f, n in zip(*columns))
    accuracy = float(np.mean(truth == predicted))
    return Scores(
        len(truth), accuracy, precision, recall, f1, per_class, confusion_matrix(truth, predicted, labels=every)
    )
