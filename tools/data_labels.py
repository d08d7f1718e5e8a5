"""`cbtool data labels` and `data relabel`: find wrong labels, and correct them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.core.errors import InputError
from toolkit.core.files import format_count
from tools import contracts, live, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.data import cleaning, dataset, label_errors, relabelling
    from toolkit.report import plots
    from toolkit.training import features as backbone_features

SHOWN = 20  # suspects on the screen
TABLE = "labels.csv"
SHEET = "labels.png"


@click.command()
@click.argument("file", type=options.PATH)
@options.preset("The preset whose backbone shows the images to the classifier. [default: lite]")
@options.settings
@click.option(
    "--folds",
    type=click.IntRange(2, 20),
    default=5,
    show_default=True,
    help="Each fold is predicted by a classifier that was fitted on the others.",
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help=f"Folder for {TABLE}, all suspects, and {SHEET}, the surest of them.",
)
@options.classes
@options.json
@options.quiet
def labels(
    file: Path,
    preset: str | None,
    settings: tuple[str, ...],
    folds: int,
    out: Path | None,
    classes: int | None,
    as_json: bool,
) -> None:
    """Find labels of FILE that are probably wrong.

    The preset's backbone, with its ImageNet weights, describes the images; a logistic regression
    predicts each from those of the other folds, and confident learning (arXiv 1911.00068) compares
    the predictions with the labels. Outliers and constant images are left out, copies stay in one
    fold. Nothing is changed: look at the suspects, then correct FILE with `cbtool data relabel`.
    """
    chosen = config.preset(preset or "lite", settings)
    samples = dataset.load(file, classes, contracts.current())
    dataset.require_trainable(samples, file)
    with live.stages() as stages:
        with stages.stage("clean"):
            backbone_features.require_pretrained(chosen)
            found = cleaning.clean(samples, chosen.clean)
            rows = label_errors.list_relevant(found)
            left_out = len(samples) - len(rows)
            samples = samples.take(rows)
        with stages.stage("features") as progress:
            features = backbone_features.extract_features(samples, chosen, progress)
        with stages.stage("folds") as progress:
            probabilities = label_errors.predict_out_of_fold(
                features, samples, found.groups[rows], folds, progress
            )
    suspects = label_errors.find_suspects(samples, probabilities)
    if out:
        relabelling.write_table(suspects, samples.class_names, out / TABLE)
        if len(suspects):
            _draw(suspects, samples, out / SHEET)
    agreement = float((probabilities.argmax(axis=1) == samples.labels).mean())
    listed = _list(suspects, samples.class_names)
    if as_json:
        report = {
            "file": str(file),
            "preset": preset or "lite",
            "folds": folds,
            "examined": len(samples),
            "left_out": left_out,
            "agreement": agreement,
            "class_names": list(samples.class_names),
            "confident_joint": suspects.joint.tolist(),
            "suspects": listed,
            "table": str(out / TABLE) if out else None,
        }
        output.as_json(report)
    else:
        _print(file, listed, len(samples), agreement)
    if left_out:
        output.hint(
            f"Left out: {format_count(left_out, 'image')} that cleaning takes for outliers or "
            f"constant, as training does. They are listed by: cbtool data clean {file} --out DIR"
        )
    if out and listed:
        output.hint(
            f"Next: look at {out / SHEET}; delete the lines of {out / TABLE} that you do not "
            f"believe; then cbtool data relabel {file} --labels {out / TABLE} --out relabelled.npz"
        )


def _list(suspects: label_errors.Suspects, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "id": int(suspects.ids[row]),
            "given": names[suspects.given[row]],
            "suggested": names[suspects.suggested[row]],
            "probability": float(suspects.probabilities[row]),
            "margin": float(suspects.margins[row]),
        }
        for row in range(len(suspects))
    ]


def _print(file: Path, listed: list[dict[str, Any]], examined: int, agreement: float) -> None:
    if listed:
        shown = [tuple(each.values()) for each in listed[:SHOWN]]
        columns = ("id", "given", "suggested", "probability", "margin")
        output.table(columns, shown, title=str(file))
    output.sentence(
        f"{len(listed):,} of {examined:,} labels are suspected; the predictions agree with "
        f"{agreement:.1%} of all."
    )
    if len(listed) > SHOWN:
        output.hint(f"Shown are the surest {SHOWN}; all are in {TABLE} with --out DIR, or --json.")


def _draw(suspects: label_errors.Suspects, samples: dataset.Samples, path: Path) -> None:
    """Writes the sheet of the surest suspects."""
    rows = {int(number): row for row, number in enumerate(samples.ids)}
    ids = suspects.ids[: plots.LABELLED_IMAGES]
    captions = [
        f"{each['id']}\n{each['given']}\n→ {each['suggested']}"
        for each in _list(suspects, samples.class_names)[: len(ids)]
    ]
    images = samples.images[[rows[int(number)] for number in ids]]
    plots.labelled_sheet(images, captions, path)


@click.command()
@click.argument("file", type=options.PATH)
@click.option(
    "--labels",
    "table",
    type=options.PATH,
    required=True,
    metavar="CSV",
    help=f"The {TABLE} of cbtool data labels, with the lines that you believe.",
)
@click.option(
    "--out", type=options.PATH, required=True, metavar="FILE", help="The new npz to write."
)
@options.classes
@options.json
def relabel(file: Path, table: Path, out: Path, classes: int | None, as_json: bool) -> None:
    """Write FILE.npz with corrected labels to a new file.

    Each image in the table gets its suggested label. Before, delete the lines that you do not
    believe, or write another class under `suggested`; where it is empty, the image is dropped.
    The ids of the new file are its own rows.
    """
    samples = dataset.load(file, classes, contracts.current())
    if out.exists() and out.samefile(file):
        raise InputError(f"--out {out} is the file itself.", "Name a new file.")
    corrected = relabelling.relabel(samples, table)
    dataset.require_trainable(corrected.samples, out)
    dataset.save(corrected.samples, out)
    report = {
        "file": str(out),
        "relabelled": corrected.relabelled,
        "dropped": corrected.dropped,
        "images": len(corrected.samples),
    }
    if as_json:
        output.as_json(report)
    else:
        rows = [(name, value) for name, value in report.items() if name != "file"]
        output.table(("what", "images"), rows, title=str(out))
    output.hint(f"Next: cbtool train --data {out}")
