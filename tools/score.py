"""`cbtool score`: run a zip on labelled images, as the competition's scoring does."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from toolkit.core.errors import InputError, SubmissionError
from tools import evaluate, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.data import dataset, splitting
    from toolkit.evaluation import metrics, predictions, shift_benchmark
    from toolkit.export import package, zip_ledger
    from toolkit.runtime import sandbox
    from toolkit.training import run_folder as run_folders

PART = "validation"  # what is compared with `evaluate`; the test part is opened there only


@click.command()
@click.argument("file", metavar="ZIP", type=options.PATH)
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    required=True,
    metavar="FILE",
    help="An npz of images and labels.",
)
@click.option(
    "--run",
    "run_folder",
    type=options.PATH,
    metavar="DIR",
    help="Score this run's validation part of FILE only, and compare with `evaluate`.",
)
@options.runs_folder
@click.option(
    "--shift",
    is_flag=True,
    help="Score corrupted copies, too, and foretell the hidden test set's score.",
)
@options.classes
@options.interpreter
@options.limit
@options.json
def score(
    file: Path,
    data_file: Path,
    run_folder: Path | None,
    folder: Path,
    shift: bool,
    classes: int,
    evaluator: str | None,
    python: str | None,
    limit: float,
    as_json: bool,
) -> int:
    """Run ZIP on FILE.npz and score its labels.

    Only the zip is run, in a clean process, none of the training code. With --run, exits with 1
    when a label differs from the one `evaluate` gave. With --shift, the numbers are those of
    `evaluate`, from the zip alone; of more than 1,000 images, 1,000 are drawn.
    """
    samples = dataset.load(data_file, classes)
    run = None
    if run_folder:
        run = run_folders.open_finished(run_folder)
        samples = samples.take(splitting.read(run.split).rows(PART, samples))
    if run or shift:
        samples = shift_benchmark.subject(samples)
    conditions = shift_benchmark.CONDITIONS if shift else (shift_benchmark.CLEAN,)
    if run:
        stored = {name: _stored(run, samples, name) for name in conditions}
    with output.stages() as stages:
        interpreter = options.chosen_python(stages, evaluator, python)
        with stages.stage("score"):
            labels = labels_of(
                file,
                {name: shift_benchmark.copies(samples, name) for name in conditions},
                samples,
                interpreter,
                limit,
            )
    report = {"zip": str(file), "data": str(data_file), "part": PART if run else None}
    differing = None
    if run:
        differing = sum(int((labels[name] != stored[name]).sum()) for name in conditions)
        report["labels_differing_from_evaluate"] = differing
    judgement = shift_benchmark.judged(samples, labels, package.families(file)) if shift else None
    scores = metrics.scores(samples.labels, labels[shift_benchmark.CLEAN], len(samples.class_names))
    if judgement:
        zip_ledger.note_scores(folder, file, PART if run else data_file.name, judgement.headline)
    if as_json:
        output.as_json(report | scores.summary | (judgement.values if judgement else {}))
        return 1 if differing else 0
    title = f"{PART} part" if run else f"{len(samples):,} images"
    if judgement:
        evaluate.judgement(title, judgement, samples.class_names)
    else:
        found = metrics.bootstrapped(labels[shift_benchmark.CLEAN] == samples.labels)
        click.echo(
            f"accuracy {found.value:.4f} on {len(samples):,} images, 95 % interval {found.low:.4f} "
            f"to {found.high:.4f}"
        )
        evaluate.per_class(title, scores, samples.class_names)
    if run:
        click.echo(
            f"labels that differ from evaluate's: {differing} of {sum(map(len, labels.values()))}"
        )
    return 1 if differing else 0


def _stored(run: run_folders.Run, samples: dataset.Samples, condition: str) -> np.ndarray:
    """The labels that `evaluate` gave `samples` under `condition`. Raises InputError where it saw
    others."""
    found = predictions.read_predictions(run, PART, condition)
    ids = shift_benchmark.shown(samples, condition).ids
    if len(found.ids) % len(ids) or not np.array_equal(found.ids, np.resize(ids, len(found.ids))):
        raise InputError(
            f"the predictions in {run.folder} are of another split than its split.json.",
            f"Run: cbtool evaluate --run {run.folder}.",
        )
    return found.predicted


def labels_of(
    file: Path,
    images: dict[str, np.ndarray],
    samples: dataset.Samples,
    python: str,
    limit: float,
) -> dict[str, np.ndarray]:
    """The labels the zip gives `images`, arrays by name whose lengths are multiples of `samples`':
    int [n] by name."""
    outcome = sandbox.run(file, images, python, limit)
    found = {name: outcome.output(name) for name in images}
    for name, labels in found.items():
        if (
            len(labels) != len(images[name])
            or labels.min() < 0
            or labels.max() >= len(samples.class_names)
        ):
            raise SubmissionError(
                f"the zip gave labels of shape {labels.shape} from {labels.min()} to {labels.max()}"
                f" for {len(images[name])} images of {len(samples.class_names)} classes.",
                f"Run: cbtool validate {file}.",
            )
    return found
