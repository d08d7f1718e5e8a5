"""Scoring a run on its held-out parts, with the very code that is submitted."""

import json

import keras
import numpy as np

from submission.model import Model
from toolkit import metrics, package, shift, split
from toolkit.data import Samples
from toolkit.files import write_text
from toolkit.metrics import Scores
from toolkit.pictures import confusion_picture
from toolkit.progress import Progress, silent
from toolkit.runs import Predictions, Run

HELD_OUT = ("validation", "test")
SHIFTED = "{}-shifted"  # the same part, damaged by `toolkit.shift`


def evaluate(run: Run, samples: Samples, progress: Progress = silent) -> dict[str, Scores]:
    """Scores the package of `run` on its validation and test parts, as they are and shifted.

    Exports the package first where there is none, and compares its labels of the validation part with those of
    the trained Keras network. Writes the predictions, metrics.json and a picture of each confusion matrix.
    Raises InputError for other data than the run's, SubmissionError when package and network disagree.
    """
    parts = split.read(run.split)
    rows = {part: parts.rows(part, samples) for part in HELD_OUT}
    model = Model(package.export_run(run))
    results: dict[str, Scores] = {}

    def score(name: str, images: np.ndarray, chosen: np.ndarray) -> Predictions:
        progress(len(results), 2 * len(rows), name)
        predictions = Predictions(samples.ids[chosen], model.probabilities(images), samples.labels[chosen])
        predictions.save(run.predictions(name))
        results[name] = metrics.scores(predictions.labels, predictions.predicted, len(samples.class_names))
        confusion_picture(results[name].confusion, samples.class_names, run.folder / f"confusion_{name}.png")
        return predictions

    for part, chosen in rows.items():
        images = samples.images[chosen]
        plain = score(part, images, chosen)
        if part == "validation":
            scores = package.trained(run).predict(images.astype(np.float32), verbose=0)
            package.verify(run, plain.probabilities, keras.ops.convert_to_numpy(keras.ops.softmax(scores)))
        score(SHIFTED.format(part), shift.corrupted(images, samples.ids[chosen]), chosen)
    progress(1, 1, "")
    write_text(run.metrics, json.dumps({part: scores.summary for part, scores in results.items()}, indent=2) + "\n")
    return results
