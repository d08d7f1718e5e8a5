"""Scoring a run on its held-out parts, with the very code that is submitted."""

import json
from datetime import datetime, timezone

import numpy as np

from submission.model import Model
from toolkit.core import config, records
from toolkit.core.contract import MetricName
from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from toolkit.core.metrics import compute
from toolkit.core.progress import Progress, silent
from toolkit.data import shift, splitting
from toolkit.data.dataset import Samples
from toolkit.evaluation import metrics, results, shift_benchmark, tta
from toolkit.evaluation.calibration import PostProcessing, choose_post_processing
from toolkit.evaluation.predictions import Predictions
from toolkit.evaluation.results import Evaluation, Part
from toolkit.evaluation.shift_benchmark import CHAINED, CLEAN, CONDITIONS
from toolkit.evaluation.tta import ViewChoice
from toolkit.export import equivalence, package
from toolkit.export.manifest import PLAIN_VIEW, Inference, read_manifest, write_inference
from toolkit.training.families import list_covered_families
from toolkit.training.run_folder import Run, read_contract

HELD_OUT = ("validation", "test")
# Of the chains that views and post-processing are chosen on: others than those that are scored.
SELECTION_SEEDS = range(2000, 2002)


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
    views of test-time augmentation and the post-processing that raise the score; the plain view
    alone unless `augmented`. Writes inference.json, the predictions and metrics.json. Raises
    InputError for other data than the run's, or a class that a part lacks; SubmissionError when
    package and network disagree.
    """
    contract = read_contract(run)
    parts = splitting.read(run.split)
    names = HELD_OUT if test else HELD_OUT[:1]
    held_out = {name: _held_out(samples, parts.rows(name, samples), name) for name in names}
    if test:
        # Before anything is predicted: an evaluation that is interrupted has opened it, too.
        _note_opening(run)
    image_shape = samples.images.shape[1:]
    view_names = tta.applicable_views(image_shape) if augmented else [PLAIN_VIEW]
    exports = 0 if package.is_current(run) else equivalence.COMPARISON_COUNT
    # One total for all that is done, so that the progress never goes back.
    total = exports + len(view_names) + len(held_out) * len(CONDITIONS)
    if exports:
        images = held_out["validation"].images
        package.export_run(run, images, progress=_offset_progress(progress, 0, total))
    train_labels = samples.labels[parts.rows("train", samples)]
    counts = np.bincount(train_labels, minlength=len(samples.class_names))
    copies = held_out["validation"]
    if contract.corrupted:
        copies = shift.mixtures(copies, SELECTION_SEEDS)
    model = _load_model(run)
    choice, predictions = _choose_views(
        model, copies, view_names, contract.metric, _offset_progress(progress, exports, total)
    )
    # On what the chosen views predict: the package processes them further.
    post_processing = choose_post_processing(predictions, counts / counts.sum(), contract.metric)
    chosen = choice.chosen.views
    write_inference(run, Inference(chosen, post_processing.temperature, post_processing.shares))
    package.apply_inference(run)
    known = list_covered_families(config.read(run.config))
    found = {}
    done = exports + len(view_names)
    for name, part in held_out.items():
        answers, calibration = _predict_part(
            run, model, name, part, chosen, post_processing, _offset_progress(progress, done, total)
        )
        done += len(CONDITIONS)
        found[name] = Part(shift_benchmark.score(part, answers, known, contract), calibration)
    evaluation = Evaluation(found, choice if augmented else None, post_processing)
    write_text(run.metrics, json.dumps(results.evaluation_values(evaluation), indent=2) + "\n")
    return evaluation


def openings(run: Run) -> list[str]:
    """The times at which the test part of `run` was opened, oldest first."""
    if not run.test_openings.exists():
        return []
    return records.read(list[str], run.test_openings, "Train the run again.")


def _offset_progress(progress: Progress, offset: int, total: int) -> Progress:
    """A progress for one stage: `offset` steps of the `total` were done before it."""

    def report(done: int, _: int, note: str) -> None:
        progress(offset + done, total, note)

    return report


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
    """The package of `run`, to predict without post-processing."""
    manifest = read_manifest(run.package).with_inference(Inference())
    return Model(run.package, manifest=records.values(manifest))


def _choose_views(
    model: Model, copies: Samples, names: list[str], metric: MetricName, progress: Progress
) -> tuple[ViewChoice, Predictions]:
    """Of the views `names`, those that raise the score on `copies`, and what they predict."""
    probabilities = {}
    for number, view in enumerate(names):
        progress(number, len(names), f"view {view}")
        probabilities[view] = model.probabilities(copies.images, views=[view])
    choice = tta.choose_views(probabilities, copies.labels, len(np.unique(copies.ids)), metric)
    mean = np.mean([probabilities[view] for view in choice.chosen.views], axis=0)
    return choice, Predictions(copies.ids, mean, copies.labels)


def _predict_part(
    run: Run,
    model: Model,
    name: str,
    part: Samples,
    views: tuple[str, ...],
    post_processing: PostProcessing,
    progress: Progress,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, float]]]:
    """The probabilities of every condition of `part`, and the calibration; writes the predictions.

    The post-processing is applied here, by the package's own functions, so that its effect can be
    measured.
    """
    answers, calibration = {}, {}
    for number, condition in enumerate(CONDITIONS):
        progress(number, len(CONDITIONS), f"{name} part, {condition}")
        copies = shift_benchmark.corrupt(part, condition)
        # All copies in one call: correcting class shares needs many images predicted together.
        unprocessed = model.probabilities(copies.images, views)
        final = Predictions(copies.ids, post_processing.apply(unprocessed), copies.labels)
        final.save(run.predictions(name, condition))
        answers[condition] = final.probabilities
        if condition in (CLEAN, CHAINED):
            before = _calibration(unprocessed, copies.labels)
            calibration[condition] = _calibration(final.probabilities, copies.labels)
            for measure, value in before.items():
                calibration[condition][f"{measure}_without_steps"] = value
    return answers, calibration


def _calibration(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well the confidence of `probabilities` [n, classes] fits."""
    return {
        "expected_calibration_error": metrics.calibration_error(probabilities, labels),
        "log_loss": compute("log-loss", labels, probabilities),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
    }
