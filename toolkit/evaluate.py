"""Scoring a run on its held-out parts, with the very code that is submitted."""

import json
from dataclasses import dataclass

import numpy as np

from submission.model import Model
from toolkit import metrics, package, shift, split, views
from toolkit.data import Samples
from toolkit.files import write_text
from toolkit.metrics import Scores
from toolkit.pictures import confusion_picture
from toolkit.progress import Progress, silent
from toolkit.runs import Predictions, Run
from toolkit.views import Choice

HELD_OUT = ("validation", "test")
SHIFTED = "{}-shifted"  # the same part, damaged by `toolkit.shift`


@dataclass(frozen=True)
class Evaluation:
    """scores: by part. choice: the views of test-time augmentation, None where they were not looked for."""

    scores: dict[str, Scores]
    choice: Choice | None

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        found = {part: scores.summary for part, scores in self.scores.items()}
        return found | ({"views": self.choice.values} if self.choice else {})


def evaluate(run: Run, samples: Samples, augmented: bool = True, progress: Progress = silent) -> Evaluation:
    """Scores the package of `run` on its validation and test parts, as they are and shifted.

    Exports the package first where there is none, and chooses the views that pay on the shifted validation part;
    the plain one alone unless `augmented`. Writes the predictions, metrics.json and a picture of each confusion matrix.
    Raises InputError for other data than the run's, SubmissionError when package and network disagree.
    """
    parts = split.read(run.split)
    rows = {part: parts.rows(part, samples) for part in HELD_OUT}
    images = {}
    for part, chosen in rows.items():
        images[part] = samples.images[chosen]
        images[SHIFTED.format(part)] = shift.corrupted(images[part], samples.ids[chosen])
    if not package.is_current(run):
        package.export_run(run, images["validation"], progress=progress)
    choice = None
    if augmented:
        choice = _choice(run, images[SHIFTED.format("validation")], samples.labels[rows["validation"]], progress)
    package.choose_views(run, list(choice.chosen.views) if choice else [views.PLAIN])
    model = Model(run.package)
    scores: dict[str, Scores] = {}
    for name, pictures in images.items():
        progress(len(scores), len(images), name)
        chosen = rows[name.removesuffix(SHIFTED.format(""))]
        predictions = Predictions(samples.ids[chosen], model.probabilities(pictures), samples.labels[chosen])
        predictions.save(run.predictions(name))
        scores[name] = metrics.scores(predictions.labels, predictions.predicted, len(samples.class_names))
        confusion_picture(scores[name].confusion, samples.class_names, run.folder / f"confusion_{name}.png")
    progress(1, 1, "")
    evaluation = Evaluation(scores, choice)
    write_text(run.metrics, json.dumps(evaluation.values, indent=2) + "\n")
    return evaluation


def _choice(run: Run, images: np.ndarray, labels: np.ndarray, progress: Progress) -> Choice:
    """Looks at `images` in every view by itself."""
    found, names = {}, views.applicable(images.shape[1:])
    model = Model(run.package)
    for view in names:
        progress(len(found), len(names), f"view {view}")
        model.manifest["networks"][0]["views"] = [view]
        found[view] = model.probabilities(images)
    return views.choose(found, labels)
