"""`cbtool status`, `logs`, `cancel`, `delete`: submissions at CodaBench."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from toolkit.core.errors import InputError, PlatformError
from toolkit.core.files import write_text
from tools import options, outcome, output, unfinished
from tools.account import connect
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import address as addresses
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility, schema
    from toolkit.codabench import upload_records as uploads

number = click.argument("number", metavar="ID", type=click.IntRange(min=1))


@click.command()
@click.argument("number", metavar="[ID]", type=click.IntRange(min=1), required=False)
@options.competition("List all your submissions to this competition.")
@options.runs_folder
@options.json
def status(
    number: int | None,
    address: addresses.CompetitionAddress | None,
    folder: Path,
    as_json: bool,
) -> int:
    """Show the status and score of submission ID.

    Without ID, lists all submissions uploaded from this machine, and unfinished uploads. Records
    scores in the submissions ledger of --runs. Exits with 3 when submission ID, or one of its
    tasks, has failed.
    """
    client = connect()
    if number is None:
        _list(client, address, as_json)
        return 0
    known = uploads.find_upload(client, number)
    try:
        found = client.get_submission(number)
    except PlatformError as error:
        if error.status == 404 and known:
            uploads.record_absence(known)
        raise
    columns: tuple[schema.LeaderboardColumn, ...] = ()
    if known:
        columns = _find_columns(client, known)
    code = outcome.show(client, found, columns, as_json)
    if known:
        known = uploads.record_status(client, known, found)
        if found.status == "Finished" and found.scores:
            outcome.note(known, columns, folder)
    return code


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

    There is one log for each program in each of the two steps, prediction and scoring; where the
    phase has several tasks, for each of them.
    """
    client = connect()
    row = client.get_submission(number)
    children = client.get_children(row)
    found = {each.id: client.get_logs(each.id) for each in children or [row]}
    if not any(text.strip() for texts in found.values() for text in texts.values()):
        if row.final:
            raise PlatformError(
                f"the server kept no logs of submission {number}.", outcome.RUN_HERE
            )
        output.hint(f"Submission {number} is {row.status}; its logs come when a step has ended.")
        return
    for each in children or [row]:
        if out is None:
            _print_full_logs(each, found[each.id], titled=bool(children))
        else:
            # One folder a task, where there are several.
            _write_logs(client, each.id, found[each.id], out / str(each.id) if children else out)


def _print_full_logs(row: schema.Submission, texts: dict[str, str], titled: bool) -> None:
    for name, text in texts.items():
        output.log(f"{row.id} ({row.task}): {name}" if titled else name, text)


def _write_logs(client: api.Client, number: int, texts: dict[str, str], folder: Path) -> None:
    """Writes logs and detailed results of submission `number` to `folder`."""
    for name, text in texts.items():
        write_text(folder / f"{name}.txt", text)
        click.echo(folder / f"{name}.txt")
    try:
        client.download_detailed_result(number, folder / "detailed_results.html")
    except PlatformError as error:
        output.hint(f"No detailed results: {error.sentence}")
    else:
        click.echo(folder / "detailed_results.html")


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
    if not yes and not output.confirm(f"Delete submission {number}?"):
        return
    client = connect()
    known = uploads.find_upload(client, number)
    try:
        client.delete(number)
    except PlatformError as error:
        if error.status == 404 and known:
            uploads.record_absence(known)
        raise
    if known:
        uploads.record_deletion(known)
    click.echo(f"Submission {number} is deleted.")


def _find_columns(
    client: api.Client, begun: uploads.Upload
) -> tuple[schema.LeaderboardColumn, ...]:
    address = addresses.CompetitionAddress(begun.competition)
    return eligibility.find_competition(client, address).columns


def _find_row(client: api.Client, begun: uploads.Upload) -> schema.Submission | None:
    """The submission of an upload that was entered; its status is "deleted" where it is gone, and
    there is none where it may be another user's."""
    assert begun.submission is not None
    if begun.status != uploads.DELETED:
        try:
            found = client.get_submission(begun.submission)
        except PlatformError as error:
            if error.status != 404:
                raise
            if not uploads.record_absence(begun):
                return None
        else:
            uploads.record_user(client, begun)
            return found
    return schema.Submission(
        id=begun.submission,
        phase=begun.phase,
        phase_name=begun.phase_name,
        status=uploads.DELETED,
        details="",
        filename=begun.name,
        created="",
        scores={},
        on_leaderboard=False,
        children=(),
    )


def _list(client: api.Client, address: addresses.CompetitionAddress | None, as_json: bool) -> None:
    """Shows the submissions to a competition, or the uploads from here."""
    found: list[schema.Submission] = []
    waiting: list[uploads.Upload] = []
    if address:
        for phase in eligibility.find_competition(client, address).phases:
            found += client.list_submissions(phase.id)
    else:
        for each in uploads.list_uploads(client):
            if each.submission:
                row = _find_row(client, each)
                if row is not None:
                    found.append(row)
            elif not each.is_over:
                waiting.append(each)
    # For a program an empty list is an answer; a person is told what else to ask for.
    if not found and not waiting and not as_json:
        raise InputError(
            "there are no submissions.",
            "List those of a competition: cbtool status --competition ID.",
        )
    if as_json:
        output.as_json(
            {
                "submissions": [outcome.values(row) for row in found],
                "unfinished_uploads": [unfinished.values(each) for each in waiting],
            }
        )
        return
    output.table(
        ("id", "phase", "file", "created, UTC", "status", "scores", "on leaderboard"),
        [_cells(row) for row in found],
    )
    for each in waiting:
        output.hint(
            f"Unfinished: {unfinished.describe(each)}. Continue it: cbtool upload --resume "
            f"{quote(each.file)}; or close it: cbtool upload --abandon {quote(each.file)}"
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
