"""Running a submission zip as the evaluator would: unzipped, in a clean process, without network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolkit import sandbox_child
from toolkit.errors import InputError, LimitError, SubmissionError
from toolkit.files import write_error

TIME_LIMIT = 1200.0  # seconds; CodaBench's default queue allows no more for a step
HIDDEN_MODULES = ("toolkit", "tools", "submission")  # ours, which no evaluator has


@dataclass(frozen=True)
class Call:
    """One call of predict. output: what it returned, where that is an array; kind: the type's name."""

    seconds: float
    kind: str
    output: np.ndarray | None
    error: str | None


@dataclass(frozen=True)
class Outcome:
    """What a submission did. stage: how far it came (process, import, load, predict, done); times in seconds.

    connections, writes: what it tried against the rules, and was stopped.
    """

    stage: str
    error: str | None
    import_seconds: float = 0.0
    load_seconds: float = 0.0
    calls: dict[str, Call] = field(default_factory=dict)
    peak_bytes: int = 0
    connections: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    def output(self, name: str) -> np.ndarray:
        """The labels that call `name` returned, int64 [n]. Raises SubmissionError when there are none."""
        if self.stage != "done":
            raise SubmissionError(f"the submission failed at {self.stage}: {self.error}.", "Run: cbtool validate ZIP.")
        call = self.calls[name]
        if call.output is None or not np.issubdtype(call.output.dtype, np.integer) or call.output.ndim != 1:
            what = call.error or f"it returned {call.kind}, not integers of shape (n,)"
            raise SubmissionError(f"predict failed: {what}.", "Run: cbtool validate ZIP.")
        return call.output


def open_zip(path: Path) -> zipfile.ZipFile:
    """The zip at `path`. Raises InputError for anything else."""
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise InputError(
            f"there is no file {path}.", "Build one with: cbtool build --run DIR --out submission.zip."
        ) from error
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(
            f"{path} is not a readable zip file.", "Build one with: cbtool build --run DIR --out submission.zip."
        ) from error


def run(
    path: Path, inputs: dict[str, np.ndarray], python: str = sys.executable, time_limit: float = TIME_LIMIT
) -> Outcome:
    """Unzips `path` into a temporary folder and calls `Model().predict` on each of `inputs` there.

    `python` is the interpreter to run it with. Raises LimitError when it takes longer than `time_limit`
    seconds or is killed, InputError when the zip or the interpreter cannot be used.
    """
    with open_zip(path) as archive, tempfile.TemporaryDirectory(prefix="cbtool-") as root_name:
        root = Path(root_name).resolve()
        places = {name: root / name for name in ("submission", "inputs", "results", "tmp")}
        try:
            for place in places.values():
                place.mkdir()
            archive.extractall(places["submission"])
            for name, images in inputs.items():
                np.save(places["inputs"] / f"{name}.npy", images)
        except zipfile.BadZipFile as error:
            raise InputError(f"{path} is damaged: {error}.", "Build it again.") from error
        except OSError as error:
            raise write_error(root / "inputs", error) from error
        request = {
            "folder": str(places["submission"]),
            "inputs": {name: str(places["inputs"] / f"{name}.npy") for name in inputs},
            "results": str(places["results"]),
            "hidden_modules": HIDDEN_MODULES,
        }
        (root / "request.json").write_text(json.dumps(request), encoding="utf-8")
        _execute(python, root, places["tmp"], time_limit)
        return _outcome(places["results"])


def _execute(python: str, root: Path, temporary: Path, time_limit: float) -> None:
    """Runs the child process to its end, or ends it after `time_limit` seconds."""
    environment = {**os.environ, "HOME": str(temporary), "TMPDIR": str(temporary), "TF_CPP_MIN_LOG_LEVEL": "2"}
    child = shutil.copy(sandbox_child.__file__, root)
    command = [python, "-I", "-B", child, str(root / "request.json")]
    with (root / "stderr").open("w+", errors="replace") as log:
        try:
            # Its own process group, so that the whole of it ends with us.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        except OSError as error:
            raise InputError(
                f"cannot run {python}: {error.strerror}.", "Give the path of a Python interpreter."
            ) from error
        try:
            code = process.wait(time_limit)
        except subprocess.TimeoutExpired as error:
            raise LimitError(
                f"the submission took longer than {time_limit:g} seconds.",
                "Make it lighter, or allow more with --limit.",
            ) from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        text = log.read()[-4000:]
    if code == -signal.SIGKILL:
        raise LimitError(
            "the submission was killed, most likely for want of memory.",
            "Predict smaller slices, or use a smaller network.",
        )
    if code != 0:
        raise SubmissionError(
            f"the submission's process ended with code {code}: {_last_line(text)}", "Run model.py in that interpreter."
        )


def _outcome(results: Path) -> Outcome:
    report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    calls = {}
    for name, call in report["calls"].items():
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
    )


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing."
