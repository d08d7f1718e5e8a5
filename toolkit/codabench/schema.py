"""CodaBench's JSON as dataclasses, from older and newer servers alike."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

FINAL = ("Finished", "Failed", "Cancelled")


@dataclass(frozen=True)
class LeaderboardColumn:
    """A leaderboard's column."""

    key: str
    title: str
    index: int
    precision: int
    primary: bool


@dataclass(frozen=True)
class CompetitionPhase:
    """status: "Previous", "Current" or "Next". end: None for never. limit: seconds a step. files:
    "public_data" and "starting_kit", as far as there are any, by their keys. used, allowed:
    submissions of this user, today and in all; None where there is no limit."""

    id: int
    name: str
    status: str
    start: datetime | None
    end: datetime | None
    limit: int
    used_today: int
    allowed_today: int | None
    used: int
    allowed: int | None
    hides_output: bool
    hides_scores: bool
    files: dict[str, str]


@dataclass(frozen=True)
class Competition:
    """participant: None, "unknown", "pending", "approved" or "denied". rule: who puts submissions
    on the leaderboard."""

    id: int
    title: str
    participant: str | None
    phases: tuple[CompetitionPhase, ...]
    columns: tuple[LeaderboardColumn, ...]
    rule: str
    docker_image: str
    starts_by_itself: bool


@dataclass(frozen=True)
class Submission:
    """One row. scores: by column key; of several tasks, the first one's. children: the number of a
    submission for each task, where there are several. task: of such a child, its task's name."""

    id: int
    phase: int
    phase_name: str
    status: str
    details: str
    filename: str
    created: str
    scores: dict[str, float]
    on_leaderboard: bool
    children: tuple[int, ...]
    task: str = ""

    @property
    def final(self) -> bool:
        return self.status in FINAL


@dataclass(frozen=True)
class LeaderboardRow:
    """A row of a leaderboard. scores: by column key, as texts rounded by the server."""

    id: int
    owner: str
    created: str
    scores: dict[str, str]


def parse_competition(values: dict[str, Any]) -> Competition:
    """The competition in the answer to GET competitions/<id>/."""
    boards = values["leaderboards"]
    columns: list[LeaderboardColumn] = []
    rule = ""
    if boards:
        rule = boards[0]["submission_rule"]
    for board in boards:
        columns += _parse_columns(board["columns"], board["primary_index"])
    return Competition(
        id=values["id"],
        title=values["title"],
        participant=values.get("participant_status"),
        phases=tuple(
            parse_phase(each) for each in sorted(values["phases"], key=lambda each: each["index"])
        ),
        columns=tuple(columns),
        rule=rule,
        docker_image=values.get("docker_image") or "",
        starts_by_itself=values.get("auto_run_submissions", True),
    )


def parse_phase(values: dict[str, Any]) -> CompetitionPhase:
    """A phase in the same answer."""
    allowed_today = allowed = None
    if values.get("has_max_submissions", True):
        allowed_today = values.get("max_submissions_per_day")
        allowed = values.get("max_submissions_per_person")
    files = {}
    for label in ("public_data", "starting_kit"):
        if values.get(label):
            files[label] = _unwrap(values[label], "key")
    return CompetitionPhase(
        id=values["id"],
        name=values["name"],
        status=values.get("status") or "",
        start=parse_time(values.get("start")),
        end=parse_time(values.get("end")),
        limit=values.get("execution_time_limit") or 0,
        used_today=values.get("used_submissions_per_day") or 0,
        allowed_today=allowed_today,
        used=values.get("used_submissions_per_person") or 0,
        allowed=allowed,
        hides_output=bool(values.get("hide_output")),
        hides_scores=bool(values.get("hide_score_output")),
        files=files,
    )


def parse_submission(values: dict[str, Any]) -> Submission:
    """The submission in the answer to GET submissions/<id>/, in a row of the list, or in the answer
    to POST submissions/, which holds less."""
    # A submission with several tasks repeats a column for each, and names no task beside it: the
    # first counts.
    scores: dict[str, float] = {}
    for score in values.get("scores") or ():
        if score["score"] is None:
            continue
        scores.setdefault(score["column_key"], float(score["score"]))
    return Submission(
        id=values["id"],
        phase=values["phase"],
        phase_name=values.get("phase_name") or "",
        status=values["status"],
        details=values.get("status_details") or "",
        filename=values.get("filename") or "",
        created=values.get("created_when") or "",
        scores=scores,
        on_leaderboard=bool(values.get("on_leaderboard")),
        children=tuple(_unwrap(child, "id") for child in values.get("children") or ()),
        task=_read_task(values) if values.get("parent") else "",
    )


def parse_leaderboard(
    values: dict[str, Any],
) -> tuple[list[LeaderboardColumn], list[LeaderboardRow]]:
    """The columns, each once, and the rows, best first, of GET phases/<id>/get_leaderboard/."""
    # Each task repeats the columns, and a row has the scores of each task. The first count, as
    # in `parse_submission`.
    columns: dict[str, LeaderboardColumn] = {}
    for task in values["tasks"]:
        for column in _parse_columns(task["columns"], values.get("primary_index", 0)):
            columns.setdefault(column.key, column)
    places = []
    for row in values["submissions"]:
        scores: dict[str, str] = {}
        for score in row["scores"]:
            scores.setdefault(score["column_key"], str(score["score"]))
        places.append(
            LeaderboardRow(row["id"], row["owner"], row.get("created_when") or "", scores)
        )
    return sorted(columns.values(), key=lambda column: column.index), places


def parse_time(text: str | None) -> datetime | None:
    """An ISO date and time with its zone; UTC where it names none."""
    if not text:
        return None
    # Python 3.10 does not know Z for UTC.
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone.utc)
    return found


def _read_task(values: dict[str, Any]) -> str:
    """The name of a submission's task; "" where the answer does not hold it."""
    task = values.get("task")
    return str(task.get("name") or "") if isinstance(task, dict) else ""


def _unwrap(value: Any, name: str) -> Any:
    """The field `name` of `value`, an object; or `value`, where a server sends just the field."""
    if isinstance(value, dict):
        return value[name]
    return value


def _parse_columns(columns: list[dict[str, Any]], primary: int) -> list[LeaderboardColumn]:
    """The columns that are shown; `primary` is the index of the one that ranks."""
    return [
        LeaderboardColumn(
            column["key"],
            column["title"],
            column["index"],
            column.get("precision", 2),
            column["index"] == primary,
        )
        for column in columns
        if not column.get("hidden")
    ]
