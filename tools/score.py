"""`cbtool score`: run a zip on labelled images, as the competition does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, SubmissionError
from toolkit.core.metrics import take_labels
from tools import contracts, evaluate, live, options, output, recent
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.data import channels, dataset, splitting
    from toolkit.evaluation import results, shift_benchmark, zip_score
    from toolkit.export import manifest, zip_ledger
    from toolkit.runtime import sandbox
    from toolkit.runtime.isolation import EngineName, Isolation
    from toolkit.training import run_folder as run_folders

PART = "validation"  # what is compared with `evaluate`; the test part is opened there only


@click.command()
@options.zip_file
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
    help="Score only this run's validation part of FILE, and compare with `evaluate`.",
)
@options.runs_folder
@click.option(
    "--shift",
    is_flag=True,
    help="Also score corrupted copies, and estimate the hidden test set's score.",
)
@options.classes
@options.interpreter
@options.backend
@options.limit
@options.json
@options.quiet
def score(
    file: Path | None,
    data_file: Path,
    run_folder: Path | None,
    folder: Path,
    shift: bool,
    classes: int | None,
    evaluator: str | None,
    python: str | None,
    backend: EngineName | None,
    limit: float | None,
    as_json: bool,
) -> int:
    """Run ZIP on FILE.npz and score its labels.

    Without ZIP, scores the last one that was built from a run in --runs.

    Runs only the zip, in a clean process, without the training code. With --run, exits with 1 when
    a label differs from that of `evaluate`. With --shift, computes the numbers of `evaluate` from
    the zip alone; of more than 1,000 images, 1,000 are sampled.
    """
    file = recent.choose_zip(file, folder)
    contract = contracts.current()
    samples = dataset.load(data_file, classes, contract)
    run = run_folders.open_finished(run_folder) if run_folder else None
    if run:
        samples = samples.take(splitting.read(run.split).rows(PART, samples))
    if run or shift:
        samples = shift_benchmark.limit_images(samples)
    _require_size(file, samples, data_file)
    copies = zip_score.make_copies(samples, shift)
    stored = zip_score.read_labels(run, PART, copies) if run else None
    isolation = options.choose_isolation(backend)
    with live.stages() as stages:
        interpreter = options.choose_python(stages, evaluator, python)
        with stages.stage("score"):
            # The limit is for one set of images.
            seconds = (limit or contract.time_limit) * len(copies)
            answers = predict(file, copies, interpreter, seconds, contract, isolation)
    known = manifest.read_families(file)
    found = zip_score.score(samples, answers, known, stored, contract)
    if found.benchmark:
        part = PART if run else data_file.name
        zip_ledger.note_scores(folder, file, part, found.benchmark.headline)
    if as_json:
        report: dict[str, Any] = {
            "zip": str(file),
            "data": str(data_file),
            "part": PART if run else None,
            "isolation": isolation.values,
        }
        if run:
            report["labels_differing_from_evaluate"] = found.differing
        output.as_json(report | score_values(found))
    else:
        print_score(found, f"{PART} part" if run else f"{len(samples):,} images", samples)
    if not found.differing:
        output.hint(f"Next: cbtool rehearse {file} --bundle BUNDLE; or cbtool upload {file}")
    return 1 if found.differing else 0


def _require_size(file: Path, samples: dataset.Samples, data_file: Path) -> None:
    """Raises InputError where a zip that says which images it takes takes others."""
    known = manifest.read_zip_manifest(file)
    if known is None or known.image_shape[:2] == samples.images.shape[1:3]:
        return
    wanted = " × ".join(map(str, known.image_shape[:2]))
    given = " × ".join(map(str, samples.images.shape[1:3]))
    raise InputError(
        f"the images in {data_file} are {given}, but {file} takes {wanted}.",
        "Give images of that size, as the competition does.",
    )


def score_values(found: zip_score.ZipScore) -> dict[str, Any]:
    """What `toolkit.evaluation.zip_score` found, ready for JSON."""
    if found.benchmark is None:
        values = {"metric": found.metric, "score": found.score.value}
        return found.scores.summary | values
    return found.scores.summary | results.benchmark_values(found.benchmark)


def print_score(found: zip_score.ZipScore, title: str, samples: dataset.Samples) -> None:
    """Prints what `toolkit.evaluation.zip_score` found for `samples`."""
    if found.benchmark:
        evaluate.print_benchmark(title, found.benchmark, samples.class_names)
    else:
        output.sentence(
            f"{found.metric} {found.score.value:.4f} on {len(samples):,} images, 95 % interval "
            f"{found.score.low:.4f} to {found.score.high:.4f}"
        )
        evaluate.print_classes(title, found.scores, samples.class_names)
    if found.differing is not None:
        click.echo(
            f"labels that differ from those of evaluate: {found.differing} of {found.labels}"
        )


def predict(
    file: Path,
    copies: dict[str, dataset.Samples],
    python: str,
    limit: float,
    contract: Contract = AN2DL2024,
    isolation: Isolation | None = None,
) -> dict[str, np.ndarray]:
    """The zip's answers to `copies`, by name: labels, int [n], or probabilities, float [n,
    classes].

    Raises SubmissionError when they are no answers to these images.
    """
    images = {
        name: channels.from_rgb(samples.images, contract.channels)
        for name, samples in copies.items()
    }
    outcome = sandbox.run(file, images, python, limit, contract, isolation)
    found = {name: outcome.answers(name) for name in copies}
    for name, answers in found.items():
        labels = take_labels(answers)
        classes = len(copies[name].class_names)
        if len(labels) != len(copies[name]) or labels.min() < 0 or labels.max() >= classes:
            raise SubmissionError(
                f"the zip returned labels of shape {labels.shape} from {labels.min()} to "
                f"{labels.max()} for {len(copies[name])} images of {classes} classes.",
                f"Run: cbtool validate {file}.",
            )
    return found
