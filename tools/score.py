"""`cbtool score`: run a zip on labelled images, as the competition's scoring does."""

from pathlib import Path

import click

from tools import evaluate, options, output


@click.command()
@click.argument("file", metavar="ZIP", type=options.PATH)
@click.option(
    "--data", "data_file", type=options.PATH, required=True, metavar="FILE", help="An npz of images and labels."
)
@click.option(
    "--run",
    "folder",
    type=options.PATH,
    metavar="DIR",
    help="Score this run's held-out part of FILE only, and compare with `evaluate`.",
)
@click.option(
    "--part",
    type=click.Choice(["validation", "test"]),
    default="test",
    show_default=True,
    help="Which part, with --run.",
)
@options.classes
@options.interpreter
@options.limit
@options.json
def score(
    file: Path,
    data_file: Path,
    folder: Path | None,
    part: str,
    classes: int,
    evaluator: str | None,
    python: str | None,
    limit: float,
    as_json: bool,
) -> int:
    """Run ZIP on FILE.npz and score its labels.

    Only the zip is run, in a clean process, none of the training code. With --run, exits with 1 when a label
    differs from the one `evaluate` gave.
    """
    from toolkit import data, split

    samples = data.load(data_file, classes)
    run = expected = None
    if folder:
        from toolkit import runs

        run = runs.open_finished(folder)
        expected = runs.read_predictions(run, part)
        samples = samples.take(split.read(run.split).rows(part, samples))
    with output.stages() as stages:
        interpreter = options.chosen_python(stages, evaluator, python)
        with stages.stage("score"):
            labels, scores = score_zip(file, samples, interpreter, limit)
    report = {"zip": str(file), "data": str(data_file), "part": part if run else None, **scores.summary}
    differing = None
    if run:
        differing = int((labels != expected.predicted).sum())
        report["labels_differing_from_evaluate"] = differing
    if as_json:
        output.as_json(report)
    else:
        evaluate.summary({part if run else "all": scores})
        evaluate.per_class(part if run else "whole", scores, samples.class_names)
        if run:
            click.echo(f"labels that differ from evaluate's: {differing} of {len(labels)}")
    return 1 if differing else 0


def score_zip(file: Path, samples, python: str, limit: float):
    """The labels the zip gives `samples`, int [n], and their scores."""
    from toolkit import metrics, sandbox
    from toolkit.errors import SubmissionError

    labels = sandbox.run(file, {"images": samples.images}, python, limit).output("images")
    classes = len(samples.class_names)
    if labels.shape != samples.labels.shape or labels.min() < 0 or labels.max() >= classes:
        raise SubmissionError(
            f"the zip gave labels of shape {labels.shape} from {labels.min()} to {labels.max()}"
            f" for {len(samples)} images of {classes} classes.",
            f"Run: cbtool validate {file}.",
        )
    return labels, metrics.scores(samples.labels, labels, classes)
