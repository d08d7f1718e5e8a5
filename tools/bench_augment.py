"""`cbtool bench augment`: the speed of augmentation, against other libraries'."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from toolkit.core.errors import InputError
from tools import contracts, live, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.augment import benchmark, peers
    from toolkit.core import config
    from toolkit.data import dataset, pictures, synthetic

ALL_CORES = "all"
# As the columns are called; "keras-cv" is the naive map.
PEERS = ("keras-cv", "albumentations", "pillow")
CELLS = 40  # of each class, where no images are given


def _parse_threads(text: str) -> str:
    """A parameter that is a number of cores or "all". Raises InputError for anything else."""
    if text != ALL_CORES and not (text.isdecimal() and int(text) > 0):
        raise InputError(
            f"--threads is '{text}', which is no number of cores.", "Use 1, 2, ... or all."
        )
    return text


@click.command()
@options.preset(
    "The preset whose augmentations are timed. May be repeated.", required=True, multiple=True
)
@options.settings
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    metavar="FILE",
    help="Images. [default: synthetic cells]",
)
@click.option(
    "--size",
    type=click.IntRange(16, 1024),
    metavar="PIXELS",
    help="Side to which the images are resized first. [default: that of the images]",
)
@click.option(
    "--threads",
    type=_parse_threads,
    multiple=True,
    default=(ALL_CORES,),
    show_default=True,
    metavar="N|all",
    help="Number of cores. May be repeated.",
)
@click.option(
    "--each",
    is_flag=True,
    help="Time each operation alone, too, on every image.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.3),
    default=6.0,
    show_default=True,
    help="Measuring time of each form, in three turns; the median counts.",
)
@options.json
@options.quiet
def augment(
    preset: tuple[str, ...],
    settings: tuple[str, ...],
    data_file: Path | None,
    size: int | None,
    threads: tuple[str, ...],
    each: bool,
    seconds: float,
    as_json: bool,
) -> None:
    """Compare augmentation speed with other libraries.

    Times a preset's augmentations, from uint8 images to batches of 64, in cbtool, as plain keras-cv
    layers under RandomApply, and with albumentations and Pillow, which run in one process per core.
    A library that lacks operations is compared on those that both have. albumentations is measured
    if it is installed: pip install 'cbtool[bench]'.
    """
    chosen = [config.preset(name, settings) for name in preset]
    samples = (
        dataset.load(data_file, chosen[0].data.classes, contracts.current())
        if data_file
        else synthetic.draw(CELLS)
    )
    if size:
        samples = _resize(samples, size)
    chains = {name: settings.augment for name, settings in zip(preset, chosen)}
    every = tuple(operation for operations in chains.values() for operation in operations)
    counts = [benchmark.count_cores() if text == ALL_CORES else int(text) for text in threads]
    rows: list[benchmark.Speeds] = []
    with live.stages() as stages, stages.stage("bench") as progress:
        for count in dict.fromkeys(counts):
            for name, operations in chains.items():
                rows += benchmark.measure_chain(name, operations, samples, count, seconds, progress)
            if each:
                rows += benchmark.measure_each(every, samples, count, seconds, progress)
    lacking = benchmark.find_lacking(every)
    missing = [peer for peer in peers.PEERS if not peers.is_installed(peer)]
    if as_json:
        report = {
            "size": samples.images.shape[1:3],
            "rows": [dataclasses.asdict(row) | {"ratios": row.ratios} for row in rows],
            "lacking": lacking,
            "not_installed": missing,
        }
        output.as_json(report)
        return
    columns = ("", "cores", "operations", "ours", *(f"× {peer}" for peer in PEERS))
    output.table(columns, [_describe(row) for row in rows], title="Images/s, and ours to others'")
    for peer, names in lacking.items():
        if peer in missing:
            output.hint(f"{peer} is not installed: pip install 'cbtool[bench]'.")
        elif names:
            output.hint(f"{peer} lacks {', '.join(names)}.")


def _resize(samples: dataset.Samples, size: int) -> dataset.Samples:
    """`samples` with images of `size` × `size` pixels."""
    side = (size, size)
    resized = [pictures.resize(Image.fromarray(image), side) for image in samples.images]
    return samples.with_images(np.stack([np.asarray(image) for image in resized]))


def _describe(row: benchmark.Speeds) -> tuple[Any, ...]:
    """A line of the table; a peer that lacks an operation, or is not installed, has no number."""
    ratios = [str(row.ratios.get(peer, "")) for peer in PEERS]
    return row.subject, row.threads, f"{row.operations} of {row.of}", f"{row.ours:.0f}", *ratios
