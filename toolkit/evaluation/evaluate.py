"""Scoring a run on its held-out parts, with the very code that is submitted."""

import json
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from submission.model import Model
from toolkit.augment import families
from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from toolkit.core.progress import Progress, silent
from toolkit.data import shift, splitting
from toolkit.data.dataset import Samples
from toolkit.evaluation import metrics, shift_benchmark, tta
from toolkit.evaluation.calibration import Steps
from toolkit.evaluation.calibration import choose as choose_steps
from toolkit.evaluation.predictions import Predictions
from toolkit.evaluation.shift_benchmark import Judgement
from toolkit.evaluation.tta import Choice
from toolkit.export import package
from toolkit.report.plots import confusion_picture
from toolkit.training.run_folder import Run

HELD_OUT = ("validation", "test")
# Chains that views and steps are chosen on: others than those that are scored.
CHOOSING_DRAWS = (2000, 2001)


@dataclass(frozen=True)
class Part:
    """A held-out part: how it was judged, and how well confidence fits, [as it is, chained] without
    steps and with."""

    judgement: Judgement
    calibration: dict[str, dict[str, float]]

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        return self.judgement.values | {"calibration": self.calibration}


@dataclass(frozen=True)
class Evaluation:
    """parts: by name. choice: the views of test-time augmentation, None where they were not looked
    for. steps: those after training that pay."""

    parts: dict[str, Part]
    choice: Choice | None
    steps: Steps

    @property
    def values(self) -> dict:
        """As a dictionary, ready for JSON."""
        found = {name: part.values for name, part in self.parts.items()}
        return (
            found
            | {"steps": self.steps.values}
            | ({"views": self.choice.values} if self.choice else {})
        )


def evaluate(
    run: Run,
    samples: Samples,
    test: bool = False,
    augmented: bool = True,
    progress: Progress = silent,
) -> Evaluation:
    """Scores the package of `run` on its validation part, and with `test` on its test part, which
    is noted down.

    Exports the package first where there is none. Chooses, on corrupted validation images, the
    views that pay, the plain one alone unless `augmented`, and the steps after training that pay.
    Writes the predictions, metrics.json and a picture of each confusion matrix. Raises InputError
    for other data than the run's, or a class that a part lacks; SubmissionError when package and
    network disagree.
    """
    parts = splitting.read(run.split)
    names = HELD_OUT if test else HELD_OUT[:1]
    held_out = {name: _whole(samples.take(parts.rows(name, samples)), name) for name in names}
    if test:
        _note_opening(run)
    if not package.is_current(run):
        package.export_run(run, held_out["validation"].images, progress=progress)
    shares = np.bincount(
        samples.labels[parts.rows("train", samples)], minlength=len(samples.class_names)
    )
    choice, steps = _chosen(run, held_out["validation"], shares / shares.sum(), augmented, progress)
    package.choose(run, list(choice.chosen.views) if choice else [tta.PLAIN], steps)
    known = families.known(config.read(run.config))
    found = {
        name: _judged(run, name, each, steps, known, progress) for name, each in held_out.items()
    }
    evaluation = Evaluation(found, choice, steps)
    write_text(run.metrics, json.dumps(evaluation.values, indent=2) + "\n")
    return evaluation


def openings(run: Run) -> list[str]:
    """The times at which the test part of `run` was opened, oldest first."""
    return (
        json.loads(run.test_openings.read_text(encoding="utf-8"))
        if run.test_openings.exists()
        else []
    )


def _note_opening(run: Run) -> None:
    """Notes that the test part of `run` is opened now: what is looked at often is no test any
    more."""
    times = [*openings(run), datetime.now(timezone.utc).isoformat(timespec="seconds")]
    write_text(run.test_openings, json.dumps(times, indent=1) + "\n")


def _whole(part: Samples, name: str) -> Samples:
    missing = np.setdiff1d(np.arange(len(part.class_names)), part.labels)
    if len(missing):
        raise InputError(
            f"the {name} part has no image of class {missing[0]} ({part.class_names[missing[0]]}).",
            "Train on a file that has enough of each class, or hold out more: --set "
            "split.validation=0.2.",
        )
    return shift_benchmark.subject(part)


def _chosen(
    run: Run, part: Samples, shares: np.ndarray, augmented: bool, progress: Progress
) -> tuple[Choice | None, Steps]:
    """Looks at corrupted copies of `part` in every view by itself, then at the steps for what the
    best ones give."""
    copies = shift.mixtures(part, CHOOSING_DRAWS).images
    labels, found = np.resize(part.labels, len(copies)), {}
    model = Model(run.package)
    package.without_steps(model.manifest)
    names = tta.applicable(part.images.shape[1:]) if augmented else [tta.PLAIN]
    for view in names:
        progress(len(found), 2 * len(names), f"view {view}")
        model.manifest["networks"][0]["views"] = [view]
        found[view] = model.probabilities(copies)
    choice = tta.choose(found, labels) if augmented else None
    chosen = choice.chosen.views if choice else (tta.PLAIN,)
    return choice, choose_steps(
        np.mean([found[view] for view in chosen], axis=0), part.labels, shares
    )


def _judged(
    run: Run, name: str, part: Samples, steps: Steps, known: tuple[str, ...], progress: Progress
) -> Part:
    """Shows the package every condition of `part`; the steps are applied here, by the package's own
    functions, so that their effect can be told."""
    model = Model(run.package)
    package.without_steps(model.manifest)
    predicted, calibration = {}, {}
    for number, condition in enumerate(shift_benchmark.CONDITIONS):
        progress(
            len(shift_benchmark.CONDITIONS) + number,
            2 * len(shift_benchmark.CONDITIONS),
            f"{name} part, {condition}",
        )
        plain, shown = (
            model.probabilities(shift_benchmark.copies(part, condition)),
            shift_benchmark.shown(part, condition),
        )
        final, labels = steps.applied(plain), np.resize(shown.labels, len(plain))
        Predictions(np.resize(shown.ids, len(plain)), final, labels).save(
            run.predictions(name, condition)
        )
        predicted[condition] = final.argmax(axis=1)
        if condition in (shift_benchmark.CLEAN, shift_benchmark.CHAINED):
            calibration[condition] = {
                f"{measure}{which}": float(value)
                for which, given in (("", final), ("_without_steps", plain))
                for measure, value in (
                    ("expected_calibration_error", metrics.calibration_error(given, labels)),
                    ("log_loss", metrics.log_loss(given, labels).mean()),
                    ("accuracy", (given.argmax(axis=1) == labels).mean()),
                )
            }
    judgement = shift_benchmark.judged(part, predicted, known)
    for condition, scores in judgement.scores.items():
        confusion_picture(
            scores.confusion, part.class_names, run.folder / f"confusion_{name}_{condition}.png"
        )
    return Part(judgement, calibration)
