"""The ledger of built zips: the estimated score of each, its speed, and its scores online."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, TypeAdapter

from toolkit.core import locks, records
from toolkit.core.errors import InputError
from toolkit.core.files import digest
from toolkit.training import headline
from toolkit.training.headline import FORMER_KEYS, Headline
from toolkit.training.run_folder import Run

FILE = "zips.json"  # in the folder that holds the run folders
LOCK = ".zips.lock"
MIN_PREFIX = 8  # digits of a SHA-256 that name a zip

# What tells two phases apart, as every competition may have a "Development": server, competition
# and name.
Place = tuple[str | None, int | None, str]


def _formerly(key: str) -> Any:
    """The field `key`, which is read under its former key, too."""
    return Field(validation_alias=AliasChoices(key, FORMER_KEYS[key]))


@records.strict
@dataclass(frozen=True)
class OnlineScore:
    """What a zip scored in a phase, by the competition's metric. server: its address, and
    competition: the number there; None where they are not known."""

    phase: str
    score: Annotated[float, Field(allow_inf_nan=False)]
    server: str | None = None
    competition: int | None = None

    @property
    def place(self) -> Place:
        return self.server, self.competition, self.phase


_ONLINE = TypeAdapter(tuple[OnlineScore, ...])


def _read_online(value: Any) -> tuple[OnlineScore, ...]:
    """The scores in a ledger; version 0.1 kept them by the phase's name alone."""
    if isinstance(value, dict):
        value = [{"phase": phase, "score": score} for phase, score in value.items()]
    # As JSON again: strictly, a tuple of dataclasses is read from nothing else.
    return _ONLINE.validate_json(json.dumps(value), strict=True)


@records.strict
@dataclass(frozen=True)
class Entry:
    """One zip, identified by its SHA-256. Scores are shares in 0..1; None where not known.

    runs: the names of its networks' runs. part: the held-out part of clean, shift and the
    estimated score, whose 95 % interval is from low to high. seconds: projected for `images`.
    path: where it was written, absolute. online: one for each phase.
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
    path: str | None = None
    online: Annotated[tuple[OnlineScore, ...], BeforeValidator(_read_online)] = ()

    @property
    def shown_path(self) -> Path:
        """Where it was written, as a person in this folder would name it."""
        path = Path(self.path or self.file)  # version 0.1 noted the name alone
        if path.is_absolute() and path.is_relative_to(Path.cwd()):
            return path.relative_to(Path.cwd())
        return path


def read(folder: Path) -> list[Entry]:
    """The zips noted in `folder`, in the order they were built. Raises InputError for a damaged
    ledger."""
    path = Path(folder) / FILE
    if not path.exists():
        return []
    return records.read(list[Entry], path, "Correct this ledger of zips, or move it elsewhere.")


def find_last(folder: Path) -> Path:
    """The zip that was built last from runs in `folder`. Raises InputError when there is none, or
    when it is not where it was written, or is another file now."""
    entries = read(folder)
    if not entries:
        raise InputError(
            f"no zip was built from runs in {folder}.",
            "Build one: cbtool build --run DIR --out FILE; or name one.",
        )
    last = entries[-1]
    path = last.shown_path
    if not path.is_file():
        fault = "is not there any more"
    elif digest(path) != last.sha256:
        fault = "was changed since"
    else:
        return path
    raise InputError(
        f"the zip that was built last, {path}, {fault}.", "Name one; or build it again."
    )


def note_build(runs: list[Run], path: Path, sha256: str) -> None:
    """Notes that `path` was built of `runs`, with the scores that `evaluate` gave a single one."""
    folder = runs[0].folder.absolute().parent
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    names = tuple(run.folder.name for run in runs)
    entry = Entry(sha256, Path(path).name, now, names, path=str(Path(path).absolute()))
    if len(runs) == 1:
        part, values = headline.read_part(runs[0])
        entry = replace(entry, part=part, **asdict(headline.take_headline(values)))
    with _locked(folder):
        known = {other.sha256: other for other in read(folder)}
        if earlier := known.pop(sha256, None):  # built again: its time and online scores stay true
            entry = replace(
                entry, seconds=earlier.seconds, images=earlier.images, online=earlier.online
            )
        _write(folder, [*known.values(), entry])


def note(folder: Path, zip_or_sha256: Path | str, **values: Any) -> bool:
    """Notes `values` of a zip where the ledger in `folder` has it, and says whether it has."""
    return _change(folder, zip_or_sha256, lambda entry: replace(entry, **values)) is not None


def note_scores(folder: Path, path: Path, part: str, scores: Headline) -> bool:
    """Notes the scores that `score --shift` found for the zip at `path`, where the ledger has
    it."""
    return note(folder, path, part=part, **asdict(scores))


def note_online(folder: Path, zip_or_sha256: Path | str, score: OnlineScore) -> Entry:
    """Notes what a zip scored online; replaces an earlier score in the same phase.

    Raises InputError where the ledger in `folder` does not know the zip, or where `score` names a
    phase that the zip has in several competitions, and no competition.
    """
    changed = _change(
        folder,
        zip_or_sha256,
        lambda entry: replace(entry, online=_add_score(entry.online, score)),
    )
    if changed is None:
        raise InputError(
            f"the submissions ledger in {folder} has no zip {zip_or_sha256}.",
            f"Give the file, or the first eight digits of its SHA-256; cbtool runs zips {folder} "
            "lists them.",
        )
    return changed


def mean_absolute_error(entries: list[Entry]) -> float | None:
    """Of the estimated against the online scores, over all zips and phases; None without any."""
    errors = []
    for entry in entries:
        if entry.estimated_score is not None:
            errors += [abs(entry.estimated_score - each.score) for each in entry.online]
    if not errors:
        return None
    return sum(errors) / len(errors)


def _change(
    folder: Path, zip_or_sha256: Path | str, change: Callable[[Entry], Entry]
) -> Entry | None:
    """Changes the entry of a zip and returns it; None where the ledger does not have it."""
    if not (Path(folder) / FILE).exists():
        return None
    with _locked(folder):
        entries = read(folder)
        found = _find(entries, zip_or_sha256)
        if found is None:
            return None
        changed = change(found)
        _write(folder, [changed if entry is found else entry for entry in entries])
        return changed


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """No other process changes the ledger meanwhile: of two at once, one change would be lost."""
    with locks.wait_for(Path(folder) / LOCK):
        yield


def _add_score(online: tuple[OnlineScore, ...], score: OnlineScore) -> tuple[OnlineScore, ...]:
    """`online` with `score`, which replaces what is known of the same phase."""
    namesakes = [each for each in online if each.phase == score.phase]
    if score.competition is None and all(each.competition is not None for each in namesakes):
        if len(namesakes) > 1:
            raise InputError(
                f"the zip has scores in several competitions with a phase '{score.phase}'.",
                "Say in which: --competition ID.",
            )
        if namesakes:  # the name alone says which phase it is
            score = replace(namesakes[0], score=score.score)
    # Noted before its competition was known, the same score is the same result.
    unplaced = OnlineScore(score.phase, score.score)
    others = [each for each in online if each.place != score.place and each != unplaced]
    return (*others, score)


def _find(entries: list[Entry], zip_or_sha256: Path | str) -> Entry | None:
    """The zip of that file, or the only one whose SHA-256 begins so, with MIN_PREFIX digits or
    more."""
    if not entries:  # do not compute the digest of a large file in vain
        return None
    wanted = str(zip_or_sha256)
    if Path(zip_or_sha256).is_file():
        wanted = digest(Path(zip_or_sha256))
    if len(wanted) < MIN_PREFIX:
        return None
    found = [entry for entry in entries if entry.sha256.startswith(wanted)]
    return found[0] if len(found) == 1 else None


def _write(folder: Path, entries: list[Entry]) -> None:
    records.write(entries, Path(folder) / FILE, list[Entry])
