"""`cbtool bench train`: the speed of training, against keras.applications."""

from __future__ import annotations

from typing import Any

import click

from tools import live, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.models import backbones, precision
    from toolkit.models import backend as keras_backend
    from toolkit.training import benchmark, step_benchmark

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
COLUMNS = {
    "precision": "precision",
    "xla": "XLA",
    "remat": "remat",
    "batch": "batch",
    "images_per_second": "images/s",
    "ratio": "× stock",
    "input_wait_ms": "wait, ms",
    "compute_ms": "step, ms",
    "utilisation": "of ceiling",
    "peak_mb": "peak, MB",
}


@click.command()
@options.backbone("A backbone that keras.applications also has, e.g. convnext-tiny.", required=True)
@click.option(
    "--batch",
    "batches",
    type=click.IntRange(min=1),
    multiple=True,
    default=(16,),
    show_default=True,
    help="Images per step. May be repeated.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    default=("auto",),
    show_default=True,
    help="Arithmetic of the layers. May be repeated.",
)
@click.option(
    "--xla",
    type=click.Choice(["on", "off"]),
    multiple=True,
    default=("off",),
    show_default=True,
    help="Whether XLA compiles the step, on TensorFlow. May be repeated.",
)
@click.option(
    "--remat",
    type=click.Choice(["on", "off"]),
    multiple=True,
    default=("off",),
    show_default=True,
    help="Whether activations are computed again, as train.remat. May be repeated.",
)
@click.option(
    "--size",
    type=click.IntRange(32, 1024),
    default=96,
    show_default=True,
    metavar="PIXELS",
    help="Side of the images.",
)
@options.keras_backend("What Keras runs on.")
@options.preset("The preset whose augmentations make the batches. [default: none]")
@click.option("--heads", is_flag=True, help="Time one layer on the frozen backbone, too.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of steps; the result is their median.",
)
@options.json
@options.quiet
def train(
    backbone: str,
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    xla: tuple[str, ...],
    remat: tuple[str, ...],
    size: int,
    backend: str,
    preset: str | None,
    heads: bool,
    steps: int,
    as_json: bool,
) -> None:
    """Compare training speed with keras.applications.

    Times training steps of all layers, with random weights and Adam, in every combination of
    precision, XLA, remat and batch size, each in a process of its own. A step is split into the
    wait for its batch and its computation; the arithmetic of that is compared with the ceiling, a
    product of large matrices in the same precision. --heads also times one layer on the frozen
    backbone, and that layer on stored features, in batches of the first size, at 96 pixels.
    """
    options.use_keras_backend(backend)
    keras_backend.require(backend)
    backbones.require_stock(backbone)
    policies = tuple(dict.fromkeys(precision.policy(name) for name in precisions))
    operations = config.preset(preset).augment if preset else ()
    # JAX is XLA: without it, every operation of a step would run by itself.
    compiled = [True] if backend == "jax" else [choice == "on" for choice in xla]
    again = [choice == "on" for choice in remat]
    cases = step_benchmark.list_cases(
        backbone, policies, compiled, again, batches, size, steps, operations
    )
    report: dict[str, Any] = {"backbone": backbone, "size": size, "augmentations": preset}
    with live.stages() as stages, stages.stage("bench") as progress:
        report["rows"] = step_benchmark.measure(cases, progress)
        if heads:
            report["heads"] = benchmark.time_heads(backbone, batches[0], steps, progress)
    if as_json:
        output.as_json(report)
        return
    rows = [_describe(row) for row in report["rows"]]
    output.table(("", *COLUMNS.values()), rows, title=f"{backbone}, {size} pixels")
    if heads:
        output.table(("", ""), [(name, str(value)) for name, value in report["heads"].items()])


def _describe(row: dict[str, Any]) -> tuple[str, ...]:
    """A line of the table."""
    shown = row | {name: "on" if row[name] else "off" for name in ("xla", "remat")}
    if row["images_per_second"] is None:
        shown["images_per_second"] = "out of memory"
    cells = ("" if shown[name] is None else str(shown[name]) for name in COLUMNS)
    return "ours" if row["ours"] else "stock", *cells
