"""What CodaBench refuses when a bundle is uploaded, as far as the bundle itself shows it.

One function a subject; each yields a failed check for whatever it finds. Source: the unpackers and
serializers of codalab/codabench (v1.25): apps/competitions/unpackers/base_unpacker.py, v2.py and
utils.py, apps/api/serializers/competitions.py, leaderboards.py and tasks.py, apps/api/fields.py.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from typing import Any

from dateutil import parser as dates
from PIL import Image, UnidentifiedImageError

from toolkit.codabench.bundle import PARTS, Bundle
from toolkit.core.damage import guard
from toolkit.runtime.checks.check import Check, failed, passed, warning

REQUIRED = ("title", "image", "terms", "pages", "tasks", "phases", "leaderboards")
IMAGE_FORMATS = ("PNG", "JPEG", "GIF")
SUBMISSION_RULES = (
    "Add",
    "Add_And_Delete",
    "Add_And_Delete_Multiple",
    "Force_Last",
    "Force_Latest_Multiple",
    "Force_Best",
)
FACT_SHEET_KEYS = {"key", "type", "title", "selection", "is_required", "is_on_leaderboard"}
FACT_SHEET_TYPES = ("checkbox", "text", "select")
QUOTE_HINT = "Put the date and the time in quotes."


def check_bundle(bundle: Bundle) -> list[Check]:
    """The checks of `bundle` that do not pass, or one that says that all do. Raises InputError for
    a value of a kind that nobody can compare or look up."""
    problems: list[Check] = []
    hint = "Correct it; see the page Yaml-Structure in CodaBench's documentation."
    for find in SUBJECTS:
        with guard("competition.yaml", hint, "has a value of another kind than its key takes"):
            problems += find(bundle)
    return problems or [passed("bundle", "CodaBench can unpack it, as far as it shows")]


def _refused(detail: str, hint: str) -> Check:
    return failed("bundle", f"CodaBench refuses it: {detail}", hint)


def _find_missing_keys(bundle: Bundle) -> Iterator[Check]:
    missing = [key for key in REQUIRED if not bundle.values.get(key)]
    if missing:
        yield _refused(f"competition.yaml lacks {', '.join(missing)}", "Add what is missing.")


def _find_file_problems(bundle: Bundle) -> Iterator[Check]:
    """Pages, terms and the other files that competition.yaml names."""
    texts = {"terms": bundle.values.get("terms")}
    for number, page in enumerate(_list(bundle.values, "pages")):
        texts[f"page {number}"] = page.get("file")
        if not page.get("title"):
            yield _refused(f"page {number} has no title", "Give it one: title.")
        if not page.get("file"):
            yield _refused(f"page {number} names no file", "Give it one: file.")
    for what, name in texts.items():
        if not name:
            continue
        path = bundle.find(str(name))
        if path is None or not path.is_file():
            yield _refused(f"the file {name} ({what}) is not in the bundle", "Add it.")
        elif path.stat().st_size == 0:
            yield _refused(f"the file {name} ({what}) is empty", "Write something into it.")
    others = []
    for phase in _list(bundle.values, "phases"):
        others += [phase.get(part) for part in ("public_data", "starting_kit")]
    others += [solution.get("path") for solution in _list(bundle.values, "solutions")]
    for name in others:
        if name and not bundle.is_key(str(name)) and bundle.find(str(name)) is None:
            yield _refused(f"the file {name} is not in the bundle", "Add it.")


def _find_image_problems(bundle: Bundle) -> Iterator[Check]:
    name = bundle.values.get("image")
    if not name:
        return
    path = bundle.find(str(name))
    hint = f"Give a picture in one of these formats: {', '.join(IMAGE_FORMATS)}."
    if path is None or not path.is_file():
        yield _refused(f"the image {name} is not in the bundle", hint)
        return
    try:
        # The server looks at the content, not at the name.
        with Image.open(path) as image:
            if image.format not in IMAGE_FORMATS:
                yield _refused(f"the image {name} is {image.format}", hint)
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        yield _refused(f"the image {name} is no picture", hint)


def _find_task_problems(bundle: Bundle) -> Iterator[Check]:
    tasks = _list(bundle.values, "tasks")
    for number, task in enumerate(tasks):
        name = task.get("name") or task.get("key") or number
        if "index" not in task:
            yield _refused(f"task {name} has no index", "Give it one: index.")
        if "key" in task:  # a task that is on the server already
            continue
        if not task.get("name"):
            yield _refused(f"task {number} has no name", "Give it one: name.")
        for part in PARTS:
            named = task.get(part)
            if named and bundle.is_key(str(named)):
                yield warning(
                    "bundle",
                    f"{part} of task {name} is a dataset on the server, which cannot be checked",
                    "Download it, and name that file for a rehearsal.",
                )
    yield from _find_twice(tasks, "index", "tasks")
    known = {task.get("index") for task in tasks}
    for owner in ("phase", "solution"):
        for each in _list(bundle.values, f"{owner}s"):
            name = each.get("name") or each.get("index")
            for index in each.get("tasks") or ():
                if index not in known:
                    hint = f"The tasks have these indexes: {', '.join(map(str, known))}."
                    yield _refused(f"{owner} {name} names task {index}, which is not there", hint)
    for number, solution in enumerate(_list(bundle.values, "solutions")):
        for key in ("index", "tasks"):
            if key not in solution:
                yield _refused(f"solution {number} has no {key}", f"Give it one: {key}.")
        if "key" not in solution and "path" not in solution:
            yield _refused(f"solution {number} names no file", "Give it one: path.")


def _find_phase_problems(bundle: Bundle) -> Iterator[Check]:
    """Names and dates. The server takes the phases in the order of their indexes."""
    phases = sorted(_list(bundle.values, "phases"), key=lambda phase: phase.get("index", 0))
    periods: list[tuple[str, datetime | None, datetime | None]] = []
    for number, phase in enumerate(phases):
        name = str(phase.get("name") or number)
        if not phase.get("name"):
            yield _refused(f"phase {number} has no name", "Give it one: name.")
        if phase.get("auto_migrate_to_this_phase") and number == 0:
            yield _refused(
                f"submissions cannot migrate to phase {name}, the first one",
                "Set auto_migrate_to_this_phase in a later phase only.",
            )
        moments = []
        for key in ("start", "end"):
            moment, problem = _read_moment(phase.get(key), f"the {key} of phase {name}")
            if problem:
                yield problem
            moments.append(moment)
        start, end = moments
        if not phase.get("start"):
            yield _refused(f"phase {name} has no start", "Give it one, for example: '2026-12-01'.")
        if start and end and end <= start:
            yield failed(
                "bundle", f"phase {name} ends before it starts: nobody can enter it", "Move one."
            )
        periods.append((name, start, end))
    for number, (name, start, _) in enumerate(periods[1:]):
        before, _, end = periods[number]
        if not phases[number].get("end"):
            yield _refused(
                f"phase {before} has no end, though phase {name} follows it",
                "Give it an end before the next one's start.",
            )
        elif start and end and start <= end:
            # Equality too: "Phases dates conflict", the server says.
            yield _refused(
                f"phase {name} starts on {start}, and phase {before} ends on {end}",
                "A phase must end before the next one starts, if only by a second.",
            )


def _read_moment(value: Any, what: str) -> tuple[datetime | None, Check | None]:
    """A date of competition.yaml as the server reads it, and what is wrong with it."""
    if not value:
        return None, None
    if isinstance(value, date):
        moment = datetime.combine(value, time())
        if isinstance(value, datetime) and value.time() != time():
            # YAML makes of it a date with a time, of which the server keeps the date.
            hint = QUOTE_HINT
            return moment, warning("bundle", f"{what} loses its time without quotes", hint)
        return moment, None
    try:
        moment = dates.parse(value)
    except (TypeError, ValueError, OverflowError):
        hint = "Write it as '2026-12-01' or '2026-12-01 23:59:59'."
        return None, _refused(f"{what}, {value!r}, is no date", hint)
    if moment.tzinfo is not None:
        hint = "Write the time in UTC, without a zone."
        problem = warning("bundle", f"{what} loses its time zone: CodaBench takes it for UTC", hint)
        return moment.replace(tzinfo=None), problem
    return moment, None


def _find_leaderboard_problems(bundle: Bundle) -> Iterator[Check]:
    for board in _list(bundle.values, "leaderboards"):
        name = board.get("title") or "without a title"
        for key in ("title", "key"):
            if not board.get(key):
                yield _refused(f"the leaderboard {name} has no {key}", f"Give it one: {key}.")
        if board.get("submission_rule", "Add") not in SUBMISSION_RULES:
            yield _refused(
                f"the leaderboard's submission_rule {board['submission_rule']} is unknown",
                f"Use one of: {', '.join(SUBMISSION_RULES)}.",
            )
        columns = _list(board, "columns")
        if not columns:
            yield _refused(f"the leaderboard {name} has no columns", "Give it at least one.")
        yield from _find_column_problems(columns)
        primary = board.get("primary_index", 0)
        if columns and primary not in [column.get("index") for column in columns]:
            yield failed(
                "bundle",
                f"no column has the index {primary}, by which the leaderboard {name} ranks: "
                "CodaBench cannot show it",
                "Number the columns from 0 on, or set primary_index.",
            )


def _find_column_problems(columns: list[dict[str, Any]]) -> Iterator[Check]:
    indexes = [column.get("index") for column in columns]
    for column in columns:
        name = column.get("key") or column.get("title")
        for key in ("title", "key", "index"):
            if key not in column:
                yield _refused(f"the column {name} has no {key}", f"Give it one: {key}.")
        others = column.get("computation_indexes")
        if column.get("computation") and not others:
            hint = "Name the columns it computes from: computation_indexes."
            yield _refused(f"the column {name} computes from no columns", hint)
        if others and not column.get("computation"):
            hint = "Say how: computation."
            yield _refused(f"the column {name} names columns and no computation", hint)
        for other in others or ():
            if other == column.get("index"):
                yield _refused(f"the column {name} computes from itself", "Name other columns.")
            elif other not in indexes:
                hint = f"The columns have these indexes: {', '.join(map(str, indexes))}."
                yield _refused(f"the column {name} computes from {other}, which is not there", hint)
    yield from _find_twice(columns, "index", "columns")
    yield from _find_twice(columns, "key", "columns")


def _find_fact_sheet_problems(bundle: Bundle) -> Iterator[Check]:
    sheet = bundle.values.get("fact_sheet")
    if not sheet:
        return
    if not isinstance(sheet, dict):
        yield _refused("the fact_sheet is no mapping", "Write one question under each key.")
        return
    for name, question in sheet.items():
        if not isinstance(question, dict) or set(question) != FACT_SHEET_KEYS:
            hint = f"Give exactly these: {', '.join(sorted(FACT_SHEET_KEYS))}."
            yield _refused(f"the question {name} of the fact_sheet has other keys", hint)
        elif question["key"] != name:
            hint = "Use the same name for both."
            yield _refused(f"the question {name} of the fact_sheet has another key", hint)
        elif question["type"] not in FACT_SHEET_TYPES:
            hint = f"Use one of: {', '.join(FACT_SHEET_TYPES)}."
            yield _refused(f"the question {name} of the fact_sheet has an unknown type", hint)


SUBJECTS: tuple[Callable[[Bundle], Iterator[Check]], ...] = (
    _find_missing_keys,
    _find_file_problems,
    _find_image_problems,
    _find_task_problems,
    _find_phase_problems,
    _find_leaderboard_problems,
    _find_fact_sheet_problems,
)


def _find_twice(entries: list[dict[str, Any]], key: str, what: str) -> Iterator[Check]:
    counts = Counter(entry[key] for entry in entries if key in entry)
    for value, count in counts.items():
        if count > 1:
            yield _refused(f"{count} {what} have the {key} {value}", "Use each one once.")


def _list(values: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The mappings in the list under `key`; what is no mapping is left out."""
    found = values.get(key)
    if not isinstance(found, list):
        return []
    return [each for each in found if isinstance(each, dict)]
