"""Scoring a run on its held-out parts, with the very code that is submitted."""

import json

import keras
import numpy as np

from submission.model import Model
from toolkit import metrics, package, split
from toolkit.data import Samples
from toolkit.files import write_text
from toolkit.metrics import Scores
from toolkit.pictures import confusion_picture
from toolkit.progress import Progress, silent
from toolkit.runs import Predictions, Run

HELD_OUT = ("validation", "test")


def evaluate(run: Run, samples: Samples, progress: Progress = silent) -> dict[str, Scores]:
    """Scores the package of `run` on its validation and test parts.

    Exports the package first where there is none, and compares its labels of the validation part with those of
    the trained Keras network. Writes the predictions, metrics.json and a picture of each confusion matrix.
    Raises InputError for other data than the run's, SubmissionError when package and network disagree.
    """
    parts = split.read(run.split)
    rows = {part: parts.rows(part, samples) for part in HELD_OUT}
    model = Model(package.export_run(run))
    results = {}
    for number, (part, chosen) in enumerate(rows.items()):
        progress(number, len(rows), part)
        predictions = Predictions(
            samples.ids[chosen], model.probabilities(samples.images[chosen]), samples.labels[chosen]
        )
        if part == "validation":
            scores = package.trained(run).predict(samples.images[chosen].astype(np.float32), verbose=0)
            package.verify(run, predictions.probabilities, keras.ops.convert_to_numpy(keras.ops.softmax(scores)))
        predictions.save(run.predictions(part))
        results[part] = metrics.scores(predictions.labels, predictions.predicted, len(samples.class_names))
        confusion_picture(results[part].confusion, samples.class_names, run.folder / f"confusion_{part}.png")
    progress(len(rows), len(rows), "")
    write_text(run.metrics, json.dumps({part: scores.summary for part, scores in results.items()}, indent=2) + "\n")
    return results
