"""Whether CodaBench would accept a zip, before any of it is sent, and what to know before that."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from toolkit.codabench.address import CompetitionAddress
from toolkit.codabench.client import Client
from toolkit.codabench.phases import find_phase
from toolkit.codabench.schema import Competition, CompetitionPhase
from toolkit.core.errors import InputError, PlatformError
from toolkit.core.files import digest, format_bytes

LARGEST_PUT = 5 * 2**30  # bytes; S3 takes no more in one request
TOLERATED_SKEW = timedelta(minutes=5)  # a clock that is off by more is reported


@dataclass(frozen=True)
class Plan:
    """What an upload will do. sha256: of the zip. free: bytes left of the user's storage. notes:
    what to know first."""

    competition: Competition
    phase: CompetitionPhase
    sha256: str
    size: int
    free: int
    notes: tuple[str, ...]


def plan(
    client: Client, path: Path, address: CompetitionAddress, wanted: str | None = None
) -> Plan:
    """Asks whether the competition at `address` would accept the zip at `path`, in the phase called
    `wanted` or the current one.

    Raises PlatformError with the reason when it would not.
    """
    competition = find_competition(client, address)
    _require_approval(competition)
    phase = choose_phase(competition, wanted)
    # Servers of v1.25 accept an entry to a phase that is over. By the server's clock, because this
    # machine's may be off.
    if phase.status == "Previous" or (phase.end and phase.end < client.now()):
        ended = _add_time(": it ended on", phase.end)
        raise PlatformError(f"phase '{phase.name}' is over{ended}.", _list_phases(competition))
    if phase.status == "Next" or (phase.start and phase.start > client.now()):
        begins = _add_time(": it begins on", phase.start)
        raise PlatformError(
            f"phase '{phase.name}' has not begun{begins}.", _list_phases(competition)
        )
    # Over the limit, those servers fail without a reason, and only once the zip is there.
    if reason := client.get_refusal(phase.id):
        raise PlatformError(
            f"CodaBench would not accept the zip: {reason}.",
            "Days are in UTC; failed submissions do not count, cancelled submissions do.",
        )
    size, free = path.stat().st_size, client.get_free_bytes()
    if size > free:
        raise PlatformError(
            f"{path.name} has {format_bytes(size)}; {describe_free(free)}.",
            "Delete files of old submissions on CodaBench's page Resources.",
        )
    if size > LARGEST_PUT:
        raise PlatformError(
            f"{path.name} has {format_bytes(size)}; the storage accepts "
            f"{format_bytes(LARGEST_PUT)}.",
            "Store the weights in float16.",
        )
    return Plan(
        competition, phase, digest(path), size, free, tuple(_notes(client, competition, phase))
    )


def describe_free(free: int) -> str:
    """What is left of a user's storage, as a person reads it; negative where it is used up."""
    if free < 0:
        return f"your storage is over its quota by {format_bytes(-free)}"
    return f"{format_bytes(free)} of your storage are free"


def _require_approval(competition: Competition) -> None:
    """Raises PlatformError unless the organiser has let this user in."""
    if competition.participant == "approved":
        return
    if competition.participant == "pending":
        raise PlatformError(
            f"'{competition.title}' has not approved you yet.", "Ask the organiser."
        )
    require_not_denied(competition.title, competition.participant)
    raise PlatformError(
        f"you are not a participant of '{competition.title}'.",
        f"Apply: cbtool competitions join {competition.id}.",
    )


def require_not_denied(title: str, state: str | None) -> None:
    """Raises PlatformError where the organiser of a competition has denied the application."""
    if state == "denied":
        raise PlatformError(f"'{title}' has denied your application.", "Ask the organiser.")


def find_competition(client: Client, address: CompetitionAddress) -> Competition:
    """The competition at `address`.

    Raises InputError when that is another server's, PlatformError where there is none, or none that
    this user may see.
    """
    if address.url not in (None, client.url):
        raise InputError(
            f"competition {address.number} is at {address.url}, but you use {client.url}.",
            f"Log in there: cbtool login --url {address.url}.",
        )
    try:
        return client.get_competition(address.number, address.secret_key)
    except PlatformError as error:
        if error.status != 404:
            raise
        raise PlatformError(
            f"there is no competition {address.number} at {client.url}, or you may not see it.",
            "List the competitions: cbtool competitions list; or give its secret link.",
            404,
        ) from error


def choose_phase(competition: Competition, wanted: str | None) -> CompetitionPhase:
    """The phase called `wanted`, in any case; by default the current one, else the last. Raises
    PlatformError without any."""
    if wanted is not None:
        found = find_phase(competition.phases, wanted)
    else:
        found = _current_phase(competition)
    if found is None:
        raise PlatformError(
            f"'{competition.title}' has no phase '{wanted}'.", _list_phases(competition)
        )
    return found


def _current_phase(competition: Competition) -> CompetitionPhase | None:
    """The phase that the server calls current, else the last; None without any."""
    for phase in competition.phases:
        if phase.status == "Current":
            return phase
    return competition.phases[-1] if competition.phases else None


def format_time(moment: datetime | None) -> str:
    """A time as this machine's zone has it."""
    if moment is None:
        return ""
    return f"{moment.astimezone():%d %B %Y, %H:%M %Z}"


def _add_time(words: str, moment: datetime | None) -> str:
    """`words` and `moment`; nothing where there is no such moment."""
    if moment is None:
        return ""
    return f"{words} {format_time(moment)}"


def _list_phases(competition: Competition) -> str:
    return (
        "Its phases: "
        f"{', '.join(f'{phase.name} ({phase.status.lower()})' for phase in competition.phases)}."
    )


def _notes(client: Client, competition: Competition, phase: CompetitionPhase) -> list[str]:
    notes = []
    if abs(client.clock_offset) > TOLERATED_SKEW:
        minutes = client.clock_offset.total_seconds() / 60
        notes.append(
            f"this machine's clock is {abs(minutes):.0f} minutes "
            f"{'behind' if minutes > 0 else 'ahead of'} the server's"
        )
    if not competition.starts_by_itself:
        notes.append(
            "an organiser starts each submission manually; until then its status is Submitting"
        )
    if phase.hides_scores:
        notes.append("the phase hides scores")
    if phase.hides_output:
        notes.append("the phase hides logs")
    if competition.rule == "Add":
        notes.append(
            "scores are not added to the leaderboard automatically; --leaderboard adds yours"
        )
    return notes
