"""`cbtool evaluate`: score a run on its held-out parts."""

from pathlib import Path

import click

from tools import options, output


@click.command()
@options.run
@options.training_file
@click.option("--no-views", is_flag=True, help="Look at each image as it is only: heavy networks, CPUs.")
@options.json
def evaluate(folder: Path, data_file: Path | None, no_views: bool, as_json: bool) -> None:
    """Score a run's validation and test parts, clean and shifted.

    The shifted copies went through corruptions that no preset trains on: expect the hidden test set to be nearer to
    them than to the clean images. On them, the views that test-time augmentation looks at are chosen: those that pay.
    With the code that is submitted: the package is made first, where there is none. Writes the predictions,
    metrics.json and a picture of each confusion matrix into the run folder.
    """
    from toolkit import runs

    run = runs.open_finished(folder)
    samples = load_data(run, data_file)
    with output.quiet_tensorflow():
        from toolkit import evaluate as evaluation
    with output.stages() as stages, stages.stage("evaluate") as progress:
        evaluated = evaluation.evaluate(run, samples, not no_views, progress)
    results = evaluated.scores
    if as_json:
        headline = {"clean": results["test"].accuracy, "shift": results["test-shifted"].accuracy}
        output.as_json({"run": str(run.folder)} | headline | evaluated.values)
        return
    summary(results)
    if evaluated.choice:
        views(evaluated.choice)
    per_class("test", results["test"], samples.class_names)
    confusion("test", results["test"], samples.class_names)
    output.hint(f"Next: cbtool build --run {run.folder} --out submission.zip")


def load_data(run, data_file: Path | None):
    """The samples `run` was trained on, from `data_file` or from where they were."""
    from toolkit import data, runs
    from toolkit.errors import InputError

    provenance = runs.read_provenance(run)
    file = data_file or Path(provenance["data"])
    if data_file is None and not file.exists():
        raise InputError(f"the training file is no longer at {file}.", "Say where it is, with --data FILE.")
    return data.load(file, len(provenance["class_names"]))


def views(choice) -> None:
    """Prints what each view gains, and the set that was chosen."""
    chosen = choice.chosen.views
    rows = [(gain.views[-1], *_interval(gain), "yes" if gain.views[-1] in chosen else "") for gain in choice.alone]
    rows.append((f"the chosen set, {len(chosen)} with the plain view", *_interval(choice.chosen), ""))
    output.table(("view, with the plain one", "gain", "95 % interval", "chosen"), rows, title="Views, shifted validation part")


def _interval(gain) -> tuple[str, str]:
    return f"{gain.gain:+.4f}", f"{gain.low:+.4f} to {gain.high:+.4f}"


def summary(results: dict) -> None:
    """Prints a line a part."""
    rows = [(part, *scores.summary.values()) for part, scores in results.items()]
    output.table(
        ("part", "images", "accuracy", "precision", "recall", "F1"),
        rows,
        title="Scores (precision, recall, F1: mean over classes)",
    )


def per_class(part: str, scores, class_names: tuple[str, ...]) -> None:
    """Prints a line a class."""
    rows = [(name, *numbers) for name, numbers in zip(class_names, scores.per_class)]
    output.table(("class", "precision", "recall", "F1", "images"), rows, title=f"Classes, {part} part")


def confusion(part: str, scores, class_names: tuple[str, ...]) -> None:
    """Prints the confusion matrix."""
    rows = [(name, *(int(count) for count in counts)) for name, counts in zip(class_names, scores.confusion)]
    columns = ("true, down; predicted, across", *(str(number) for number in range(len(class_names))))
    output.table(
        columns,
        [(f"{number} {row[0]}", *row[1:]) for number, row in enumerate(rows)],
        title=f"Confusion matrix, {part} part",
    )
