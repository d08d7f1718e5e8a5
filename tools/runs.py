"""`cbtool runs`: the runs side by side, and the ledger of their zips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from tools import contracts, options, output
from tools.lazy import lazy_imports
from tools.outcome import against_estimate

with lazy_imports():
    from toolkit.codabench import credentials
    from toolkit.core import records
    from toolkit.evaluation import compare as comparison
    from toolkit.evaluation import leaderboard_fit, metrics
    from toolkit.export import zip_ledger
    from toolkit.training import run_folder, run_table

if TYPE_CHECKING:
    from toolkit.codabench.address import CompetitionAddress

# Columns that a narrow terminal leaves out, the first of them first.
SPARE_OF_RUNS = (
    "test-openings",
    "precision",
    "recall",
    "augmentation",
    "fine-tuning",
    "f1",
    "seconds",
    "megabytes",
    "backbone",
    "part",
)
# Of columns whose numbers have other digits than scores.
FORMS = {"seconds": "{:,.0f}", "megabytes": "{:,.1f}"}
SPARE_OF_ZIPS = ("part", "runs", "time", "clean", "95 % interval", "shift")
folder_argument = click.argument("folder", type=options.PATH, default="runs")


@click.group()
def runs() -> None:
    """Compare runs; keep the submissions ledger."""


@runs.command(name="list")
@folder_argument
@click.option(
    "--csv", "csv_file", type=options.PATH, metavar="FILE", help="Also write the table as CSV."
)
@options.json
def list_(folder: Path, csv_file: Path | None, as_json: bool) -> None:
    """Show all runs in FOLDER in one table.

    The columns are those of the report's Table 1: backbone, augmentation, fine-tuning, and the
    scores of the held-out part (the test part if it was opened), with the accuracy on chains of
    corruptions and the estimated score. A run that is not evaluated has no scores. [default FOLDER:
    runs]
    """
    table = run_table.rows(folder)
    if csv_file:
        write_text(csv_file, run_table.as_csv(table))
    if as_json:
        output.as_json({"runs": [vars(row) for row in table]})
        return
    cells = [_list_cells(row) for row in table]
    columns = tuple(column.replace("_", "-") for column in run_table.COLUMNS)
    output.table(columns, cells, title=str(folder), spare=SPARE_OF_RUNS)


@runs.command()
@click.argument("first", metavar="A", type=options.PATH)
@click.argument("second", metavar="B", type=options.PATH)
@options.stored_part
@options.json
def compare(first: Path, second: Path, part: str, as_json: bool) -> None:
    """Test whether run A is better than run B.

    Uses a paired bootstrap over the images on which both runs were evaluated: clean, and under
    chains of corruptions.
    """
    better, other = run_folder.open_finished(first), run_folder.open_finished(second)
    found = comparison.compare(better, other, part)
    metric = run_folder.read_contract(better).metric
    if as_json:
        verdicts = {
            name: records.values(each) | {"verdict": verdict(each, "A", "B")}
            for name, each in found.items()
        }
        compared = {"a": str(first), "b": str(second), "split": part, "metric": metric}
        output.as_json(compared | verdicts)
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
        (metric, "A better by", "95 % interval", "better"),
        rows,
        title=f"{first} compared with {second}, {part} part",
    )


def verdict(difference: metrics.Estimate, first: str, second: str) -> str:
    """Which of the two is better; "inconclusive" when the interval contains zero."""
    if difference.low > 0:
        return first
    if difference.high < 0:
        return second
    return "inconclusive"


@runs.command()
@folder_argument
@options.json
def zips(folder: Path, as_json: bool) -> None:
    """Show every zip that was built from the runs in FOLDER.

    Shows the scores of each zip on the held-out part, its estimated score, its time, its online
    scores, and the mean absolute error of the estimates. The online scores re-weigh the families
    and severities of corruptions; where that estimates left-out runs better, a column shows the
    re-weighed estimates. [default FOLDER: runs]
    """
    entries = zip_ledger.read(folder)
    if not entries:
        raise InputError(
            f"no zip was built from runs in {folder}.",
            "Build one: cbtool build --run DIR --out FILE.",
        )
    error = zip_ledger.mean_absolute_error(entries)
    boards = leaderboard_fit.read_boards(folder, entries) if error is not None else []
    fit = leaderboard_fit.fit(boards)
    estimates = {board.sha256: fit.estimate(board) for board in boards} if fit else {}
    if as_json:
        report = {
            "zips": records.values(entries, list[zip_ledger.Entry]),
            "mean_absolute_error": error,
            "fit": None,
        }
        if fit:
            report["fit"] = vars(fit) | {"helps": fit.helps, "estimates": estimates}
        output.as_json(report)
        return
    columns = (
        "sha256",
        "zip",
        "runs",
        "part",
        "clean",
        "shift",
        "estimate",
        "95 % interval",
        "time",
        "online",
        *(("re-weighed",) if fit and fit.helps else ()),
    )
    places = {each.place for entry in entries for each in entry.online}
    rows = [_zip_row(entry, places) for entry in entries]
    if fit and fit.helps:
        rows = [[*row, _cell(estimates.get(entry.sha256))] for row, entry in zip(rows, entries)]
    output.table(columns, rows, title=f"Zips of {folder}", spare=SPARE_OF_ZIPS)
    if error is not None:
        output.sentence(f"The mean absolute error of the estimated scores is {error:.4f}.")
    if fit:
        output.sentence(_describe_fit(fit))


def _describe_fit(fit: leaderboard_fit.LeaderboardFit) -> str:
    """What the online scores say of the mixture, and whether the fit is used."""
    errors = (
        f"{fit.error_before:.4f} as it is, {fit.error_after:.4f} re-weighed, "
        f"{fit.error_left_out:.4f} for runs left out of the fit"
    )
    text = (
        f"Error of the mixture of corruptions over {fit.boards} zips of {fit.runs} runs: {errors}."
    )
    if fit.runs < leaderboard_fit.LEAST_RUNS:
        return f"{text} Scores of {leaderboard_fit.LEAST_RUNS} runs are needed to re-weigh it."
    if not fit.helps:
        return f"{text} Re-weighing does not help yet, so it is not used."
    weights = ", ".join(f"{family} {weight:.2f}" for family, weight in fit.weights.items())
    severity = "more" if fit.tilt > 0 else "less"
    return f"{text} Families: {weights}; {severity} severe by {abs(fit.tilt):.2f} a step."


def _list_cells(row: run_table.Row) -> list[Any]:
    """The cells of a run, in the order of its columns."""
    return [_cell(value, FORMS.get(name)) for name, value in vars(row).items()]


def _cell(value: Any, form: str | None = None) -> Any:
    """`value` in a table, in the format `form` where there is one: empty where it is not known."""
    if value is None:
        return ""
    return form.format(value) if form else value


def _zip_row(entry: zip_ledger.Entry, places: set[zip_ledger.Place]) -> list[str | float]:
    scores = (entry.clean, entry.shift, entry.estimated_score)
    online = [f"{_name_place(each.place, places)} {each.score:.4f}" for each in entry.online]
    interval = time = ""
    if entry.estimated_low is not None:
        interval = f"{entry.estimated_low:.3f} to {entry.estimated_high:.3f}"
    if entry.seconds is not None:
        time = f"{entry.seconds:.0f} s for {entry.images:,}"
    return [
        entry.sha256[:8],
        entry.file,
        " + ".join(entry.runs),
        entry.part or "",
        *map(_cell, scores),
        interval,
        time,
        ", ".join(online),
    ]


def _name_place(place: zip_ledger.Place, places: set[zip_ledger.Place]) -> str:
    """A phase's name; with the competition, and its server, where others of `places` have the
    same."""
    server, competition, phase = place
    namesakes = [other for other in places if other[2] == phase]
    if len(namesakes) == 1 or competition is None:
        return phase
    if sum(other[1] == competition for other in namesakes) == 1:
        return f"{phase} of {competition}"
    return f"{phase} of {competition} at {server}"


@runs.command(name="note-online")
@click.argument("wanted", metavar="ZIP|SHA256")
@click.argument("score", type=float)
@click.option("--phase", default="online", show_default=True, help="The competition's phase.")
@options.competition("The competition, needed where the zip has scores in several.")
@options.runs_folder
@options.json
def note_online(
    wanted: str,
    score: float,
    phase: str,
    address: CompetitionAddress | None,
    folder: Path,
    as_json: bool,
) -> None:
    """Record a zip's online score: for accuracy, a share in 0..1."""
    contract = contracts.current()
    low, high = contract.score_range
    if not low <= score <= high:
        hint = "Copy it from the leaderboard."
        if (low, high) == (0, 1) and 1 < score <= 100:
            hint = f"If it stands for {score:g} %, give {score / 100:g}."
        raise InputError(f"{contract.metric} goes from {low:g} to {high:g}: not {score:g}.", hint)
    noted = zip_ledger.OnlineScore(phase, score)
    if address:
        server = address.url or credentials.find_account().url
        noted = replace(noted, server=server, competition=address.number)
    entry = zip_ledger.note_online(folder, wanted, noted)
    if as_json:
        output.as_json(records.values(entry))
        return
    difference = against_estimate(entry, score)
    click.echo(f"{entry.file} scored {score:.4f} in {phase}{difference}")
