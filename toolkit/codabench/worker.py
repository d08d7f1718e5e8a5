"""CodaBench's compute worker, here: the two steps of a submission, by the rules that were measured
on a real server.

Source: compute_worker/compute_worker.py of codalab/codabench (v1.25), and what it did with real
bundles.
"""

import math
import shlex
import shutil
import time
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from toolkit.codabench.bundle import Bundle, BundlePhase, Task
from toolkit.codabench.commands import find_metadata, read_command, substitute_variables
from toolkit.codabench.logs import LOGS, find_failure_logs
from toolkit.core import documents
from toolkit.core.archives import measure_unpacked, open_zip, unpack
from toolkit.core.errors import InputError
from toolkit.core.files import remove_special_files
from toolkit.core.progress import Progress, silent
from toolkit.runtime.engines import APP, Container, Engine

SCORE_LIMIT = Decimal(10) ** 10  # scores are stored as Decimal(20, 10)
BAD_ZIP = "Bad or empty zip file"
OUTPUT_METADATA = "Error, the output directory already contains a metadata file"
NONZERO = "Child task failed or non-zero return code"
NO_SCORES_FILE = "Could not find scores file, did the scoring program output it?"
BAD_SCORES_FILE = "Could not decode scores json properly, it contains an error."


@dataclass(frozen=True)
class Step:
    """ "prediction" or "scoring". exit_codes: of what ran, by "program" and "ingestion"; None:
    stopped at the limit. removed: links and the like that it left in the output."""

    name: str
    seconds: float
    limit: int
    exit_codes: dict[str, int | None]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rehearsal:
    """The outcome of a submission in one task.

    status: "Finished" or "Failed", with `details` as CodaBench words them. scores: what it would
    store, by column key; posted: all that the scoring program wrote. logs: files by the names in
    `logs.LOGS`; output, detailed_result: where they lie.
    """

    task: str
    status: str
    details: str
    scores: dict[str, float]
    posted: object
    steps: tuple[Step, ...]
    logs: dict[str, Path]
    output: Path
    detailed_result: Path | None

    @property
    def hit_time_limit(self) -> bool:
        return any(None in step.exit_codes.values() for step in self.steps)

    @property
    def has_score(self) -> bool:
        """Whether the leaderboard would show something: CodaBench also calls it Finished when no
        score could be stored."""
        return self.status == "Finished" and bool(self.scores)

    def find_failure_logs(self) -> list[str]:
        """The names of the logs that explain why there is no score: those of the first program that
        ended with an error, which a real server does not show."""
        texts = {name: read_log(path) for name, path in self.logs.items()}
        for step in self.steps:
            for kind, code in step.exit_codes.items():
                prefix = f"{step.name}_ingestion_" if kind == "ingestion" else f"{step.name}_"
                names = [f"{prefix}stderr", f"{prefix}stdout"]
                filled = [name for name in names if texts[name].strip()]
                if code != 0 and filled:
                    return filled[:1]
        return find_failure_logs(texts)


def read_log(path: Path) -> str:
    """The text of a log; programs may write anything."""
    return path.read_text(encoding="utf-8", errors="replace")


class _Failed(Exception):
    """The submission's status becomes Failed, for this reason."""


@dataclass
class _Run:
    """The worker's folders and records of one submission in one task."""

    bundle: Bundle
    phase: BundlePhase
    task: Task
    engine: Engine
    root: Path
    steps: list[Step] = field(default_factory=list)
    posted: object = None
    scores: dict[str, float] = field(default_factory=dict)


def rehearse(
    submission: Path,
    bundle: Bundle,
    phase: BundlePhase,
    engine: Engine,
    place: Path,
    progress: Progress = silent,
) -> list[Rehearsal]:
    """Runs the zip at `submission` through every task of `phase`, as CodaBench would; a folder a
    task below `place`.

    Raises InputError when the bundle lacks what it names.
    """
    found = []
    tasks = bundle.tasks_of(phase)
    for position, task in enumerate(tasks):
        run = _Run(bundle, phase, task, engine, place / f"task-{position}")
        (run.root / "logs").mkdir(parents=True)
        logs = {name: run.root / "logs" / f"{name}.txt" for name in LOGS}
        for log in logs.values():
            log.touch()
        status, details = "Finished", ""
        try:
            progress(2 * position, 2 * len(tasks), f"{task.name}: prediction")
            _predict(run, submission)
            progress(2 * position + 1, 2 * len(tasks), f"{task.name}: scoring")
            _score(run)
        except _Failed as failure:
            status, details = "Failed", str(failure)
        output = run.root / "scoring" / "output"
        detailed = None
        if bundle.enable_detailed_results:
            detailed = _find_detailed_result(output)
        found.append(
            Rehearsal(
                task.name,
                status,
                details,
                run.scores,
                run.posted,
                tuple(run.steps),
                logs,
                output,
                detailed,
            )
        )
    return found


def _predict(run: _Run, submission: Path) -> None:
    """Unpacks the submission, runs it if it has a command, then the ingestion program; zips the
    output."""
    folder = run.root / "prediction"
    with open_zip(submission) as archive:
        measure_unpacked(submission, archive)  # more than this machine should unpack is no failure
        if not archive.namelist():
            raise _Failed(BAD_ZIP)
    try:
        # As it is packed: a folder around everything stays, and no file is executable.
        unpack(submission, folder / "program")
    except InputError as error:  # damaged, odd compression, encrypted
        raise _Failed(BAD_ZIP) from error
    _run_step(run, folder, "prediction")
    # Whatever the programs' exit codes: the worker goes on to the scoring.
    output = folder / "output"
    if not output.exists():  # nothing ran and nothing was copied: there is no result to score
        raise _Failed(BAD_ZIP)
    if (output / "metadata").exists():
        raise _Failed(OUTPUT_METADATA)
    _write_metadata(run.steps[-1], output)
    shutil.make_archive(str(folder / "prediction_result"), "zip", output)


def _score(run: _Run) -> None:
    """Unpacks the prediction's output, runs the scoring program on it, and reads the scores."""
    folder = run.root / "scoring"
    run.bundle.unpack(run.task, "scoring_program", folder / "program")
    run.bundle.unpack(run.task, "reference_data", folder / "input" / "ref")
    unpack(run.root / "prediction" / "prediction_result.zip", folder / "input" / "res")
    _run_step(run, folder, "scoring")
    output = folder / "output"
    # Only the scoring program's own exit code counts, not that of an ingestion beside it.
    if run.steps[-1].exit_codes.get("program"):
        raise _Failed(NONZERO)
    run.posted = _read_scores(output)
    columns: set[str] = set()
    for board in run.bundle.leaderboards:
        columns |= {column.key for column in board.columns}
    run.scores = _select_scores(run.posted, columns)
    if (output / "metadata").exists():
        raise _Failed(OUTPUT_METADATA)


def _run_step(run: _Run, folder: Path, name: str) -> None:
    """Runs the step's program and its ingestion program, one after the other, within one time
    limit."""
    scoring = name == "scoring"
    only_during_scoring = run.task.ingestion_only_during_scoring
    ingestion = folder / "ingestion_program"
    # The ingestion belongs to one of the two steps: to the scoring if the task says so.
    if scoring == only_during_scoring:
        run.bundle.unpack(run.task, "ingestion_program", ingestion)
    if not scoring or only_during_scoring:
        run.bundle.unpack(run.task, "input_data", folder / "input_data")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    codes: dict[str, int | None] = {}
    started = time.monotonic()
    # One after the other: the worker means to run both at once, but reads the first one's log to
    # its end before it starts the second.
    for kind, program in (("program", folder / "program"), ("ingestion", ingestion)):
        if not program.exists():
            continue
        command = read_command(program)
        if command is None:
            # Without any metadata a submission is a result, or code for the ingestion: it is copied
            # to where the scoring looks. With metadata that name no command, nothing happens.
            if kind == "program" and find_metadata(program) is None:
                shutil.copytree(program, folder / "output")
            continue
        command = substitute_variables(command, kind == "ingestion", scoring, only_during_scoring)
        # No shell: && and the like arrive as arguments.
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise InputError(
                f"the command of the {kind} is incomplete: {error}.", "Close its quotes."
            ) from error
        mounts = _mounts(folder, program, scoring, kind == "ingestion")
        prefix = run.root / "logs" / f"{name}_"
        if kind == "ingestion":
            prefix = run.root / "logs" / f"{name}_ingestion_"
        left = run.phase.execution_time_limit - (time.monotonic() - started)
        codes[kind] = run.engine.run(
            Container(words, mounts), Path(f"{prefix}stdout.txt"), Path(f"{prefix}stderr.txt"), left
        )
        if codes[kind] is None:
            break
    seconds = time.monotonic() - started
    if (folder / "output").is_symlink():  # moved away, and a link put in its place
        (folder / "output").unlink()
    # Before anything reads the output: links in it lead to this machine's files.
    removed = tuple(remove_special_files(folder / "output"))
    run.steps.append(Step(name, seconds, run.phase.execution_time_limit, codes, removed))
    if None in codes.values():
        raise _Failed(
            f"Execution Time Limit exceeded. Limit was {run.phase.execution_time_limit} seconds"
        )


def _mounts(folder: Path, program: Path, scoring: bool, ingestion: bool) -> dict[str, Path]:
    """The worker's mounts for a program of a step, which are made where they are not there."""
    # The program that runs is always /app/program. An ingestion has the submission beside it, in
    # the scoring what the submission left.
    mounts = {"program": program, "output": folder / "output", "data": folder / "data"}
    if ingestion:
        mounts["ingested_program"] = folder / "program"
        if scoring:
            mounts["ingested_program"] = folder / "input" / "res"
    if scoring:
        mounts |= {"shared": folder / "shared", "input": folder / "input"}
    if (folder / "input_data").exists():
        mounts["input_data"] = folder / "input_data"
    for place in mounts.values():
        place.mkdir(parents=True, exist_ok=True)
    return {f"{APP}/{name}": place.resolve() for name, place in mounts.items()}


def _write_metadata(step: Step, output: Path) -> None:
    """Writes what the scoring program learns about the prediction: the only place where its exit
    codes appear."""
    program, ingestion = step.exit_codes.get("program"), step.exit_codes.get("ingestion")
    values = {
        "exitCode": program,
        "elapsedTime": step.seconds,
        "ingestionExitCode": ingestion,
        "ingestionElapsedTime": step.seconds,
    }
    (output / "metadata").write_text(yaml.safe_dump(values), encoding="utf-8")


def _read_scores(output: Path) -> object:
    if (output / "scores.json").exists():
        try:
            return documents.read_json(output / "scores.json", "")
        except InputError as error:
            raise _Failed(BAD_SCORES_FILE) from error
    if (output / "scores.txt").exists():
        try:
            return documents.parse_yaml(documents.read_text(output / "scores.txt"))
        except (ValueError, InputError):
            # Unlike a broken scores.json, this does not make it Failed: it ends without scores.
            return None
    raise _Failed(NO_SCORES_FILE)


def _select_scores(posted: object, columns: set[str]) -> dict[str, float]:
    """The scores that reach the leaderboard: none when one of them is no number it can store."""
    # The server hides the failure to store one: all are lost, and the submission is Finished all
    # the same. Keys that are no column are dropped.
    if not isinstance(posted, dict) or not all(is_storable(value) for value in posted.values()):
        return {}
    return {key: float(value) for key, value in posted.items() if key in columns}


def is_storable(value: object) -> bool:
    """Whether `value` is a number that CodaBench's Decimal(20, 10) holds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value) and abs(Decimal(repr(value))) < SCORE_LIMIT
    except (InvalidOperation, OverflowError):
        return False


def _find_detailed_result(output: Path) -> Path | None:
    for page in (output / "detailed_results.html", *sorted(output.glob("*.html"))):
        if page.exists():
            return page
    return None
