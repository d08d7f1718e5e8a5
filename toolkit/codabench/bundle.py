"""An organiser's competition bundle: competition.yaml, version 2, and the programs and data it
names.

Fields and defaults: CodaBench's documentation, Yaml-Structure, and its unpacker for version 2.
"""

import statistics
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from toolkit.codabench.phases import find_phase
from toolkit.core import archives, documents
from toolkit.core.archives import open_zip
from toolkit.core.damage import abridge, guard, quote
from toolkit.core.errors import InputError

DEFAULT_IMAGE = "codalab/codalab-legacy:py37"
PARTS = (
    "input_data",
    "reference_data",
    "ingestion_program",
    "scoring_program",
)  # what a task is made of
COMPUTATIONS: dict[str, Callable[[list[float]], float]] = {
    "avg": statistics.fmean,
    "sum": sum,
    "min": min,
    "max": max,
}

# Fields that do not concern a participant, and those of later versions, are left alone.
_FIELDS = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


@dataclass(config=_FIELDS)
class BundleColumn:
    """A column of the leaderboard. key: what scores.json calls it."""

    title: str
    key: str
    index: int = 0
    sorting: Literal["desc", "asc"] = "desc"
    computation: Literal["avg", "sum", "min", "max"] | None = None
    computation_indexes: list[int] | None = None
    precision: int = 2
    hidden: bool = False


@dataclass(config=_FIELDS)
class Leaderboard:
    """submission_rule: "Add" leaves it to participants to put a submission there."""

    columns: list[BundleColumn]
    title: str = "Leaderboard"
    submission_rule: str = "Add"

    def add_computed(self, scores: dict[str, float]) -> dict[str, float]:
        """`scores` by column key, with the columns that the server computes from others."""
        # The computed ones are added on the way, because a later column may be computed from them.
        found = {column.key: scores[column.key] for column in self.columns if column.key in scores}
        for column in self.columns:
            if column.computation is None:
                continue
            indexes = column.computation_indexes or []
            values = []
            for other in self.columns:
                if other.index in indexes and other.key in found:
                    values.append(found[other.key])
            if values:
                found[column.key] = COMPUTATIONS[column.computation](values)
        return found


@dataclass(config=_FIELDS)
class Task:
    """One data set with its programs: names of folders or zips in the bundle."""

    scoring_program: str
    index: int = 0
    name: str = "task"
    input_data: str | None = None
    reference_data: str | None = None
    ingestion_program: str | None = None
    ingestion_only_during_scoring: bool = False


@dataclass(config=_FIELDS)
class BundlePhase:
    """execution_time_limit: seconds for each of a task's two steps. tasks: their indexes."""

    tasks: list[int]
    index: int = 0
    name: str = "phase"
    execution_time_limit: int = 600
    max_submissions: int = 100
    max_submissions_per_day: int = 5
    hide_output: bool = False
    hide_score_output: bool = False


@dataclass(config=_FIELDS)
class Bundle:
    """A competition. queue: the organiser's own machines, if any. values: all of competition.yaml,
    for the checks of what the server's unpacker refuses."""

    folder: Path
    title: str
    tasks: list[Task]
    phases: list[BundlePhase] = Field(min_length=1)
    leaderboards: list[Leaderboard] = Field(min_length=1)
    docker_image: str = DEFAULT_IMAGE
    enable_detailed_results: bool = False
    auto_run_submissions: bool = True
    queue: str | None = None
    values: dict[str, Any] = Field(default_factory=dict)

    def phase(self, name: str | None) -> BundlePhase:
        """The phase called `name` in any case, by default the first. Raises InputError where there
        is none."""
        phases = sorted(self.phases, key=lambda phase: phase.index)
        if name is None:
            return phases[0]
        found = find_phase(phases, name)
        if found is None:
            raise InputError(
                f"the bundle has no phase '{name}'.",
                f"Phases: {', '.join(phase.name for phase in phases)}.",
            )
        return found

    def tasks_of(self, phase: BundlePhase) -> list[Task]:
        """The tasks of `phase`, in its order."""
        found: list[Task] = []
        for index in phase.tasks:
            found += [task for task in self.tasks if task.index == index]
        return found

    def find(self, name: str) -> Path | None:
        """The file or folder `name` in the bundle; None where there is none, or it lies outside.

        A path of a stranger's bundle, or a link in it, must not bring a file of this machine into
        the programs' reach.
        """
        found = self.folder / name
        try:
            inside = found.resolve().is_relative_to(self.folder.resolve())
            return found if inside and found.exists() else None
        except (OSError, ValueError, RuntimeError):  # too long, a null character, links in a ring
            return None

    @staticmethod
    def is_key(name: str) -> bool:
        """Whether `name` has the form of a dataset's key on the server, a UUID."""
        try:
            uuid.UUID(name)
        except ValueError:
            return False
        return True

    def source(self, task: Task, part: str) -> Path | None:
        """The folder or zip that is `part` (one of PARTS) of `task`. Raises InputError where the
        bundle lacks what it names."""
        name = getattr(task, part)
        if name is None:
            return None
        found = self.find(name)
        if found is None or not (found.is_dir() or zipfile.is_zipfile(found)):
            raise InputError(
                f"task '{abridge(task.name)}' names the {part} {abridge(name)}, which is neither a "
                "folder nor a zip in the bundle.",
                "If it is the key of a dataset on CodaBench, download it and name that file "
                "instead.",
            )
        return found

    def unpack(self, task: Task, part: str, place: Path) -> bool:
        """Puts `part` of `task` into the new folder `place` as the worker finds it, without modes;
        False where it has none."""
        source = self.source(task, part)
        if source is None:
            return False
        if source.is_dir():
            # By content alone: the worker unpacks zips without modes, so a program that has to be
            # executable does not start there.
            for path in sorted(source.rglob("*")):
                target = place / path.relative_to(source)
                if self.find(str(path.relative_to(self.folder))) is None:
                    raise InputError(
                        f"{path.relative_to(self.folder)} is a link that leads out of the bundle.",
                        "Put the file itself there.",
                    )
                if path.is_dir():
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(path.read_bytes())
        else:
            archives.unpack(source, place)
        return True


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """The bundle in the folder or zip at `path`. Raises InputError when it is none, of another
    version, or not whole."""
    path = Path(path)
    if path.is_dir():
        yield _read(path, path)
        return
    open_zip(path).close()
    with tempfile.TemporaryDirectory(prefix="cbtool-") as folder:
        archives.unpack(path, Path(folder), "Download it again.")
        yield _read(Path(folder), path)


def _read(folder: Path, source: Path) -> Bundle:
    file = folder / "competition.yaml"
    if not file.is_file():
        raise InputError(
            f"{source} has no competition.yaml.",
            "Give the folder or the zip that has it at its root.",
        )
    with guard(f"{source}/competition.yaml", "Correct it.", "is not valid YAML"):
        values = documents.parse_yaml(documents.read_text(file))
    # A key without a value, as templates leave them, is to the server as if it were not there.
    values = _without_empty(values)
    if not isinstance(values, dict) or str(values.get("version")) not in ("2", "2.0"):
        raise InputError(
            f"{source}/competition.yaml is not of version 2.",
            "A bundle for CodaBench has the line: version: 2.",
        )
    try:
        bundle = TypeAdapter(Bundle).validate_python({**values, "folder": folder, "values": values})
    except ValidationError as error:
        raise InputError(
            _error_sentence(error.errors()[0], source),
            "Correct it; see the page Yaml-Structure in CodaBench's documentation.",
        ) from error
    # A mistake in a later phase or task shows now, not after the first has run.
    for phase in bundle.phases:
        if not bundle.tasks_of(phase):
            raise InputError(
                f"phase '{abridge(phase.name)}' in {source} has no task.",
                "List the indexes of its tasks there.",
            )
    for task in bundle.tasks:
        for part in PARTS:
            bundle.source(task, part)
    return bundle


def _without_empty(values: Any) -> Any:
    """`values` without keys that hold nothing, for which the defaults stand."""
    if isinstance(values, list):
        return [_without_empty(value) for value in values]
    if isinstance(values, dict):
        return {key: _without_empty(value) for key, value in values.items() if value is not None}
    return values


def _error_sentence(error: Any, source: Path) -> str:
    place = abridge(".".join(str(part) for part in error["loc"]))
    if error["type"] == "missing":
        return f"{source}/competition.yaml lacks {place}."
    return (
        f"{place} in {source}/competition.yaml is {quote(error['input'])}: "
        f"{error['msg'][0].lower()}{error['msg'][1:]}."
    )
