"""`cbtool time`: measure a zip's time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.core.errors import LimitError
from tools import contracts, live, options, output, recent
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.export import zip_ledger
    from toolkit.runtime import timing
    from toolkit.runtime.isolation import EngineName


@click.command()
@options.zip_file
@click.option(
    "--images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Size of the test set for the projection. [default: that of the competition]",
)
@options.interpreter
@options.backend
@options.limit
@options.runs_folder
@options.json
@options.quiet
def time(
    file: Path | None,
    images: int | None,
    evaluator: str | None,
    python: str | None,
    backend: EngineName | None,
    limit: float | None,
    folder: Path,
    as_json: bool,
) -> int:
    """Time ZIP, and project to N images.

    Without ZIP, times the last one that was built from a run in --runs.

    Runs ZIP on this machine in a new process, and measures the speed of one call of at most 512
    images. Also shows the speed of the machine's float32 matrix product, as a ceiling. Exits with 4
    when the projection exceeds the limit. For a zip with an own time limit up to that limit, the
    projection for the exit code uses one view.
    """
    file = recent.choose_zip(file, folder)
    contract = contracts.current()
    images = images or contract.hidden_images
    if images is None:
        raise click.UsageError(
            f"how many hidden images {contract.name} has is not known: give --images N."
        )
    limit = limit or contract.time_limit
    isolation = options.choose_isolation(backend)
    with live.stages() as stages:
        interpreter = options.choose_python(stages, evaluator, python)
        with stages.stage("time"):
            measured = timing.measure(file, images, interpreter, limit, isolation, contract)
    zip_ledger.note(folder, file, seconds=round(measured.projected_seconds, 1), images=images)
    if as_json:
        output.as_json(values(measured) | {"limit_seconds": limit, "isolation": isolation.values})
    else:
        output.table(("", ""), rows(measured, limit), title=str(file))
    shortest = measured.shortest_seconds(limit)
    if shortest > limit:
        output.hint(
            f"Too slow: {shortest:,.0f} s, the limit is {limit:g} s. Use a smaller "
            "network, or fewer views."
        )
        return LimitError.exit_code
    output.hint(f"Next: cbtool score {file} --data FILE")
    return 0


def values(measured: timing.Timing) -> dict[str, Any]:
    """The numbers for a script: seconds, and megabytes of 10^6 bytes."""
    numbers = vars(measured) | {"ceiling_share": measured.ceiling_share}
    numbers["peak_mb"] = round(numbers.pop("peak_bytes") / 1e6, 1)
    return {
        key: round(value, 3) if isinstance(value, float) else value
        for key, value in numbers.items()
    }


def rows(measured: timing.Timing, limit: float) -> list[tuple[str, str]]:
    """The numbers for a person."""
    share = f", {measured.ceiling_share:.0%} of it used" if measured.gflop_per_image else ""
    if measured.ceiling_share > 1:
        times = f"{measured.ceiling_share:.1f} times"
        share = f"; the zip reached {times} that: in bfloat16, or other programs ran meanwhile"
    views = f", {measured.views} views" if measured.views > 1 else ""
    lines = [
        ("import", f"{measured.import_seconds:.1f} s"),
        ("load, Model()", f"{measured.load_seconds:.2f} s"),
        ("first slice", f"{measured.first_call_seconds:.2f} s"),
        (
            "speed",
            f"{measured.images_per_second:,.1f} images/s, over {measured.measured_images}{views}",
        ),
        (
            f"projected for {measured.images:,}",
            f"{measured.projected_seconds:,.1f} s of {limit:g} s",
        ),
        ("peak memory", f"{measured.peak_bytes / 1e6:,.0f} MB"),
        ("matrix-product ceiling", f"{measured.ceiling_gflops:,.0f} GFLOP/s in float32{share}"),
    ]
    if measured.zip_time_limit:
        effect = "the zip uses fewer views to keep to it"
        if measured.zip_time_limit > limit:
            effect = f"longer than {limit:g} s, so the zip does not use fewer views in time"
        lines.append(("own limit", f"{measured.zip_time_limit:g} s; {effect}"))
    return lines
