"""`cbtool leaderboard`: a phase's leaderboard, and the user's places there."""

from __future__ import annotations

import click

from toolkit.core.errors import InputError, PlatformError
from tools import options, output
from tools.account import connect
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import address as addresses
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility
    from toolkit.codabench import upload_records as uploads


@click.command()
@options.competition("The competition. [default: the latest upload's]")
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
    address: addresses.CompetitionAddress | None,
    wanted: str | None,
    add: int | None,
    remove: int | None,
    as_json: bool,
) -> None:
    """Show a phase's leaderboard.

    The best submission comes first.
    """
    client = connect(required=bool(add or remove))
    if address is None:
        known = uploads.list_uploads(client)
        if not known:
            raise InputError(
                "this machine has no uploads.", "Give a competition: --competition ID."
            )
        address = addresses.CompetitionAddress(known[0].competition)
        wanted = wanted or known[0].phase_name
    found = eligibility.find_competition(client, address)
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
