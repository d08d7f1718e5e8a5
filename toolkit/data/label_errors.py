"""Finding the labels that are probably wrong: predictions by classifiers that did not see them
contradict them.

By confident learning: Northcutt, Jiang and Chuang, arXiv 1911.00068.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.cleaning import Cleaning
from toolkit.data.dataset import Samples

# Reasons of cleaning for which an image shows none of the classes: no label of it is right.
IRRELEVANT = ("constant", "outlier")
# The weights' variance before any image is seen, times their number: class scores have a standard
# deviation of 2. On the competition's cells, with 1,280 features, the log loss of the predictions
# is 0.67, 0.40, 0.35, 0.34 and 0.56 for variances of 0.0001, 0.001, 0.003, 0.01 and 0.1; at 0.01,
# more of the suspects have right labels than at 0.003, which this number gives.
PRIOR_VARIANCE = 4.0
TOLERANCE = 1e-3  # of the fit: it takes half as long as by default, and predicts as well
ITERATIONS_LIMIT = 500
SEED = 0  # of the folds


@dataclass(frozen=True)
class Suspects:
    """Images whose labels are probably wrong, the surest first.

    ids, given, suggested: int64 [m], the ids and the two labels of each. probabilities: float64
    [m], of the suggested label. margins: float64 [m], how much more probable it is than the given
    one. joint: the confident joint, int64 [classes, classes]: how many of the images with a given
    label, by row, are confidently of the class of the column.
    """

    ids: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    probabilities: np.ndarray
    margins: np.ndarray
    joint: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


def list_relevant(cleaning: Cleaning) -> np.ndarray:
    """The rows whose labels can be right or wrong, int64 [m]: all but outliers and constant images.
    Copies are among them: who corrects a label has to correct those of its copies."""
    return np.flatnonzero(~np.isin(cleaning.reasons, IRRELEVANT))


def predict_out_of_fold(
    features: np.ndarray,
    samples: Samples,
    groups: np.ndarray,
    folds: int,
    progress: Progress = silent,
) -> np.ndarray:
    """Each image's class probabilities, float64 [n, classes], by a logistic regression that was
    fitted on the images of the other folds.

    features: float [n, width], of `samples`. groups: int64 [n], equal for copies and near copies
    (`cleaning.Cleaning.groups`), which are in one fold: a copy with the same wrong label would
    confirm it. Raises InputError when a class has fewer groups than there are folds.
    """
    _require_enough(samples, groups, folds)
    probabilities = np.zeros((len(samples), len(samples.class_names)))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    parts = splitter.split(features, samples.labels, groups)
    for number, (seen, unseen) in enumerate(parts):
        progress(number, folds, f"fold {number + 1} of {folds}")
        classifier = make_pipeline(
            StandardScaler(),
            LogisticRegression(
                C=PRIOR_VARIANCE / features.shape[1], tol=TOLERANCE, max_iter=ITERATIONS_LIMIT
            ),
        )
        with warnings.catch_warnings():
            # Not quite at its optimum, it predicts nearly as it would there.
            warnings.simplefilter("ignore", ConvergenceWarning)
            classifier.fit(features[seen], samples.labels[seen])
        # A class that only this fold has gets no column.
        columns = np.ix_(unseen, classifier.classes_)
        probabilities[columns] = classifier.predict_proba(features[unseen])
    return probabilities


def find_suspects(samples: Samples, probabilities: np.ndarray) -> Suspects:
    """The suspects among `samples`, whose out-of-fold class `probabilities` are float [n, classes].

    An image is confidently of a class if its probability of that class reaches the average among
    the images that have this label; of the most probable class, if of several. Counted by given
    label, that is the confident joint. A suspect is confidently of another class than its label
    says, and that class is the more probable one; the margin between the two ranks the suspects.
    """
    labels = samples.labels
    rows = np.arange(len(samples))
    given = probabilities[rows, labels]
    thresholds = np.full(len(samples.class_names), np.inf)  # no image is of a class without any
    for label in np.unique(labels):
        thresholds[label] = given[labels == label].mean()
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = confident.argmax(axis=1)
    certain = confident.max(axis=1) >= 0
    joint = np.zeros((len(thresholds), len(thresholds)), np.int64)
    np.add.at(joint, (labels[certain], suggested[certain]), 1)
    best = probabilities[rows, suggested]
    margins = best - given
    suspects = np.flatnonzero(certain & (margins > 0))
    suspects = suspects[np.argsort(-margins[suspects], kind="stable")]
    return Suspects(
        samples.ids[suspects],
        labels[suspects],
        suggested[suspects],
        best[suspects],
        margins[suspects],
        joint,
    )


def _require_enough(samples: Samples, groups: np.ndarray, folds: int) -> None:
    pairs = np.unique(np.stack([samples.labels, groups]), axis=1)
    counts = np.bincount(pairs[0], minlength=len(samples.class_names))
    smallest = int(counts.argmin())
    if counts[smallest] < folds:
        raise InputError(
            f"class {smallest} ({samples.class_names[smallest]}) has {counts[smallest]} different "
            f"images after cleaning; {folds} folds need {folds}.",
            "Take fewer folds: --folds 2; or add images.",
        )
