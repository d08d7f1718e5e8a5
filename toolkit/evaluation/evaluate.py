"""Scoring a run on its held-out parts, with the very code that is submitted."""

import json
from datetime import datetime, timezone

import numpy as np

from submission.model import Model
from toolkit.core import config, records
from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from toolkit.core.progress import Progress, silent
from toolkit.data import shift, splitting
from toolkit.data.dataset import Samples
from toolkit.evaluation import metrics, results, shift_benchmark, tta
from toolkit.evaluation.calibration import Steps, choose_steps
from toolkit.evaluation.predictions import Predictions
from toolkit.evaluation.results import Evaluation, Part
from toolkit.evaluation.shift_benchmark import CHAINED, CLEAN, CONDITIONS
from toolkit.evaluation.tta import PLAIN_VIEW, ViewChoice
from toolkit.export import package
from toolkit.export.manifest import Inference, read_manifest, write_inference
from toolkit.training.families import list_covered_families
from toolkit.training.run_folder import Run

HELD_OUT = ("validation", "test")
# Chains that views and steps are chosen on: others than those that are scored.
CHOOSING_DRAWS = range(2000, 2002)


def evaluate(
    run: Run,
    samples: Samples,
    test: bool = False,
    augmented: bool = True,
    progress: Progress = silent,
) -> Evaluation:
    """Scores the package of `run` on its validation part, and with `test` on its test part, which
    is counted.

    Exports the package first where there is none. Chooses, on corrupted validation images, the
    views of test-time augmentation that pay, the plain one alone unless `augmented`, and the steps
    after training that pay. Writes inference.json, the predictions and metrics.json. Raises
    InputError for other data than the run's, or a class that a part lacks; SubmissionError when
    package and network disagree.
    """
    parts = splitting.read(run.split)
    names = HELD_OUT if test else HELD_OUT[:1]
    held_out = {name: _held_out(samples, parts.rows(name, samples), name) for name in names}
    if test:
        # Before anything is predicted: an evaluation that is interrupted has opened it, too.
        _note_opening(run)
    if not package.is_current(run):
        package.export_run(run, held_out["validation"].images, progress=progress)
    train_labels = samples.labels[parts.rows("train", samples)]
    counts = np.bincount(train_labels, minlength=len(samples.class_names))
    copies = shift.mixtures(held_out["validation"], CHOOSING_DRAWS)
    model = _load_model(run)
    views, predictions = _choose_views(model, copies, augmented, progress)
    # On what the chosen views predict: the package takes the steps after them, too.
    steps = choose_steps(predictions, counts / counts.sum())
    chosen = views.chosen.views if views else (PLAIN_VIEW,)
    write_inference(run, Inference(chosen, steps.temperature, steps.shares))
    package.apply_inference(run)
    known = list_covered_families(config.read(run.config))
    found = {}
    for name, part in held_out.items():
        predicted, calibration = _predict_part(run, model, name, part, chosen, steps, progress)
        found[name] = Part(shift_benchmark.score(part, predicted, known), calibration)
    evaluation = Evaluation(found, views, steps)
    write_text(run.metrics, json.dumps(results.evaluation_values(evaluation), indent=2) + "\n")
    return evaluation


def openings(run: Run) -> list[str]:
    """The times at which the test part of `run` was opened, oldest first."""
    if not run.test_openings.exists():
        return []
    return json.loads(run.test_openings.read_text(encoding="utf-8"))


def _note_opening(run: Run) -> None:
    """Notes that the test part of `run` is opened now: a test that is consulted often, and acted
    on, is none."""
    times = [*openings(run), datetime.now(timezone.utc).isoformat(timespec="seconds")]
    write_text(run.test_openings, json.dumps(times, indent=1) + "\n")


def _held_out(samples: Samples, rows: np.ndarray, name: str) -> Samples:
    """The part at `rows`, or what the benchmark takes of it. Raises InputError unless it has every
    class."""
    part = samples.take(rows)
    missing = np.flatnonzero(part.counts == 0)
    if len(missing):
        raise InputError(
            f"the {name} part has no image of class {missing[0]} ({part.class_names[missing[0]]}).",
            "Train on a file with more images of each class, or hold out more: --set "
            "split.validation=0.2.",
        )
    return shift_benchmark.limit_images(part)


def _load_model(run: Run) -> Model:
    """The package of `run`, to predict without the steps after training."""
    manifest = read_manifest(run.package).with_inference(Inference())
    return Model(run.package, manifest=records.values(manifest))


def _choose_views(
    model: Model, copies: Samples, augmented: bool, progress: Progress
) -> tuple[ViewChoice | None, Predictions]:
    """The views that pay on `copies`, None unless `augmented`, and what they predict."""
    names = tta.applicable_views(copies.images.shape[1:]) if augmented else [PLAIN_VIEW]
    probabilities = {}
    for number, view in enumerate(names):
        progress(number, 2 * len(names), f"view {view}")
        probabilities[view] = model.probabilities(copies.images, views=[view])
    choice = tta.choose_views(probabilities, copies.labels) if augmented else None
    chosen = choice.chosen.views if choice else (PLAIN_VIEW,)
    mean = np.mean([probabilities[view] for view in chosen], axis=0)
    return choice, Predictions(copies.ids, mean, copies.labels)


def _predict_part(
    run: Run,
    model: Model,
    name: str,
    part: Samples,
    views: tuple[str, ...],
    steps: Steps,
    progress: Progress,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """The labels of every condition of `part`, and the calibration; writes the predictions.

    The steps are applied here, by the package's own functions, so that their effect can be
    measured.
    """
    predicted, calibration = {}, {}
    for number, condition in enumerate(CONDITIONS):
        progress(len(CONDITIONS) + number, 2 * len(CONDITIONS), f"{name} part, {condition}")
        copies = shift_benchmark.corrupt(part, condition)
        # All copies in one call: correcting class shares needs many images predicted together.
        without_steps = model.probabilities(copies.images, views)
        final = Predictions(copies.ids, steps.apply(without_steps), copies.labels)
        final.save(run.predictions(name, condition))
        predicted[condition] = final.predicted
        if condition in (CLEAN, CHAINED):
            before = _calibration(without_steps, copies.labels)
            calibration[condition] = _calibration(final.probabilities, copies.labels)
            for measure, value in before.items():
                calibration[condition][f"{measure}_without_steps"] = value
    return predicted, calibration


def _calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well the confidence of `probabilities` [n, classes] fits."""
    return {
        "expected_calibration_error": metrics.calibration_error(probabilities, labels),
        "log_loss": float(metrics.log_loss(probabilities, labels).mean()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
    }
