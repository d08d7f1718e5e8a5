"""`cbtool status`, `logs`, `leaderboard`, `cancel`, `delete`: submissions at CodaBench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolkit.core.errors import InputError, PlatformError
from toolkit.core.files import write_text
from tools import options, output
from tools.account import connect
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility, schema
    from toolkit.codabench import upload as uploads
    from toolkit.export import zip_ledger

TAIL_LINES = 15  # of a log, shown with the status of its submission

number = click.argument("number", metavar="ID", type=click.IntRange(min=1))


@click.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@click.option(
    "--competition",
    type=click.IntRange(min=1),
    metavar="ID",
    help="List all your submissions to this competition.",
)
@options.runs_folder
@options.json
def status(number: int | None, competition: int | None, folder: Path, as_json: bool) -> int:
    """Show the status and score of submission ID.

    Without ID, lists all submissions uploaded from this machine. Records scores in the submissions
    ledger of --runs. Exits with 3 when submission ID has failed.
    """
    client = connect()
    if number is None:
        _list(client, competition, as_json)
        return 0
    found = client.get_submission(number)
    known = _find_upload(client, number)
    columns: tuple[schema.LeaderboardColumn, ...] = ()
    if known:
        columns = eligibility.find_competition(client, known.competition).columns
    show(client, found, columns, as_json)
    if known:
        known = uploads.record_status(known, found)
        if found.status == "Finished" and found.scores:
            note(known, columns, folder)
    if found.status == "Failed":
        return PlatformError.exit_code
    return 0


@click.command()
@number
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="Write the logs and the detailed results to this folder.",
)
def logs(number: int, out: Path | None) -> None:
    """Print the logs of submission ID.

    There is one log for each program in each of the two steps, ingestion and scoring.
    """
    client = connect()
    for name, text in client.get_logs(number).items():
        if out is None:
            output.log(name, text)
        else:
            write_text(out / f"{name}.txt", text)
            click.echo(out / f"{name}.txt")
    if out is not None:
        try:
            client.download_detailed_result(number, out / "detailed_results.html")
        except PlatformError as error:
            output.hint(f"No detailed results: {error.sentence}")
        else:
            click.echo(out / "detailed_results.html")


@click.command()
@click.option(
    "--competition",
    type=click.IntRange(min=1),
    metavar="ID",
    help="The competition. [default: the latest upload's]",
)
@click.option(
    "--phase",
    "wanted",
    metavar="NAME",
    help="The phase. [default: the latest upload's, or the current one]",
)
@click.option(
    "--add",
    type=click.IntRange(min=1),
    metavar="ID",
    help="First add this submission of yours.",
)
@click.option(
    "--remove",
    type=click.IntRange(min=1),
    metavar="ID",
    help="First remove this submission of yours.",
)
@options.json
def leaderboard(
    competition: int | None, wanted: str | None, add: int | None, remove: int | None, as_json: bool
) -> None:
    """Show a phase's leaderboard.

    The best submission comes first.
    """
    client = connect(required=bool(add or remove))
    if competition is None:
        latest = _find_latest_upload(client)
        if latest is None:
            raise InputError(
                "this machine has no uploads.", "Give a competition: --competition ID."
            )
        competition, wanted = latest.competition, wanted or latest.phase_name
    found = eligibility.find_competition(client, competition)
    if remove:
        client.leave_leaderboard(remove)
    if add:
        enter(client, add, found.rule)
    phase = eligibility.choose_phase(found, wanted)
    columns, places = client.get_leaderboard(phase.id)
    if as_json:
        output.as_json(
            {
                "competition": found.title,
                "phase": phase.name,
                "places": [vars(place) for place in places],
            }
        )
        return
    rows: list[tuple[object, ...]] = []
    for position, place in enumerate(places, 1):
        scores = [place.scores.get(column.key, "") for column in columns]
        rows.append((position, place.owner, *scores, place.id))
    output.table(
        ("", "user", *(column.title for column in columns), "submission"),
        rows,
        title=f"{found.title}, {phase.name}",
    )


@click.command()
@number
def cancel(number: int) -> None:
    """Cancel submission ID.

    It still counts against the day's limit.
    """
    done = connect().cancel(number)
    if done:
        click.echo(f"Submission {number} is cancelled.")
    else:
        click.echo(f"Submission {number} had already ended.")


@click.command()
@number
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(number: int, yes: bool) -> None:
    """Delete submission ID for good.

    CodaBench does not delete a submission that is on the leaderboard.
    """
    if not yes:
        click.confirm(f"Delete submission {number}?", abort=True, err=True)
    connect().delete(number)
    click.echo(f"Submission {number} is deleted.")


def line(row: schema.Submission) -> str:
    """The state of a submission, as one line."""
    text = f"submission {row.id}: {row.status}"
    # While it runs, the details are the name of the machine, which tells the user nothing.
    if row.details and not row.details.startswith(("ingestion_hostname", "scoring_hostname")):
        text += f", {row.details}"
    return text


def show(
    client: api.Client,
    row: schema.Submission,
    columns: tuple[schema.LeaderboardColumn, ...],
    as_json: bool,
) -> None:
    """Prints a submission, its scores and, once it has ended, the last lines of its logs."""
    if as_json:
        output.as_json(_values(row))
    else:
        _print_scores(client, row, columns)
    if row.final:
        _print_logs(client, row)


def _print_scores(
    client: api.Client, row: schema.Submission, columns: tuple[schema.LeaderboardColumn, ...]
) -> None:
    """Prints the state and scores of a submission, and of its children, one for each task."""
    click.echo(line(row))
    titles = {column.key: column.title for column in columns}
    for key, score in row.scores.items():
        click.echo(f"{titles.get(key, key)}: {score:.10g}")
    for number in row.children:
        child = client.get_submission(number)
        scores = [f"{key} {score:.10g}" for key, score in child.scores.items()]
        click.echo(f"  {line(child)} {', '.join(scores)}")


def _print_logs(client: api.Client, row: schema.Submission) -> None:
    """Prints the last lines of a submission's logs: of a failed one, only the log with the cause,
    where it is known."""
    try:
        found = client.get_logs(row.id)
    except PlatformError as error:
        output.hint(f"No logs: {error.sentence}")
        return
    shown = [name for name, text in found.items() if text.strip()]
    if row.status == "Failed" and (cause := schema.find_failure_log(found)):
        shown = [cause]
    for name in shown:
        lines = found[name].rstrip().splitlines()
        cut = ""
        if len(lines) > TAIL_LINES:
            cut = f", last {TAIL_LINES} of {len(lines)} lines"
        output.hint(f"-- {name}{cut}:")
        output.hint("\n".join(lines[-TAIL_LINES:]))
    if row.status == "Failed":
        output.error(PlatformError(f"{line(row)}.", f"All logs: cbtool logs {row.id}."))


def note(
    begun: uploads.Upload, columns: tuple[schema.LeaderboardColumn, ...], folder: Path
) -> None:
    """Records the primary score in the ledger of `folder`, if that knows the zip."""
    score = _find_primary_score(begun, columns)
    if score is None:
        return
    # A competition may rank by a loss or by percent, which no estimate of accuracy compares with.
    if not 0 <= score <= 1:
        output.hint(
            "The submissions ledger stores only scores from 0 to 1; this score is not recorded."
        )
        return
    try:
        entry = zip_ledger.note_online(folder, begun.sha256, score, begun.phase_name)
    except InputError:
        output.hint(
            f"The submissions ledger in {folder} does not contain this zip; give the folder of its "
            "runs with --runs."
        )
        return
    output.hint(f"Recorded in the submissions ledger{against_estimate(entry, score)}.")


def _find_primary_score(
    begun: uploads.Upload, columns: tuple[schema.LeaderboardColumn, ...]
) -> float | None:
    """The score by which the leaderboard ranks; None where it is not known."""
    for column in columns:
        if column.primary:
            return (begun.scores or {}).get(column.key)
    return None


def against_estimate(entry: zip_ledger.Entry, score: float) -> str:
    """How far `score` is from the estimated score of `entry`; empty where there is none."""
    if entry.estimated_score is None:
        return ""
    difference = score - entry.estimated_score
    return f": {difference:+.4f} from the estimated {entry.estimated_score:.4f}"


def enter(client: api.Client, number: int, rule: str) -> None:
    """Adds a submission to the leaderboard, if participants may do so."""
    try:
        client.enter_leaderboard(number)
    except PlatformError as error:
        # Where the rule is one of "Force_...", the server forbids it to everybody.
        if error.status != 403 or not rule.startswith("Force"):
            raise
        output.hint(f"The leaderboard selects submissions automatically ({rule}).")
    else:
        click.echo(f"Submission {number} is on the leaderboard.")


def _values(row: schema.Submission) -> dict[str, Any]:
    """A submission, ready for JSON."""
    return {key: value for key, value in vars(row).items() if key != "children"}


def _find_upload(client: api.Client, number: int) -> uploads.Upload | None:
    """The upload from this machine that became submission `number`."""
    for each in uploads.list_uploads():
        if (each.url, each.submission) == (client.url, number):
            return each
    return None


def _find_latest_upload(client: api.Client) -> uploads.Upload | None:
    """The latest upload from this machine to the client's server."""
    for each in uploads.list_uploads():  # the latest first
        if each.url == client.url:
            return each
    return None


def _row(client: api.Client, begun: uploads.Upload) -> schema.Submission:
    """The submission of an upload that was entered; its status is "deleted" where it is gone."""
    assert begun.submission is not None
    try:
        return client.get_submission(begun.submission)
    except PlatformError as error:
        if error.status != 404:
            raise
        return schema.Submission(
            id=begun.submission,
            phase=begun.phase,
            phase_name=begun.phase_name,
            status="deleted",
            details="",
            filename=begun.name,
            created="",
            scores={},
            on_leaderboard=False,
            children=(),
        )


def _list(client: api.Client, competition: int | None, as_json: bool) -> None:
    """Shows the submissions to a competition, or those uploaded from here."""
    found: list[schema.Submission] = []
    if competition:
        for phase in eligibility.find_competition(client, competition).phases:
            found += client.list_submissions(phase.id)
    else:
        for each in uploads.list_uploads():
            if each.url == client.url and each.submission:
                found.append(_row(client, each))
    # For a program an empty list is an answer; a person is told what else to ask for.
    if not found and not as_json:
        raise InputError(
            "there are no submissions.",
            "List those of a competition: cbtool status --competition ID.",
        )
    if as_json:
        output.as_json({"submissions": [_values(row) for row in found]})
        return
    output.table(
        ("id", "phase", "file", "created, UTC", "status", "scores", "on leaderboard"),
        [_cells(row) for row in found],
    )


def _cells(row: schema.Submission) -> tuple[str, ...]:
    """A submission as a row of the table."""
    scores = [f"{key} {score:.6g}" for key, score in row.scores.items()]
    on_leaderboard = ""
    if row.on_leaderboard:
        on_leaderboard = "yes"
    return (
        str(row.id),
        row.phase_name,
        row.filename,
        row.created[:16].replace("T", " "),
        row.status,
        ", ".join(scores),
        on_leaderboard,
    )
