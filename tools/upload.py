"""`cbtool upload`: send a zip to CodaBench and follow it to its score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from toolkit.core.archives import open_zip
from toolkit.core.contract import Contract
from toolkit.core.errors import PlatformError, SubmissionError, end_sentence
from tools import contracts, live, notify, options, outcome, output, plans, recent, unfinished
from tools.account import connect
from tools.lazy import lazy_imports
from tools.leaderboard import enter
from tools.validate import find_failed, run_checks

with lazy_imports():
    from toolkit.codabench import address as addresses
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility, upload_records
    from toolkit.codabench import upload as uploads
    from toolkit.runtime.checks import check as runtime_checks


@click.command()
@options.zip_file
@options.competition(
    "The competition's number, or its web address. [default: that in competition.toml]"
)
@click.option("--phase", "wanted", metavar="NAME", help="The phase. [default: the current one]")
@click.option("--wait", is_flag=True, help="Wait for the score; print score and logs.")
@click.option(
    "--leaderboard", is_flag=True, help="Wait, and add the submission to the leaderboard."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the latest interrupted upload, or that of ZIP.",
)
@click.option(
    "--abandon",
    is_flag=True,
    help="Close the latest interrupted upload, or that of ZIP: it is not continued.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--dry-run", is_flag=True, help="Validate, show the plan, and send nothing.")
@click.option("--force", is_flag=True, help="Upload even when `validate` fails.")
@click.option("--again", is_flag=True, help="Enter the zip again even if this phase has scored it.")
@click.option(
    "--limit",
    type=click.FloatRange(min=1),
    default=7200.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop waiting after this time.",
)
@options.checked_interpreter
@options.runs_folder
@options.json
@notify.notified("upload")
@options.quiet
def upload(
    file: Path | None,
    address: addresses.CompetitionAddress | None,
    wanted: str | None,
    wait: bool,
    leaderboard: bool,
    resume: bool,
    abandon: bool,
    yes: bool,
    dry_run: bool,
    force: bool,
    again: bool,
    limit: float,
    evaluator: str | None,
    python: str | None,
    folder: Path,
    as_json: bool,
) -> int:
    """Upload ZIP to CodaBench and follow it to its score.

    Asks CodaBench whether it would accept ZIP, validates it, shows the plan, and asks for
    confirmation. After an interruption at any point, `cbtool upload --resume` continues; the zip is
    entered only once. Without ZIP, takes the last one that was built from a run in --runs. Records
    the online score in the submissions ledger there. Exits with 3 when CodaBench refuses the zip or
    the submission fails, with 1 when the zip fails `validate`.
    """
    contract = contracts.current()
    if not (address or resume or abandon):
        address = contracts.find_address(contract)
    if [resume, abandon, bool(address)].count(True) != 1:
        raise click.UsageError("give ZIP and --competition ID, or --resume, or --abandon.")
    if dry_run and not address:
        raise click.UsageError("--dry-run is for a new upload: give ZIP and --competition ID.")
    if address:
        file = recent.choose_zip(file, folder)
    client = connect()
    if abandon:
        unfinished.abandon(upload_records.find_unfinished(client, file), as_json)
        return 0
    if file is None or address is None:  # only with --resume
        begun = upload_records.find_resumable(client, file)
        unfinished.list_others(client, begun)
    else:
        # What takes a moment comes first: running the zip takes minutes.
        open_zip(file).close()
        plan = eligibility.plan(client, file, address, wanted)
        if not again:
            uploads.refuse_repetition(client, plan, file)
        found = _run_checks(file, evaluator, python, contract)
        failed = find_failed(found, force=False)
        refused = bool(failed) and not force
        if dry_run or not refused:
            for name, text in plans.describe(client, plan, file):
                output.hint(f"{name:<13} {text}")
        if dry_run and as_json:
            output.as_json(plans.values(client, plan, file, found))
        if refused:
            output.hint(
                f"{len(failed)} of {len(found)} checks failed; nothing was sent. --force sends it "
                "anyway."
            )
            return SubmissionError.exit_code
        if dry_run:
            output.hint("Nothing was sent.")
            return 0
        if not yes and not output.confirm("Upload it?"):
            return 0
        begun = uploads.begin(client, plan, file)
    with _resumable():
        with live.stages() as stages, stages.stage("upload") as progress:
            begun = uploads.send(client, begun, progress)
        click.echo(
            f"{Path(begun.file).name} is submission {begun.submission} in {begun.phase_name}.",
            err=as_json,
        )
        if wait or leaderboard or resume:
            return _follow(client, begun, leaderboard, limit, folder, as_json)
    if as_json:
        output.as_json(
            {
                "id": begun.submission,
                "phase_name": begun.phase_name,
                "status": begun.status,
                "scores": {},
            }
        )
    output.hint(
        f"Next: cbtool status {begun.submission}; or cbtool upload --resume, which waits for the "
        "score."
    )
    return 0


def _run_checks(
    file: Path, evaluator: str | None, python: str | None, contract: Contract
) -> list[runtime_checks.Check]:
    """The checks of `validate`; tells what those that fail or warn have found."""
    found = run_checks(file, evaluator, python, contract)
    for check in found:
        if check.status in ("failed", "warning"):
            output.hint(f"{check.name}: {end_sentence(check.detail)} {check.hint}")
    return found


@contextmanager
def _resumable() -> Iterator[None]:
    """Says how to go on where the user breaks off, or the network does."""
    try:
        yield
    except (KeyboardInterrupt, PlatformError) as error:
        if isinstance(error, KeyboardInterrupt) or error.transient or error.status in (401, 403):
            output.hint("The progress is saved; cbtool upload --resume continues.")
        raise


def _follow(
    client: api.Client,
    begun: upload_records.Upload,
    leaderboard: bool,
    limit: float,
    folder: Path,
    as_json: bool,
) -> int:
    """Waits for the end of an entered submission, shows it, and records its score."""
    assert begun.submission is not None
    address = addresses.CompetitionAddress(begun.competition)
    competition = eligibility.find_competition(client, address)
    phase = next((phase for phase in competition.phases if phase.id == begun.phase), None)
    hidden = bool(phase and phase.hides_scores)
    try:
        with live.status() as tell:
            found = uploads.follow(
                client,
                begun.submission,
                # The end is shown once, with the scores.
                lambda row: None if row.final else tell(outcome.line(row)),
                limit,
                not hidden,
            )
    except PlatformError as error:
        if error.status != 404:
            raise
        raise unfinished.close_absent(begun) from error
    begun = upload_records.record_status(client, begun, found)
    code = outcome.show(client, found, competition.columns, as_json)
    if found.scores:
        outcome.note(begun, competition.columns, folder)
    if found.status != "Finished" or code:
        return PlatformError.exit_code
    if not found.scores and not hidden:
        raise PlatformError(
            f"submission {found.id} finished with no score: the scoring program wrote no score for "
            "a column of the leaderboard.",
            "Tell the organiser. If you have the bundle, cbtool rehearse shows the reason.",
        )
    if leaderboard:
        enter(client, found.id, competition.rule)
    return 0
