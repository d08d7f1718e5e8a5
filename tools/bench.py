"""`cbtool bench`: what our forms of things gain, side by side in one run."""

from pathlib import Path

import click

from tools import options, output


@click.group()
def bench() -> None:
    """Measure training and augmentation against the stock forms."""


@bench.command()
@click.option("--backbone", required=True, metavar="NAME", help="One of keras.applications', e.g. convnext-tiny.")
@click.option("--batch", type=click.IntRange(min=1), default=16, show_default=True, help="Images in a step.")
@click.option("--steps", type=click.IntRange(min=1), default=3, show_default=True, help="Steps; their median counts.")
@options.json
def train(backbone: str, batch: int, steps: int, as_json: bool) -> None:
    """Time training steps of keras.applications' network and of ours.

    At 96 × 96 pixels, with random weights: every layer, one layer on the frozen backbone, and that layer on stored
    features.
    """
    with output.quiet_tensorflow():
        from toolkit import bench as benches
    with output.stages() as stages, stages.stage("bench") as progress:
        measured = benches.train(backbone, batch, steps, progress)
    _print({"backbone": backbone, "batch": batch} | measured, as_json)


@bench.command()
@click.option("--preset", required=True, metavar="NAME", help="The named experiment whose augmentations to time.")
@options.settings
@click.option("--data", "data_file", type=options.PATH, metavar="FILE", help="Images. [default: drawn cells]")
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True, help="For each of the two.")
@options.json
def augment(preset: str, settings: tuple[str, ...], data_file: Path | None, seconds: float, as_json: bool) -> None:
    """Time a preset's augmentations: ours, and the same keras-cv layers mapped as they are."""
    from toolkit import config, data, synthetic

    chosen = config.preset(preset, settings)
    samples = data.load(data_file, chosen.data.classes) if data_file else synthetic.draw(40)
    with output.quiet_tensorflow():
        from toolkit import bench as benches
    with output.stages() as stages, stages.stage("bench") as progress:
        measured = benches.augment(chosen.augment, samples, seconds, progress)
    _print({"preset": preset} | measured, as_json)


def _print(values: dict, as_json: bool) -> None:
    if as_json:
        output.as_json(values)
    else:
        output.table(("", ""), [(name.replace("_", " "), str(value)) for name, value in values.items()])
