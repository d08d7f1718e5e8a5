"""`cbtool build`: write the zip that CodaBench takes."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from toolkit.core.contract import AN2DL2024
from tools import options, output
from tools.evaluate import load_data
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.export import manifest, package
    from toolkit.training import run_folder


@click.command()
@click.option(
    "--run",
    "folders",
    type=options.PATH,
    required=True,
    multiple=True,
    metavar="DIR",
    help="The run folder. May be repeated: the zip averages the networks.",
)
@click.option(
    "--out",
    type=options.PATH,
    default=Path("submission.zip"),
    show_default=True,
    metavar="FILE",
    help="The zip to write.",
)
@click.option(
    "--weights",
    type=click.Choice(["float16", "float32"]),
    help=(
        "Type of the stored kernels; float32 doubles the zip. [default: that of the package, else "
        "float16]"
    ),
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0),
    default=AN2DL2024.time_limit,
    show_default=True,
    metavar="SECONDS",
    help=("The evaluator's time limit: predict uses fewer views when time runs short. 0 for none."),
)
@click.option(
    "--images",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help=(
        "Size of the hidden test set, if the evaluator passes it in several calls. [default: one "
        "call]"
    ),
)
@options.training_file
def build(
    folders: tuple[Path, ...],
    out: Path,
    weights: str | None,
    time_limit: float,
    images: int,
    data_file: Path | None,
) -> None:
    """Write a run's submission.zip.

    The zip contains model.py, manifest.json and weights.h5, without folders or compression. The
    same run gives the same bytes. If the run has no package, the network is first rewritten for
    speed, and each rewrite is compared with the trained network on validation images. The build
    stops when more than one label in a thousand changes; one label may always change.
    """
    chosen = [run_folder.open_finished(folder) for folder in folders]
    # The training file is large: it is read only where a package has to be made.
    load_samples = functools.partial(load_data, data_file=data_file)
    with output.stages() as stages, stages.stage("build") as progress:
        digest = package.build(chosen, out, load_samples, weights, time_limit, images, progress)
    for run in chosen:
        comparison = package.read_comparison(run)
        output.table(
            ("rewrite", "largest relative difference", "labels agree"),
            [
                (step.rewrite, f"{step.max_relative_difference:.1e}", step.label_agreement)
                for step in comparison.steps
            ],
            title=(
                f"{run.folder}: comparison with the trained network on {comparison.images} "
                "validation images"
            ),
        )
    networks = [manifest.read_manifest(run.package).networks[0] for run in chosen]
    output.table(
        ("", ""),
        [
            ("zip", str(out)),
            ("bytes", out.stat().st_size),
            ("sha256", digest),
            ("views", "; ".join(", ".join(network.views) for network in networks)),
            (
                "CPUs with bfloat16",
                "; ".join(
                    "use it" if network.bfloat16 else "do not use it" for network in networks
                ),
            ),
            ("time limit", f"{time_limit:g} s" if time_limit else "none"),
        ],
    )
    output.hint(f"Next: cbtool validate {out}")
