"""Running a submission zip as the evaluator would: unzipped, in a clean process, without
network."""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from toolkit.core import processes
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, LimitError, SubmissionError, end_sentence
from toolkit.core.files import open_zip, write_error
from toolkit.runtime import sandbox_child

TIME_LIMIT = AN2DL2024.time_limit  # seconds
OUTPUT_LIMIT = 10_000_000  # bytes of stdout and stderr; CodaBench stores logs whole
LOG_TAIL = 4000  # bytes of a log in which its last line is looked for
PRIVATE_VARIABLES = ("XDG_", "MPLCONFIGDIR", "CODABENCH_")  # beginnings of environment variables
HIDDEN_MODULES = ("toolkit", "tools", "submission")  # ours, which no evaluator has


class Stopped(LimitError):
    """The submission was stopped. reason: "time", "memory" or "output"."""

    def __init__(self, reason: str, sentence: str, hint: str):
        super().__init__(sentence, hint)
        self.reason = reason


@dataclass(frozen=True)
class Call:
    """One call of predict. output: what it returned, where that is an array; kind: the type's
    name."""

    seconds: float
    kind: str
    output: np.ndarray | None
    error: str | None


@dataclass(frozen=True)
class Outcome:
    """What a submission did. stage: how far it came (process, import, load, predict, done), or why
    it was stopped (time, memory, output); times in seconds.

    connections, writes, processes: what it tried against the rules, and was stopped.
    """

    stage: str
    error: str | None
    import_seconds: float = 0.0
    load_seconds: float = 0.0
    calls: dict[str, Call] = field(default_factory=dict)
    peak_bytes: int = 0
    connections: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    zip_name: str = "ZIP"

    def labels(self, name: str) -> np.ndarray:
        """The labels that call `name` returned, int64 [n]. Raises SubmissionError when there are
        none."""
        output = self.array(name)
        if not np.issubdtype(output.dtype, np.integer) or output.ndim != 1:
            raise SubmissionError(
                f"predict returned {output.dtype} of shape {output.shape}, not integers of shape "
                "(n,).",
                f"Run: cbtool validate {self.zip_name}.",
            )
        return output

    def array(self, name: str) -> np.ndarray:
        """The array that call `name` returned. Raises SubmissionError when there is none."""
        if self.stage != "done":
            raise SubmissionError(
                end_sentence(f"the submission failed at {self.stage}: {self.error}"),
                f"Run: cbtool validate {self.zip_name}.",
            )
        call = self.calls[name]
        if call.output is None:
            what = call.error or f"it returned {call.kind}, not an array"
            raise SubmissionError(
                end_sentence(f"predict failed: {what}"), f"Run: cbtool validate {self.zip_name}."
            )
        return call.output


def run(
    path: Path,
    inputs: dict[str, np.ndarray],
    python: str = sys.executable,
    time_limit: float = TIME_LIMIT,
    contract: Contract = AN2DL2024,
) -> Outcome:
    """Unzips `path` into a temporary folder and calls predict on each of `inputs` there.

    `python` is the interpreter to run it with. contract: what the submission offers; where it is
    fitted first, that happens on the last of the inputs and made-up labels. Raises Stopped when it
    takes longer than `time_limit` seconds, prints more than OUTPUT_LIMIT or is killed,
    SubmissionError when its process fails, InputError when the zip or the interpreter cannot be
    used.
    """
    with open_zip(path) as archive, tempfile.TemporaryDirectory(prefix="cbtool-") as root_name:
        # Resolved, because the child compares real paths: on macOS /tmp is a link.
        root = Path(root_name).resolve()
        folders = {name: root / name for name in ("submission", "inputs", "results", "tmp")}
        try:
            for folder in folders.values():
                folder.mkdir()
            archive.extractall(folders["submission"])
            for name, images in inputs.items():
                np.save(folders["inputs"] / f"{name}.npy", images)
        except zipfile.BadZipFile as error:
            raise InputError(f"{path} is damaged: {error}.", "Build it again.") from error
        except OSError as error:
            raise write_error(root / "inputs", error) from error
        request = {
            "folder": str(folders["submission"]),
            "inputs": {name: str(folders["inputs"] / f"{name}.npy") for name in inputs},
            "results": str(folders["results"]),
            "hidden_modules": HIDDEN_MODULES,
            "style": contract.style,
            "classes": contract.classes,
        }
        (root / "request.json").write_text(json.dumps(request), encoding="utf-8")
        _execute(python, root, folders["tmp"], time_limit)
        return replace(_outcome(folders["results"]), zip_name=str(path))


def _execute(python: str, root: Path, temporary: Path, time_limit: float) -> None:
    """Runs the child process to its end, or ends it after `time_limit` seconds."""
    # Without the user's folders, into which libraries write, and the token of the user's account.
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(PRIVATE_VARIABLES)
    }
    # A home as empty as the evaluator's: no weights that Keras has downloaded there before.
    # TensorFlow's notes are off, because errors quote the last line of the log.
    environment = {
        **kept,
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    # A copy, so that no path in that process leads to this toolkit. With -I neither PYTHONPATH
    # nor the user's own packages give the submission what the evaluator lacks; -B keeps Python from
    # writing bytecode beside its packages, which the child would report as the submission's writes.
    child = shutil.copy(sandbox_child.__file__, root)
    command = [python, "-I", "-B", child, str(root / "request.json")]
    log = root / "log"
    try:
        end = processes.run_limited(
            command,
            log,
            time_limit=time_limit,
            output_limit=OUTPUT_LIMIT,
            environment=environment,
        )
    except OSError as error:
        raise InputError(
            f"cannot run {python}: {error.strerror}.", "Give the path of a Python interpreter."
        ) from error
    _raise_for(end, time_limit, log)


def _raise_for(end: processes.ProcessEnd, time_limit: float, log: Path) -> None:
    """Raises Stopped or SubmissionError unless the child process ended by itself with code 0."""
    if end.exceeded == "time":
        raise Stopped(
            "time",
            f"the submission took longer than {time_limit:g} seconds.",
            "Use a smaller network, or allow more time with --limit.",
        )
    if end.exceeded == "output":
        raise Stopped(
            "output",
            f"the submission printed more than {OUTPUT_LIMIT / 1e6:g} MB.",
            "Print less, for example with verbose=0.",
        )
    if end.exceeded == "memory":
        raise Stopped(
            "memory",
            "the system killed the submission, most likely because memory ran out.",
            "Predict smaller slices, or use a smaller network.",
        )
    if end.code != 0:
        raise SubmissionError(
            f"the submission's process ended with code {end.code}: {_last_line(log)}",
            "Run model.py with that interpreter.",
        )


def _outcome(results: Path) -> Outcome:
    report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    calls = {}
    for name, call in report["calls"].items():
        # The submission could have written this file: np.load, by default, runs no pickle in it.
        file = results / f"{name}.npy"
        output = np.load(file) if file.exists() else None
        calls[name] = Call(call.get("seconds", 0.0), call.get("type", ""), output, call["error"])
    return Outcome(
        stage=report["stage"],
        error=report["error"],
        import_seconds=report.get("import_seconds", 0.0),
        load_seconds=report.get("load_seconds", 0.0),
        calls=calls,
        peak_bytes=report["peak_bytes"],
        connections=tuple(report["connections"]),
        writes=tuple(report["writes"]),
        processes=tuple(report["processes"]),
    )


def _last_line(log: Path) -> str:
    """The last line of the file `log`, which may be large."""
    # The end of a traceback says what went wrong; cut at a byte, its start may be half a character.
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing."
