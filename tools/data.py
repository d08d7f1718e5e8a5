"""`cbtool data`: inspect, clean, convert, augment or download training data."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
import numpy as np

from toolkit.core.files import file_name, format_count
from tools import contracts, data_labels, live, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.augment import pipeline
    from toolkit.core import config
    from toolkit.data import (
        array_conversion,
        bloodmnist,
        cleaning,
        conversion,
        dataset,
        folder_conversion,
        parquet_conversion,
    )
    from toolkit.report import plots


@click.group()
def data() -> None:
    """Inspect, clean, convert or download training data."""


data.add_command(data_labels.labels)
data.add_command(data_labels.relabel)


@data.command()
@click.argument("file", type=options.PATH)
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="Folder for the contact sheets. [default: NAME-inspect in the working folder]",
)
@options.classes
@options.json
@options.quiet
def inspect(file: Path, out: Path | None, classes: int | None, as_json: bool) -> None:
    """Show what FILE.npz contains.

    Also writes a contact sheet for each class, with the id of each image, its row in FILE.
    """
    samples = dataset.load(file, classes, contracts.current())
    out = out or Path(f"{file.stem}-inspect")
    with live.stages() as stages, stages.stage("copies"):
        groups = cleaning.group_copies(samples.images, config.CleanConfig().near_copy_bits)
    sizes = np.bincount(groups)
    with live.stages() as stages, stages.stage("sheets") as progress:
        for label, name in enumerate(samples.class_names):
            progress(label, len(samples.class_names), name)
            members = samples.take(np.flatnonzero(samples.labels == label))
            if len(members):
                ids = [str(id_) for id_ in members.ids]
                sheet = out / f"{label}-{file_name(name)}.png"
                plots.contact_sheet(members.images, sheet, ids)
    report = {
        "file": str(file),
        "images": list(samples.images.shape),
        "dtype": str(samples.images.dtype),
        "lowest": int(samples.images.min()),
        "highest": int(samples.images.max()),
        "mean": float(samples.images.mean()),
        "different_pictures": len(sizes),
        "copies": int(len(samples) - len(sizes)),
        "most_copied": int(sizes.max()),
        "class_counts": {
            name: int(count) for name, count in zip(samples.class_names, samples.counts)
        },
        "sheets": str(out),
    }
    if as_json:
        output.as_json(report)
    else:
        _print(report)
    dataset.require_trainable(samples, file)
    output.hint(f"Next: cbtool data clean {file} --out cleaning")


def _print(report: dict[str, Any]) -> None:
    n, height, width, _ = report["images"]
    output.table(
        ("", ""),
        [
            ("images", f"{n:,} of {height} × {width} pixels, {report['dtype']}"),
            ("values", f"{report['lowest']} to {report['highest']}, mean {report['mean']:.1f}"),
            (
                "copies",
                f"{report['copies']:,}, of {report['different_pictures']:,} different pictures; the"
                f" most frequent one occurs {format_count(report['most_copied'], 'time')}",
            ),
            ("sheets", report["sheets"]),
        ],
        title=report["file"],
    )
    rows = [(name, count, count / n) for name, count in report["class_counts"].items()]
    output.table(("class", "images", "share"), rows)


@data.command()
@click.argument("file", type=options.PATH)
@click.option(
    "--out",
    type=options.PATH,
    required=True,
    metavar="DIR",
    help="Folder for clean.csv and the two plots.",
)
@options.classes
@options.json
@options.quiet
def clean(file: Path, out: Path, classes: int | None, as_json: bool) -> None:
    """Find outliers, copies and broken images in FILE.npz.

    Writes DIR/clean.csv (id, reason, score, kept, x, y) and scatter plots of the PCA before and
    after cleaning. FILE is not changed; `cbtool train` cleans the data itself.
    """
    samples = dataset.load(file, classes, contracts.current())
    dataset.require_trainable(samples, file)
    with live.stages() as stages, stages.stage("clean"):
        found = cleaning.clean(samples, config.CleanConfig())
        cleaning.write_csv(found, out / "clean.csv")
        plots.cleaning_pictures(found.coordinates, found.kept, out)
    if as_json:
        dropped = cleaning.count_reasons(found.reasons)
        kept = int(found.kept.sum())
        output.as_json({"file": str(out / "clean.csv"), "kept": kept, "dropped": dropped})
        return
    output.table(
        ("what", "images"), cleaning.list_counts(found.reasons), title=str(out / "clean.csv")
    )
    output.hint(f"Pictures: {out / plots.BEFORE_CLEANING}, {out / plots.AFTER_CLEANING}.")
    output.hint(f"Next: cbtool train --data {file}")


@data.command("augment-preview")
@click.argument("file", type=options.PATH)
@click.option(
    "--preset",
    default="lite",
    show_default=True,
    help="The preset whose augmentations are shown.",
)
@options.settings
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="Folder for the sheets. [default: PRESET-augmentations]",
)
@options.classes
@options.quiet
def augment_preview(
    file: Path, preset: str, settings: tuple[str, ...], out: Path | None, classes: int | None
) -> None:
    """Show a preset's augmentations on images of FILE.npz.

    Writes one sheet per augmentation and one for the whole chain: rows of images, each above its
    augmented copies. A single augmentation changes every image; the chain applies each at its rate.
    """
    chosen = config.preset(preset, settings)
    samples = dataset.load(file, classes, contracts.current())
    out = out or Path(f"{preset}-augmentations")
    rows = np.linspace(0, len(samples) - 1, plots.PREVIEW_IMAGES).astype(int)
    with live.stages() as stages, stages.stage("augment") as progress:
        sheets = {
            operation.name: (dataclasses.replace(operation, rate=1.0),)
            for operation in chosen.augment
        }
        for number, (name, operations) in enumerate({**sheets, "chain": chosen.augment}.items()):
            progress(number, len(sheets) + 1, name)
            shown = dataclasses.replace(chosen, augment=operations)
            copies = [
                pipeline.augment_once(samples, rows, shown, draw).astype(np.uint8)
                for draw in range(plots.PREVIEW_COPIES)
            ]
            plots.preview(samples.images[rows], copies, out / f"{name}.png")
    click.echo(out)


@data.command()
@click.argument("source", type=options.PATH, metavar="DIR|FILE")
@click.option(
    "--labels",
    type=options.PATH,
    metavar="CSV",
    help="The table of DIR's pictures: a column of file names, and one of labels.",
)
@click.option(
    "--out",
    type=options.PATH,
    default=Path("training_set.npz"),
    show_default=True,
    metavar="FILE",
    help="The npz to write.",
)
@click.option(
    "--size",
    type=click.IntRange(16, 1024),
    metavar="N",
    help=(
        "Side of the images in pixels: of a picture of another size, the largest square in its "
        "middle, scaled. [default: the size of all pictures, if it is one]"
    ),
)
@click.option(
    "--report",
    "report_file",
    type=options.PATH,
    metavar="FILE",
    help="Write a CSV table of all that was skipped, and why.",
)
@click.option("--images-key", metavar="NAME", help="The array or column of the images.")
@click.option("--labels-key", metavar="NAME", help="The array or column of the labels.")
@options.json
@options.quiet
def convert(
    source: Path,
    labels: Path | None,
    out: Path,
    size: int | None,
    images_key: str | None,
    labels_key: str | None,
    report_file: Path | None,
    as_json: bool,
) -> None:
    """Write a training file from pictures or arrays.

    DIR has a folder of pictures for each class, or --labels names a table of its pictures. FILE is
    an npz or HDF5 file with other names, types or layouts: grey, RGBA, channels first, 16 bits,
    numbers in 0..1, labels as names; in HDF5, a key is a dataset's whole name, such as
    train/images. FILE may also be a Parquet table of pictures, as Hugging Face has them. Every
    image becomes 8-bit RGB. What cannot be read is skipped, and counted by reason.
    """
    if source.is_dir() and images_key and not labels:
        raise click.UsageError("--images-key is for arrays, or for the table of --labels.")
    with live.stages() as stages, stages.stage("convert") as progress:
        if source.is_dir() and labels:
            found = folder_conversion.convert_table(
                labels, source, images_key, labels_key, size, progress
            )
        elif source.is_dir():
            found = folder_conversion.convert_folder(source, size, progress)
        elif source.suffix.lower() in parquet_conversion.SUFFIXES:
            found = parquet_conversion.convert_parquet(
                source, images_key, labels_key, size, progress
            )
        else:
            found = array_conversion.convert_arrays(source, images_key, labels_key, size, progress)
        dataset.save(found.samples, out)
    if report_file:
        conversion.write_report(found.skipped, report_file)
    counts = dict(zip(found.samples.class_names, found.samples.counts.tolist()))
    report = {
        "file": str(out),
        "images": list(found.samples.images.shape),
        "resized": found.resized,
        "class_counts": counts,
        "skipped_reasons": found.reasons,
        "skipped": [vars(each) for each in found.skipped],
    }
    if as_json:
        output.as_json(report)
        return
    height, width = found.samples.images.shape[1:3]
    output.table(
        ("class", "images"),
        list(counts.items()),
        title=f"{out}: {len(found.samples):,} images of {height} × {width} pixels",
    )
    if found.skipped:
        examples = {each.reason: each for each in reversed(found.skipped)}  # the first of each
        output.table(
            ("skipped, because it", "pictures", "the first", "detail"),
            [
                (reason, count, examples[reason].where, examples[reason].detail)
                for reason, count in found.reasons.items()
            ],
            title=f"{len(found.skipped):,} skipped",
            spare=("detail",),
        )
        if report_file:
            output.hint(f"All that was skipped: {report_file}")
        else:
            output.hint("All that was skipped, by name: --report FILE.csv.")
    output.hint(f"Next: cbtool data inspect {out}")


@data.command()
@click.argument("name", type=click.Choice(["bloodmnist"]))
@click.option(
    "--size",
    type=click.Choice(["64", "128", "224"]),
    default="128",
    show_default=True,
    help="Side of the images in pixels.",
)
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    default="train",
    show_default=True,
    help=(
        "The published part. The competition's images are the train part: use it for training, and "
        "the other parts for scoring."
    ),
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="FILE",
    help="File to write. [default: bloodmnist_SIZE_PART.npz]",
)
@options.quiet
def download(name: str, size: str, part: str, out: Path | None) -> None:
    """Download and convert public training data.

    The data is BloodMNIST (CC BY 4.0). An interrupted download continues where it stopped. The
    published file (up to 1.5 GB) is kept beside the converted one.
    """
    out = out or Path(f"{name}_{size}_{part}.npz")
    with live.stages() as stages, stages.stage("download") as progress:
        bloodmnist.bloodmnist(int(size), part, out, out.parent, progress)
    click.echo(out)
    output.hint(f"Next: cbtool data inspect {out}")
