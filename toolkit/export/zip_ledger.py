"""The ledger of built zips: the estimated score of each, its speed, and its scores online."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from toolkit.core import records
from toolkit.core.errors import InputError
from toolkit.core.files import digest
from toolkit.training.run_folder import Run

FILE = "zips.json"  # in the folder that holds the run folders
# The keys of earlier versions, in ledgers and in the metrics.json of runs.
FORMER_KEYS = {
    "estimated_score": "foretold",
    "estimated_low": "foretold_low",
    "estimated_high": "foretold_high",
}


def _formerly(key: str) -> Any:
    """The field `key`, which is read under its former key, too."""
    return Field(validation_alias=AliasChoices(key, FORMER_KEYS[key]))


@records.strict
@dataclass(frozen=True)
class Entry:
    """One zip, identified by its SHA-256. Scores are shares in 0..1; None where not known.

    runs: the names of its networks' runs. part: the held-out part of clean, shift and the
    estimated score, whose 95 % interval is from low to high. seconds: projected for `images`.
    online: by phase.
    """

    sha256: str
    file: str
    built: str
    runs: tuple[str, ...]
    part: str | None = None
    clean: float | None = None
    shift: float | None = None
    estimated_score: Annotated[float | None, _formerly("estimated_score")] = None
    estimated_low: Annotated[float | None, _formerly("estimated_low")] = None
    estimated_high: Annotated[float | None, _formerly("estimated_high")] = None
    seconds: float | None = None
    images: int | None = None
    online: dict[str, float] = field(default_factory=dict)


def read(folder: Path) -> list[Entry]:
    """The zips noted in `folder`, in the order they were built. Raises InputError for a damaged
    ledger."""
    path = Path(folder) / FILE
    if not path.exists():
        return []
    return records.read(list[Entry], path, "Correct this ledger of zips, or move it elsewhere.")


def note_build(runs: list[Run], path: Path, sha256: str) -> None:
    """Notes that `path` was built of `runs`, with what evaluate said of a single one."""
    folder = runs[0].folder.absolute().parent
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    entry = Entry(sha256, Path(path).name, now, tuple(run.folder.name for run in runs))
    if len(runs) == 1 and runs[0].metrics.exists():
        metrics = json.loads(runs[0].metrics.read_text(encoding="utf-8"))
        part = "test" if "test" in metrics else "validation"
        entry = replace(entry, part=part, **_headline(metrics.get(part, {})))
    known = {other.sha256: other for other in read(folder)}
    if earlier := known.pop(sha256, None):  # built again: its time and online scores stay true
        entry = replace(
            entry, seconds=earlier.seconds, images=earlier.images, online=earlier.online
        )
    _write(folder, [*known.values(), entry])


def note(folder: Path, zip_or_sha256: Path | str, **values: Any) -> bool:
    """Notes `values` of a zip where the ledger in `folder` has it, and says whether it has."""
    entries = read(folder)
    found = _find(entries, zip_or_sha256)
    if found:
        _write(folder, [replace(entry, **values) if entry is found else entry for entry in entries])
    return found is not None


def note_scores(folder: Path, path: Path, part: str, report: dict[str, Any]) -> bool:
    """Notes what `score --shift` found of the zip at `path`, where the ledger has it."""
    return note(folder, path, part=part, **_headline(report))


def note_online(folder: Path, zip_or_sha256: Path | str, score: float, phase: str) -> Entry:
    """Notes what a zip scored online in `phase`. Raises InputError where the ledger in `folder`
    does not know it."""
    found = _find(read(folder), zip_or_sha256)
    if not found:
        raise InputError(
            f"the ledger in {folder} knows no zip {zip_or_sha256}.",
            f"Name the file, or the first eight digits of its SHA-256; cbtool runs zips {folder} "
            "lists them.",
        )
    online = found.online | {phase: score}
    note(folder, found.sha256, online=online)
    return replace(found, online=online)


def running_error(entries: list[Entry]) -> float | None:
    """The mean absolute difference of estimated and online scores, of all zips and phases; None
    without any."""
    errors = [
        abs(entry.estimated_score - score)
        for entry in entries
        if entry.estimated_score is not None
        for score in entry.online.values()
    ]
    return sum(errors) / len(errors) if errors else None


def _find(entries: list[Entry], zip_or_sha256: Path | str) -> Entry | None:
    """The zip of that file, or whose SHA-256 begins so (with 8 digits or more)."""
    if not entries:  # do not compute the digest of a large file in vain
        return None
    wanted = digest(Path(zip_or_sha256)) if Path(zip_or_sha256).is_file() else str(zip_or_sha256)
    found = [entry for entry in entries if len(wanted) >= 8 and entry.sha256.startswith(wanted)]
    return found[0] if len(found) == 1 else None


def _headline(values: dict[str, Any]) -> dict[str, Any]:
    """The scores of an entry, from an evaluation's `values`."""
    scores = {"clean": values.get("clean"), "shift": values.get("shift")}
    for key, former in FORMER_KEYS.items():
        scores[key] = values.get(key, values.get(former))
    return scores


def _write(folder: Path, entries: list[Entry]) -> None:
    records.write(entries, Path(folder) / FILE, list[Entry])
