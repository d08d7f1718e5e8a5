"""`cbtool bench`: what our forms of things gain, side by side in one run, and a backtest of
estimated scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from tools import options, output
from tools.evaluate import load_data
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.data import dataset, splitting, synthetic
    from toolkit.evaluation import backtest as backtests
    from toolkit.export import package
    from toolkit.report import plots
    from toolkit.runtime import checks, inference_benchmark
    from toolkit.training import benchmark as training_benchmark
    from toolkit.training import run_folder


@click.group()
def bench() -> None:
    """Measure speed against stock code; backtest estimates."""


@bench.command()
@click.option(
    "--backbone",
    required=True,
    metavar="NAME",
    help="One of keras.applications', e.g. convnext-tiny.",
)
@click.option(
    "--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images in a step."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Steps; their median counts.",
)
@options.json
def train(backbone: str, batch: int, steps: int, as_json: bool) -> None:
    """Time training steps of keras.applications' network and of ours.

    At 96 × 96 pixels, with random weights: every layer, one layer on the frozen backbone, and that
    layer on stored features.
    """
    with output.stages() as stages, stages.stage("bench") as progress:
        measured = training_benchmark.time_training(backbone, batch, steps, progress)
    _print({"backbone": backbone, "batch": batch} | measured, as_json)


@bench.command()
@click.option(
    "--preset",
    required=True,
    metavar="NAME",
    help="The named experiment whose augmentations to time.",
)
@options.settings
@click.option(
    "--data", "data_file", type=options.PATH, metavar="FILE", help="Images. [default: drawn cells]"
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=10.0,
    show_default=True,
    help="For each of the two.",
)
@options.json
def augment(
    preset: str, settings: tuple[str, ...], data_file: Path | None, seconds: float, as_json: bool
) -> None:
    """Time a preset's augmentations: ours, and the same keras-cv layers mapped as they are."""
    chosen = config.preset(preset, settings)
    samples = dataset.load(data_file, chosen.data.classes) if data_file else synthetic.draw(40)
    with output.stages() as stages, stages.stage("bench") as progress:
        measured = training_benchmark.time_augmentation(chosen.augment, samples, seconds, progress)
    _print({"preset": preset} | measured, as_json)


@bench.command()
@click.option(
    "--backbone", metavar="NAME", help="A backbone with random weights, e.g. convnext-tiny."
)
@click.option(
    "--run",
    "folder",
    type=options.PATH,
    metavar="DIR",
    help="A trained run's network instead, on its validation part.",
)
@options.training_file
@click.option(
    "--images",
    type=click.IntRange(min=32),
    metavar="N",
    help="How many. [default: 64, or the whole part]",
)
@options.json
def predict(
    backbone: str | None,
    folder: Path | None,
    data_file: Path | None,
    images: int | None,
    as_json: bool,
) -> None:
    """Time prediction: the competition's template, stock networks, ours.

    One network, the same weights and images in every form, each as a zip in a clean process. ONNX
    Runtime (with tf2onnx) and OpenVINO stand beside them where they are installed.
    """
    if (backbone is None) == (folder is None):
        raise click.UsageError("give either --backbone NAME or --run DIR.")

    if folder:
        run = run_folder.open_finished(folder)
        samples = load_data(run, data_file)
        pictures = samples.images[splitting.read(run.split).rows("validation", samples)][:images]
        stock = network = package.load_trained(run)
    else:
        stock, network = inference_benchmark.random_network(backbone)
        pictures = checks.draw_images({}, images or 64)
    with output.stages() as stages, stages.stage("bench") as progress:
        measured = inference_benchmark.measure(stock, network, pictures, progress)
    report = {"network": network.name} | dataclasses.asdict(measured)
    rows = report["rows"]
    if as_json:
        output.as_json(report)
        return
    columns = tuple(name.replace("_", " ") for name in rows[0])
    output.table(columns, [tuple(str(value) for value in row.values()) for row in rows])
    _print(
        {name: value for name, value in report.items() if name not in ("rows", "left_out")}, False
    )
    for form, why in measured.left_out.items():
        output.hint(f"Left out: {form}: {why}")


@bench.command()
@click.option(
    "--images",
    type=click.IntRange(min=100),
    default=2000,
    show_default=True,
    metavar="N",
    help="How many.",
)
@options.json
def shift(images: int, as_json: bool) -> None:
    """Time the making of corrupted copies, in chains, of drawn cells of 96 × 96 pixels."""
    _print(training_benchmark.time_shift(images), as_json)


@bench.command()
@click.argument("folders", metavar="DIR...", type=options.PATH, nargs=-1, required=True)
@click.option(
    "--picture",
    type=options.PATH,
    metavar="FILE",
    help="Draw estimated against obtained scores, as PNG.",
)
@options.stored_part
@options.json
def backtest(folders: tuple[Path, ...], picture: Path | None, part: str, as_json: bool) -> None:
    """Test the estimated score on leaderboards that are known: evaluated runs, one family of
    corruptions held out each.

    For each family that a run was not trained on, its score on chains with that family is estimated
    from chains without.
    """
    found = {
        folder.name: backtests.backtest(run_folder.open_finished(folder), part)
        for folder in folders
    }
    errors = {
        name: sum(abs(result.estimate.value - result.obtained) for result in row) / len(row)
        for name, row in found.items()
    }
    every = [result for row in found.values() for result in row]
    total = sum(abs(result.estimate.value - result.obtained) for result in every) / len(every)
    covered = sum(
        result.estimate.low <= result.obtained <= result.estimate.high for result in every
    ) / len(every)
    if picture:
        points = {
            name: [(result.estimate.value, result.obtained) for result in row]
            for name, row in found.items()
        }
        plots.backtest_picture(points, picture)
    if as_json:
        rows = [dataclasses.asdict(result) for result in every]
        output.as_json(
            {"backtests": rows, "mean_absolute_error": total, "by_run": errors, "covered": covered}
        )
        return
    rows = [
        (
            result.run,
            result.family,
            result.estimate.value,
            f"{result.estimate.low:.3f} to {result.estimate.high:.3f}",
            result.obtained,
        )
        for result in every
    ]
    output.table(("run", "family held out", "estimated", "95 % interval", "obtained"), rows)
    output.table(("run", "mean absolute error"), [*errors.items(), ("all", total)])
    click.echo(
        f"The interval held the obtained score in {covered:.0%} of {len(every)} leaderboards."
    )


def _print(values: dict, as_json: bool) -> None:
    if as_json:
        output.as_json(values)
    else:
        output.table(
            ("", ""), [(name.replace("_", " "), str(value)) for name, value in values.items()]
        )
