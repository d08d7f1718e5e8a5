"""`cbtool upload`: send a zip to CodaBench and follow it to its score."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from toolkit.core.errors import PlatformError, SubmissionError
from toolkit.core.files import open_zip
from tools import options, output, submissions
from tools.account import connect
from tools.competitions import describe_limit
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility
    from toolkit.codabench import upload as uploads
    from toolkit.export import manifest as manifests
    from toolkit.runtime import checks


@click.command()
@click.argument("file", metavar="[ZIP]", type=options.PATH, required=False)
@click.option(
    "--competition",
    "number",
    type=click.IntRange(min=1),
    metavar="ID",
    help="The number in the competition's address.",
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
@options.interpreter
@options.runs_folder
@options.json
def upload(
    file: Path | None,
    number: int | None,
    wanted: str | None,
    wait: bool,
    leaderboard: bool,
    resume: bool,
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
    entered only once. Records the online score in the submissions ledger of --runs. Exits with 3
    when CodaBench refuses the zip or the submission fails, with 1 when the zip fails `validate`.
    """
    if resume == bool(number) or (file is None and not resume):
        raise click.UsageError("give ZIP and --competition ID, or --resume.")
    client = connect()
    if file is None or number is None:  # only with --resume
        begun = uploads.find_unfinished(file)
        if begun.url != client.url:
            raise click.UsageError(
                f"that upload is for {begun.url}; log in there: cbtool login --url {begun.url}."
            )
    else:
        # What takes a moment comes first: running the zip takes minutes.
        open_zip(file).close()
        plan = eligibility.plan(client, file, number, wanted)
        if not again and not dry_run:
            uploads.refuse_repetition(client, plan, file)
        failed = _count_failed_checks(file, evaluator, python)
        if failed and not force:
            output.hint(f"{file} fails {failed} checks; nothing was sent. --force sends it anyway.")
            return SubmissionError.exit_code
        _show(client, plan, file)
        if dry_run:
            output.hint("Nothing was sent.")
            return 0
        if not yes and not _confirm():
            return 0
        begun = uploads.begin(client, plan, file)
    with _resumable():
        with output.stages() as stages, stages.stage("upload") as progress:
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


def _count_failed_checks(file: Path, evaluator: str | None, python: str | None) -> int:
    """How many of `validate`'s checks fail; tells what they and those that warn have found."""
    with output.stages() as stages:
        interpreter = options.choose_python(stages, evaluator, python)
        with stages.stage("validate"):
            found = checks.validate(file, interpreter)
    for check in found:
        if check.status != "ok":
            output.hint(f"{check.name}: {check.detail}. {check.hint}")
    return sum(check.status == "failed" for check in found)


def _show(client: api.Client, plan: eligibility.Plan, file: Path) -> None:
    """Says what will be sent where, and what that uses up."""
    phase = plan.phase
    rows = [
        ("zip", f"{file}, {plan.size / 1e6:.1f} MB"),
        ("competition", f"{plan.competition.title} at {client.url}"),
        ("phase", f"{phase.name}, ends {eligibility.format_time(phase.end) or 'never'}"),
        ("left today", describe_limit(phase.used_today, phase.allowed_today)),
        ("left in total", describe_limit(phase.used, phase.allowed)),
        ("time limit", f"{phase.limit} s"),
        ("storage left", f"{plan.free / 1e9:.2f} GB"),
        *(("note", note) for note in plan.notes),
    ]
    manifest = manifests.read_zip_manifest(file)
    own = manifest.time_limit if manifest else 0.0
    if own > phase.limit:
        rows.append(
            (
                "note",
                f"the zip's own limit is {own:g} s, the phase allows {phase.limit} s: cbtool build "
                f"--time-limit {phase.limit}",
            )
        )
    for name, text in rows:
        output.hint(f"{name:<13} {text}")


def _confirm() -> bool:
    try:
        return click.confirm("Upload it?", err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise click.UsageError("there is no terminal for the confirmation: add --yes.") from None


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
    begun: uploads.Upload,
    leaderboard: bool,
    limit: float,
    folder: Path,
    as_json: bool,
) -> int:
    """Waits for the end of an entered submission, shows it, and records its score."""
    assert begun.submission is not None
    competition = eligibility.find_competition(client, begun.competition)
    phase = next((phase for phase in competition.phases if phase.id == begun.phase), None)
    hidden = bool(phase and phase.hides_scores)
    with output.status() as tell:
        found = uploads.follow(
            client, begun.submission, lambda row: tell(submissions.line(row)), limit, not hidden
        )
    begun = uploads.record_status(begun, found)
    submissions.show(client, found, competition.columns, as_json)
    if found.status != "Finished":
        return PlatformError.exit_code
    if not found.scores and not hidden:
        raise PlatformError(
            f"submission {found.id} finished with no score: the scoring program wrote no score for "
            "a column of the leaderboard.",
            "Tell the organiser. If you have the bundle, cbtool rehearse shows the reason.",
        )
    submissions.note(begun, competition.columns, folder)
    if leaderboard:
        submissions.enter(client, found.id, competition.rule)
    return 0
