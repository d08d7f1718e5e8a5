"""The ledger of built zips: what each was foretold, how fast it is, and what it scored online."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.core.files import digest, write_text
from toolkit.training.run_folder import Run

FILE = "zips.json"  # in the folder that holds the run folders


@dataclass(frozen=True)
class Entry:
    """One zip, told by its SHA-256. Scores are shares in 0..1; None where not known.

    runs: the names of its networks' runs. part: the held-out part that clean, shift and foretold
    are of. seconds: projected for `images`. online: by phase.
    """

    sha256: str
    file: str
    built: str
    runs: tuple[str, ...]
    part: str | None = None
    clean: float | None = None
    shift: float | None = None
    foretold: float | None = None
    foretold_low: float | None = None
    foretold_high: float | None = None
    seconds: float | None = None
    images: int | None = None
    online: dict[str, float] = field(default_factory=dict)


def read(folder: Path) -> list[Entry]:
    """The zips noted in `folder`, in the order they were built. Raises InputError for a damaged
    ledger."""
    path = Path(folder) / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [Entry(**entry | {"runs": tuple(entry["runs"])}) for entry in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"the ledger {path} cannot be read: {error}.", "Mend it, or move it elsewhere."
        ) from error


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
    if sha256 in known:  # built again: what it took and scored stays true
        entry = replace(
            entry, **{key: getattr(known[sha256], key) for key in ("seconds", "images", "online")}
        )
    _write(folder, [*(other for other in known.values() if other.sha256 != sha256), entry])


def note(folder: Path, zip_or_sha256: Path | str, **values) -> bool:
    """Notes `values` of a zip where the ledger in `folder` has it, and says whether it has."""
    entries = read(folder)
    found = _find(entries, zip_or_sha256)
    if found:
        _write(folder, [replace(entry, **values) if entry is found else entry for entry in entries])
    return found is not None


def note_scores(folder: Path, path: Path, part: str, report: dict) -> bool:
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
    """The mean absolute difference of foretold and online scores, of all zips and phases; None
    without any."""
    errors = [
        abs(entry.foretold - score)
        for entry in entries
        if entry.foretold is not None
        for score in entry.online.values()
    ]
    return sum(errors) / len(errors) if errors else None


def _find(entries: list[Entry], zip_or_sha256: Path | str) -> Entry | None:
    """The zip of that file, or whose SHA-256 begins so (with 8 digits or more)."""
    if not entries:  # before a large file is read for nothing
        return None
    wanted = digest(Path(zip_or_sha256)) if Path(zip_or_sha256).is_file() else str(zip_or_sha256)
    found = [entry for entry in entries if len(wanted) >= 8 and entry.sha256.startswith(wanted)]
    return found[0] if len(found) == 1 else None


def _headline(values: dict) -> dict:
    return {
        key: values.get(key)
        for key in ("clean", "shift", "foretold", "foretold_low", "foretold_high")
    }


def _write(folder: Path, entries: list[Entry]) -> None:
    write_text(
        Path(folder) / FILE, json.dumps([asdict(entry) for entry in entries], indent=1) + "\n"
    )
