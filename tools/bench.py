"""`cbtool bench`: speed against stock code, and backtests of the estimated score."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tools import bench_augment, bench_train, live, options, output
from tools.evaluate import load_data
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.data import splitting
    from toolkit.evaluation import backtest as backtests
    from toolkit.report import plots
    from toolkit.runtime import checks, inference_benchmark
    from toolkit.training import benchmark as training_benchmark
    from toolkit.training import best_network, run_folder


@click.group()
def bench() -> None:
    """Compare speed with stock code; backtest estimates."""


bench.add_command(bench_augment.augment)
bench.add_command(bench_train.train)


@bench.command()
@options.backbone("A backbone with random weights, e.g. convnext-tiny.")
@click.option(
    "--run",
    "folder",
    type=options.PATH,
    metavar="DIR",
    help="Use the network and the validation images of a trained run instead.",
)
@options.training_file
@click.option(
    "--images",
    type=click.IntRange(min=32),
    metavar="N",
    help="Number of images. [default: 64, or the whole part]",
)
@options.json
@options.quiet
def predict(
    backbone: str | None,
    folder: Path | None,
    data_file: Path | None,
    images: int | None,
    as_json: bool,
) -> None:
    """Compare the speed of forms of prediction.

    The forms are the template, stock code and those of cbtool. Every form runs the same weights on
    the same images, as a zip in a clean process. ONNX Runtime (with tf2onnx) and OpenVINO are
    included if they are installed.
    """
    if folder and backbone:
        raise click.UsageError("give either --backbone NAME or --run DIR.")
    if folder:
        run = run_folder.open_finished(folder)
        samples = load_data(run, data_file)
        pictures = samples.images[splitting.read(run.split).rows("validation", samples)][:images]
        stock = network = best_network.load_best_network(run)
    elif backbone is None:
        raise click.UsageError("give either --backbone NAME or --run DIR.")
    else:
        stock, network = training_benchmark.random_network(backbone)
        pictures = checks.draw_images(images or 64)
    with live.stages() as stages, stages.stage("bench") as progress:
        measured = inference_benchmark.measure(stock, network, pictures, progress)
    report = {"network": network.name} | dataclasses.asdict(measured)
    if as_json:
        output.as_json(report)
        return
    rows = report.pop("rows")
    left_out = report.pop("left_out")
    columns = tuple(name.replace("_", " ") for name in rows[0])
    output.table(columns, [tuple(map(str, row.values())) for row in rows])
    _print(report, as_json)
    for form, why in left_out.items():
        output.hint(f"Left out: {form}: {why}")


@bench.command()
@click.option(
    "--images",
    type=click.IntRange(min=100),
    default=2000,
    show_default=True,
    metavar="N",
    help="Number of images.",
)
@options.json
def shift(images: int, as_json: bool) -> None:
    """Time corruptions, in chains and by family.

    Uses synthetic cells of 96 × 96 pixels.
    """
    _print(training_benchmark.time_shift(images), as_json)


@bench.command()
@click.argument("folders", metavar="DIR...", type=options.PATH, nargs=-1, required=True)
@click.option(
    "--picture",
    type=options.PATH,
    metavar="FILE",
    help="Write a PNG that plots estimated against obtained scores.",
)
@options.stored_part
@options.json
def backtest(folders: tuple[Path, ...], picture: Path | None, part: str, as_json: bool) -> None:
    """Test the estimated score on known leaderboards.

    DIR is an evaluated run. For each family of corruptions that a run was not trained on, the score
    on chains with that family is estimated from the chains without it. The estimate is compared
    with the obtained score.
    """
    found: dict[str, list[backtests.Backtest]] = {}
    for folder in folders:
        found[folder.name] = backtests.backtest(run_folder.open_finished(folder), part)
    every = [result for results in found.values() for result in results]
    errors = {name: _mean_error(results) for name, results in found.items()}
    total = _mean_error(every)
    inside = [each.estimate.low <= each.obtained <= each.estimate.high for each in every]
    covered = sum(inside) / len(every)
    width = sum(each.estimate.high - each.estimate.low for each in every) / len(every)
    if picture:
        plots.backtest_picture(
            {name: list(map(_point, results)) for name, results in found.items()}, picture
        )
    if as_json:
        values = [dataclasses.asdict(result) for result in every]
        output.as_json(
            {
                "backtests": values,
                "mean_absolute_error": total,
                "by_run": errors,
                "covered": covered,
                "mean_width": width,
            }
        )
        return
    rows = []
    for result in every:
        estimate = result.estimate
        interval = f"{estimate.low:.3f} to {estimate.high:.3f}"
        rows.append((result.run, result.family, estimate.value, interval, result.obtained))
    output.table(("run", "family held out", "estimated", "95 % interval", "obtained"), rows)
    output.table(("run", "mean absolute error"), [*errors.items(), ("all", total)])
    output.sentence(
        f"The interval contains the obtained score in {covered:.0%} of {len(every)} leaderboards; "
        f"its mean width is {width:.3f}."
    )


def _point(result: backtests.Backtest) -> tuple[float, float]:
    return result.estimate.value, result.obtained


def _mean_error(results: list[backtests.Backtest]) -> float:
    """The mean absolute difference of estimated and obtained scores."""
    return sum(abs(each.estimate.value - each.obtained) for each in results) / len(results)


def _print(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.as_json(values)
    else:
        output.table(
            ("", ""), [(name.replace("_", " "), str(value)) for name, value in values.items()]
        )
