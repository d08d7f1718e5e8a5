"""`cbtool competitions`: find, join and show competitions."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from toolkit.core.errors import PlatformError
from tools import live, options, output
from tools.account import connect
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import address as addresses
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility, schema

competition_argument = click.argument("address", metavar="ID|URL", type=options.parse_competition)


@click.group()
def competitions() -> None:
    """Find, join and show competitions."""


@competitions.command(name="list")
@click.option(
    "--search", default="", metavar="WORDS", help="Find WORDS in the title or description."
)
@click.option("--joined", is_flag=True, help="List only competitions that you have joined.")
@options.json
def list_(search: str, joined: bool, as_json: bool) -> None:
    """List competitions, the latest first.

    Lists public competitions, or with --joined those that you have joined.
    """
    found = connect(required=joined).list_competitions(search, joined)
    if as_json:
        output.as_json({"competitions": [_values(each) for each in found]})
        return
    rows = [
        (each["id"], each["title"], each.get("created_by", ""), each.get("participants_count", ""))
        for each in found
    ]
    output.table(("id", "competition", "organiser", "participants"), rows)
    if len(found) == api.LIST_LIMIT:
        output.hint(f"These are the first {api.LIST_LIMIT}; find others with --search WORDS.")


def _values(competition: dict[str, Any]) -> dict[str, Any]:
    return {key: competition.get(key) for key in ("id", "title", "created_by")}


@competitions.command()
@competition_argument
@options.json
def show(address: addresses.CompetitionAddress, as_json: bool) -> None:
    """Show a competition's phases and limits.

    The competition is given by its number or its web address. Also shows how many submissions are
    left in each phase.
    """
    # Public competitions need no login: it adds where this user stands in them.
    competition = eligibility.find_competition(connect(required=False), address)
    if as_json:
        phases = [_phase_values(phase) for phase in competition.phases]
        output.as_json(
            {
                "id": competition.id,
                "title": competition.title,
                "participant": competition.participant,
                "phases": phases,
            }
        )
        return
    rows = [_cells(phase) for phase in competition.phases]
    columns = ("phase", "", "begins", "ends", "left today", "left in total", "time limit")
    output.table(columns, rows, title=f"{competition.title} ({competition.id})")
    click.echo(
        f"you: {competition.participant or 'not a participant'}; image: {competition.docker_image}"
    )
    click.echo(
        f"scores: {', '.join(column.title for column in competition.columns)}; leaderboard rule: "
        f"{competition.rule}"
    )


def _phase_values(phase: schema.CompetitionPhase) -> dict[str, Any]:
    """A phase, ready for JSON."""
    return {
        "id": phase.id,
        "name": phase.name,
        "status": phase.status,
        "start": _format_iso(phase.start),
        "end": _format_iso(phase.end),
        "left_today": count_left(phase.used_today, phase.allowed_today),
        "left": count_left(phase.used, phase.allowed),
        "limit_seconds": phase.limit,
    }


def _cells(phase: schema.CompetitionPhase) -> tuple[str, ...]:
    """A phase as a row of the table."""
    return (
        phase.name,
        phase.status,
        eligibility.format_time(phase.start),
        eligibility.format_time(phase.end) or "never",
        describe_limit(phase.used_today, phase.allowed_today),
        describe_limit(phase.used, phase.allowed),
        f"{phase.limit} s",
    )


def _format_iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.isoformat()


@competitions.command()
@competition_argument
@click.option(
    "--secret-key",
    metavar="KEY",
    help="The key of a competition that is not public. [default: the one in URL]",
)
def join(address: addresses.CompetitionAddress, secret_key: str | None) -> None:
    """Apply to take part in a competition.

    The competition is given by its number or its web address; the secret link of one that is not
    public holds its key. By applying you accept its terms.
    """
    client = connect()
    if secret_key:
        address = replace(address, secret_key=secret_key)
    competition = eligibility.find_competition(client, address)
    state: str | None
    try:
        state = client.join(address.number)
    except PlatformError as error:
        # Who has applied before is told how that stands.
        if error.status != 400 or "already applied" not in error.sentence:
            raise
        state = eligibility.find_competition(client, address).participant
    eligibility.require_not_denied(competition.title, state)
    waiting = ""
    if state != "approved":
        waiting = ": an organiser must approve you"
    click.echo(f"{competition.title}: {state}{waiting}")


@competitions.command()
@competition_argument
@click.option(
    "--out",
    type=options.PATH,
    default=".",
    show_default=True,
    metavar="DIR",
    help="Folder for the files.",
)
@options.quiet
def download(address: addresses.CompetitionAddress, out: Path) -> None:
    """Download a competition's public data and starting kits."""
    client = connect()
    competition = eligibility.find_competition(client, address)
    # By key, so that a file which several phases share is fetched once, under the last one's name.
    files = {}
    for phase in competition.phases:
        for label, key in phase.files.items():
            files[key] = f"{phase.name}-{label}.zip"
    if not files:
        click.echo(f"{competition.title} has no public files.")
    with live.stages() as stages:
        for key, name in files.items():
            path = out / name.replace("/", "-")
            with stages.stage(path.name) as progress:
                client.download_dataset(key, path, progress)
            click.echo(path)


def count_left(used: int, allowed: int | None) -> int | None:
    """How many submissions remain; None where there is no limit."""
    if allowed is None:
        return None
    # An organiser may lower the limit below what was used.
    return max(allowed - used, 0)


def describe_limit(used: int, allowed: int | None) -> str:
    """The same for a person."""
    if allowed is None:
        return "no limit"
    return f"{count_left(used, allowed)} of {allowed}"
