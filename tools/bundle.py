"""`cbtool bundle`: write a competition to host on CodaBench."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from toolkit.core.contract import AN2DL2024
from tools import contracts, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import hosting
    from toolkit.data import dataset, synthetic

TITLE = "Image classification"
PER_CLASS = 2  # drawn cells a class, where there is no data
ONE_SECOND = timedelta(seconds=1)
DATE = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.option(
    "--out",
    type=options.PATH,
    required=True,
    metavar="DIR|ZIP",
    help="A new folder, or a new zip for CodaBench.",
)
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    metavar="FILE",
    help="Npz file of the hidden images. [default: synthetic cells]",
)
@click.option(
    "--final",
    "final_file",
    type=options.PATH,
    metavar="FILE",
    help="Npz file of the hidden images of a second phase, Final.",
)
@click.option(
    "--start", type=DATE, metavar="DATE", help="First day, as YYYY-MM-DD. [default: today]"
)
@click.option("--final-start", type=DATE, metavar="DATE", help="First day of the phase Final.")
@click.option("--title", help="The competition's name. [default: that in competition.toml]")
@click.option(
    "--docker-image",
    metavar="IMAGE",
    help="Docker image of the submissions. [default: that of the competition's TensorFlow]",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Time limit of each step. [default: the competition's]",
)
@click.option(
    "--per-day",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    metavar="N",
    help="Submissions per person and day.",
)
@options.classes
def bundle(
    out: Path,
    data_file: Path | None,
    final_file: Path | None,
    start: datetime | None,
    final_start: datetime | None,
    title: str | None,
    docker_image: str | None,
    limit: int | None,
    per_day: int,
    classes: int | None,
) -> None:
    """Write a competition for CodaBench.

    The ingestion program calls what the competition asks for, by default `Model().predict`, on the
    hidden images; the scoring program computes its metric, by default accuracy, and a confusion
    matrix. Without --data, the hidden images are a few synthetic cells.
    """
    contract = contracts.current()
    start = start or datetime.now()
    if (final_file is None) != (final_start is None):
        raise click.UsageError("give both --final and --final-start, or neither.")
    if final_start and final_start <= start:
        raise click.UsageError("--final-start must be later than --start.")
    if data_file:
        samples = dataset.load(data_file, classes, contract)
    elif contract != AN2DL2024:
        raise click.UsageError(f"give --data FILE: the hidden images of {contract.name}.")
    else:
        drawn = synthetic.draw(PER_CLASS)
        cells = drawn.ids < PER_CLASS * len(synthetic.KINDS)  # irrelevant pictures come after them
        samples = drawn.take(cells.nonzero()[0])
    phases = [hosting.HostedPhase("Development", samples, start)]
    if final_file and final_start:
        # CodaBench refuses phases of which one ends at the moment when the next one starts.
        phases = [replace(phases[0], end=final_start - ONE_SECOND)]
        final = dataset.load(final_file, classes, contract)
        phases.append(hosting.HostedPhase("Final", final, final_start))
    settings = hosting.Settings(
        title or (TITLE if contract == AN2DL2024 else contract.name),
        docker_image or hosting.name_docker_image(contract),
        limit or round(contract.time_limit),
        per_day,
    )
    hosting.write_bundle(out, phases, settings, contract)
    click.echo(
        f"{out}: "
        f"{', '.join(f'{phase.name} with {len(phase.samples):,} images' for phase in phases)}"
    )
    output.hint(
        f"Next: cbtool rehearse submission.zip --bundle {out}. Upload it to CodaBench as a zip, "
        "under Benchmarks, Management, Upload."
    )
