"""`cbtool runs`: the experiments side by side, and what became of their zips."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from tools import options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.evaluation import compare as comparison
    from toolkit.evaluation import metrics
    from toolkit.export import zip_ledger
    from toolkit.training import run_folder, run_table

folder_argument = click.argument("folder", type=options.PATH, default="runs")


@click.group()
def runs() -> None:
    """Compare runs, and keep the ledger of their zips."""


@runs.command(name="list")
@folder_argument
@click.option(
    "--csv", "csv_file", type=options.PATH, metavar="FILE", help="Write the table as CSV, too."
)
@options.json
def list_(folder: Path, csv_file: Path | None, as_json: bool) -> None:
    """Show the runs in FOLDER side by side.

    The columns of the report's Table 1: backbone, augmentation, fine-tuning, and the scores of the
    held-out part, the test part where it was opened, with the accuracy on chains of corruptions and
    the score foretold; a run that is not evaluated yet shows none. [default FOLDER: runs]
    """
    table = run_table.rows(folder)
    if csv_file:
        write_text(csv_file, run_table.as_csv(table))
    if as_json:
        output.as_json({"runs": [vars(row) for row in table]})
        return
    cells = [["" if value is None else value for value in vars(row).values()] for row in table]
    output.table(
        tuple(column.replace("_", "-") for column in run_table.COLUMNS), cells, title=str(folder)
    )


@runs.command()
@click.argument("first", metavar="A", type=options.PATH)
@click.argument("second", metavar="B", type=options.PATH)
@options.stored_part
@options.json
def compare(first: Path, second: Path, part: str, as_json: bool) -> None:
    """Say whether run A is really better than run B.

    By a paired bootstrap over the images that both were evaluated on: clean, and through chains of
    corruptions.
    """
    found = comparison.compare(
        run_folder.open_finished(first), run_folder.open_finished(second), part
    )
    if as_json:
        verdicts = {
            name: each.values | {"verdict": verdict(each, "A", "B")} for name, each in found.items()
        }
        output.as_json({"a": str(first), "b": str(second), "split": part} | verdicts)
        return
    rows = [
        (
            name,
            f"{each.value:+.4f}",
            f"{each.low:+.4f} to {each.high:+.4f}",
            verdict(each, str(first), str(second)),
        )
        for name, each in found.items()
    ]
    output.table(
        ("accuracy", "A - B", "95 % interval", "better"),
        rows,
        title=f"{first} against {second}, {part} part",
    )


def verdict(difference: metrics.Estimate, first: str, second: str) -> str:
    """Which of two is better, where the interval leaves no doubt."""
    if difference.low > 0:
        return first
    return second if difference.high < 0 else "not to be told"


@runs.command()
@folder_argument
@options.json
def zips(folder: Path, as_json: bool) -> None:
    """Show every zip that was built of the runs in FOLDER.

    With the scores of its held-out part, the score foretold, its timing, its online scores, and how
    far the foretold ones were off so far. [default FOLDER: runs]
    """
    entries = zip_ledger.read(folder)
    if not entries:
        raise InputError(
            f"no zip was built of runs in {folder}.",
            "Build one: cbtool build --run DIR --out FILE.",
        )
    error = zip_ledger.running_error(entries)
    if as_json:
        output.as_json({"zips": [vars(entry) for entry in entries], "mean_absolute_error": error})
        return
    rows = [
        (
            entry.sha256[:8],
            entry.file,
            " + ".join(entry.runs),
            entry.part or "",
            *(
                "" if value is None else value
                for value in (entry.clean, entry.shift, entry.foretold)
            ),
            ""
            if entry.foretold is None
            else f"{entry.foretold_low:.3f} to {entry.foretold_high:.3f}",
            "" if entry.seconds is None else f"{entry.seconds:.0f} s for {entry.images:,}",
            ", ".join(f"{phase} {score:.4f}" for phase, score in entry.online.items()),
        )
        for entry in entries
    ]
    columns = (
        "sha256",
        "zip",
        "runs",
        "part",
        "clean",
        "shift",
        "foretold",
        "95 % interval",
        "time",
        "online",
    )
    output.table(columns, rows, title=f"Zips of {folder}")
    if error is not None:
        click.echo(f"Foretold and online scores lie {error:.4f} apart, on average.")


@runs.command(name="note-online")
@click.argument("wanted", metavar="ZIP|SHA256")
@click.argument("score", type=click.FloatRange(0, 1))
@click.option("--phase", default="online", show_default=True, help="The competition's phase.")
@options.runs_folder
def note_online(wanted: str, score: float, phase: str, folder: Path) -> None:
    """Note what a zip scored online, as a share in 0..1."""
    entry = zip_ledger.note_online(folder, wanted, score, phase)
    away = (
        ""
        if entry.foretold is None
        else f"; foretold were {entry.foretold:.4f}, {score - entry.foretold:+.4f} away"
    )
    click.echo(f"{entry.file} scored {score:.4f} in {phase}{away}")
