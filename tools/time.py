"""`cbtool time`: how long a zip takes, and how much memory."""

from pathlib import Path

import click

from tools import options, output


@click.command()
@click.argument("file", metavar="ZIP", type=options.PATH)
@click.option(
    "--images", type=click.IntRange(min=1), required=True, metavar="N", help="Size of the test set to project to."
)
@options.python
@options.limit
@options.json
def time(file: Path, images: int, python: str, limit: float, as_json: bool) -> None:
    """Time ZIP, and project to N images.

    On this machine, in a fresh process; speed is measured on one call of at most 512 images.
    """
    from toolkit import timing

    with output.stages() as stages, stages.stage("time"):
        measured = timing.measure(file, images, python, limit)
    if as_json:
        output.as_json(values(measured))
    else:
        output.table(("", ""), rows(measured), title=str(file))


def values(measured) -> dict:
    """The numbers for a script: seconds, and megabytes of 10^6 bytes."""
    numbers = dict(vars(measured))
    numbers["peak_mb"] = round(numbers.pop("peak_bytes") / 1e6, 1)
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in numbers.items()}


def rows(measured) -> list[tuple[str, str]]:
    """The numbers for a person."""
    return [
        ("import", f"{measured.import_seconds:.1f} s"),
        ("load, Model()", f"{measured.load_seconds:.2f} s"),
        ("first call", f"{measured.first_call_seconds:.2f} s"),
        ("speed", f"{measured.images_per_second:,.1f} images/s, over {measured.measured_images}"),
        (f"projected for {measured.images:,}", f"{measured.projected_seconds:,.1f} s"),
        ("peak memory", f"{measured.peak_bytes / 1e6:,.0f} MB"),
    ]
