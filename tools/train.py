"""`cbtool train`: from a training file to a trained run folder."""

from datetime import datetime
from pathlib import Path

import click

from tools import options, output
from tools.data import summary


@click.command()
@click.option("--preset", help="A named experiment; see the list below. [default: lite]")
@click.option("--config", "config_file", type=options.PATH, metavar="FILE", help="A TOML file instead of a preset.")
@click.option("--data", "data_file", type=options.PATH, required=True, metavar="FILE", help="The competition's npz.")
@click.option("--run", "folder", type=options.PATH, metavar="DIR", help="A new folder. [default: one under runs/]")
@click.option("--weights", metavar="imagenet|none|PATH", help="Where the backbone starts from.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value, e.g. train.phases.0.epochs=3. May be repeated.",
)
def train(
    preset: str | None,
    config_file: Path | None,
    data_file: Path,
    folder: Path | None,
    weights: str | None,
    settings: tuple[str, ...],
) -> None:
    """Clean, split and train.

    Presets: lite (EfficientNet-Lite0 from ImageNet, for CPUs), tiny (a minute on drawn cells),
    report-base-unclean (the report's first row).
    """
    from toolkit import config, data

    if preset and config_file:
        raise click.UsageError("Give --preset or --config, not both.")
    if weights is not None:
        settings = (*settings, f"model.weights={weights}")
    chosen = config.read(config_file, settings) if config_file else config.preset(preset or "lite", settings)
    samples = data.load(data_file, chosen.data.classes)
    data.require_trainable(samples, data_file)
    if folder is None:
        name = config_file.stem if config_file else preset or "lite"
        folder = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    with output.stages() as stages:
        run, cleaning = train_run(folder, chosen, samples, data_file, stages)
    output.table(("what", "images"), summary(cleaning), title="Cleaning")
    history(run)
    click.echo(run.folder)
    output.hint(f"Next: cbtool evaluate --run {run.folder}")


def train_run(folder: Path, chosen, samples, data_file: Path, stages: output.Stages):
    """Makes the run, cleans, splits and trains, a stage at a time. Returns the run and what cleaning found."""
    from toolkit import runs

    with stages.stage("clean"):
        with output.quiet_tensorflow():
            from toolkit import train as training

            network = training.start(chosen, samples)
        run = runs.begin(folder, chosen, samples, data_file)
        cleaning, parts = runs.prepare(run, samples, chosen)
    with stages.stage("train") as progress:
        training.train(network, run, samples, parts, chosen, progress)
    return run, cleaning


def history(run) -> None:
    """Prints the history of `run`, an epoch a line."""
    import csv

    with run.history.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    measures = ("loss", "accuracy", "val_loss", "val_accuracy")
    lines = [
        (
            int(row["phase"]) + 1,
            int(row["epoch"]) + 1,
            round(float(row["seconds"])),
            *(float(row[measure]) for measure in measures),
            "best" if row["best"] == "1" else "",
        )
        for row in rows
    ]
    output.table(("phase", "epoch", "seconds", *measures, "kept"), lines, title="Training")
