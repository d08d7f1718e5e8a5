"""Running a submission zip as the evaluator would: unzipped, in a clean process, isolated from this
machine where that can be done."""

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolkit.core.archives import measure_unpacked, open_zip
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, LimitError, SubmissionError, end_sentence
from toolkit.core.files import format_bytes
from toolkit.core.metrics import take_labels
from toolkit.core.processes import Exceeded, ProcessEnd
from toolkit.runtime import returns
from toolkit.runtime.interpreters import find_interpreter
from toolkit.runtime.isolation import (
    DISK_LIMIT,
    MEMORY_LIMIT,
    PROCESSES_LIMIT,
    Isolation,
    choose_isolation,
    make_limits,
)
from toolkit.runtime.sandbox_channel import Answer, Channel, ForgedReply, ProcessEnded
from toolkit.runtime.sandbox_process import Place, describe_run, prepare_place, start_process

OUTPUT_LIMIT = 10_000_000  # bytes of stdout and stderr; CodaBench stores logs whole
LOG_TAIL = 4000  # bytes of a log in which its last line is looked for
# What zipfile raises where a zip is damaged, encrypted, or packed in a way that it does not know.
DAMAGED = ("BadZipFile", "error", "EOFError", "NotImplementedError", "RuntimeError")


class Stopped(LimitError):
    """The submission was stopped. reason: the limit that it exceeded."""

    def __init__(self, reason: Exceeded, sentence: str, hint: str):
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
    """What a submission did. stage: how far it came (process, import, load, predict, done), or the
    limit for which it was stopped (time, memory, output, processes, disk); times in seconds.

    The seconds and peak_bytes were measured outside of its process. connections, writes, processes:
    what it tried against the rules and the detector saw; code that means to hide such things can.
    isolation: what it ran in. contract: by which it was called.
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
    isolation: Isolation | None = None
    contract: Contract = AN2DL2024

    def labels(self, name: str) -> np.ndarray:
        """The labels that call `name` returned, or that its probabilities stand for, int64 [n].
        Raises SubmissionError when there are none."""
        return take_labels(self.answers(name))

    def answers(self, name: str) -> np.ndarray:
        """The labels that call `name` returned, int64 [n], or its probabilities, float [n,
        classes], which are made of logits. Raises SubmissionError when there are none."""
        output = self.array(name)
        problem = returns.find_fault(output, self.contract.returns)
        if problem:
            raise SubmissionError(
                f"{self.contract.method} returned {problem}.",
                f"Run: cbtool validate {self.zip_name}.",
            )
        return returns.to_answers(output, self.contract.returns)

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
    time_limit: float | None = None,
    contract: Contract = AN2DL2024,
    isolation: Isolation | None = None,
    memory_limit: int | None = None,
) -> Outcome:
    """Unzips `path` where a new process can use it, and calls predict on each of `inputs` there.

    python: the interpreter to run it with. contract: what the submission offers; where it is
    fitted first, that happens on the last of the inputs and made-up labels. time_limit: seconds,
    memory_limit: bytes, both the contract's by default. isolation: the best that works here by
    default. Raises Stopped when it takes longer than `time_limit`, exceeds another limit or is
    killed, SubmissionError when its process fails, InputError when the zip or the interpreter
    cannot be used.
    """
    path = Path(path)
    isolation = isolation or choose_isolation()
    time_limit = time_limit or contract.time_limit
    memory_limit = memory_limit or contract.memory_limit or MEMORY_LIMIT
    # They are unpacked into memory.
    with open_zip(path) as archive:
        unpacked = measure_unpacked(path, archive)
    interpreter = find_interpreter(python)
    with tempfile.TemporaryDirectory(prefix="cbtool-") as root:
        # Resolved, because the process compares real paths: on macOS /tmp is a link.
        place = prepare_place(Path(root).resolve(), path, isolation)
        limits = make_limits(time_limit, OUTPUT_LIMIT, memory_limit)
        started = start_process(place, path, unpacked, interpreter, isolation, limits)
        try:
            with started as channel:
                return _Run(path, place, channel, isolation, contract).take_steps(inputs)
        except ProcessEnded as ended:
            if ended.step == "unpack" and ended.end.exceeded is None:
                raise InputError(
                    f"{python} cannot run a submission: {_read_last_line(place.log)}",
                    "Give an interpreter with numpy, or run without isolation: "
                    "--backend processes.",
                ) from ended
            raise _describe_end(ended, limits.seconds, memory_limit, isolation, place) from ended
        except ForgedReply as error:
            raise SubmissionError(
                f"the submission disturbed what the sandbox reports: {error}.",
                "Leave alone the descriptors that are open when model.py is imported.",
            ) from error


@dataclass
class _Run:
    """One submission's way through the steps."""

    path: Path
    place: Place
    channel: Channel
    isolation: Isolation
    contract: Contract
    calls: dict[str, Call] = field(default_factory=dict)
    import_seconds: float = 0.0
    load_seconds: float = 0.0

    def take_steps(self, inputs: dict[str, np.ndarray]) -> Outcome:
        """Goes as far as the submission comes. Raises as `Channel.ask`."""
        answer = self.channel.ask("unpack", **describe_run(self.place, self.isolation))
        if answer.reply.error:
            raise _describe_unpacking(self.path, answer)
        answer = self.channel.ask("import")
        self.import_seconds = answer.seconds
        if answer.reply.error:
            return self._finish("import", answer)
        answer = self._load(inputs)
        self.load_seconds = answer.seconds
        if answer.reply.error:
            return self._finish("load", answer)
        for name, images in inputs.items():
            shown = self.place.write_input(name, images)
            answer = self.channel.ask("predict", input=shown)
            self.place.remove_input(name)
            reply = answer.reply
            self.calls[name] = Call(answer.seconds, reply.kind, answer.array, reply.error)
            # The other inputs still tell something, each is a check of its own; but sys.exit would
            # have ended the evaluator.
            if reply.error and reply.kind == "SystemExit":
                return self._finish("predict", answer)
        return self._finish("done", answer)

    def _load(self, inputs: dict[str, np.ndarray]) -> Answer:
        contract = self.contract
        values: dict[str, object] = {
            "style": contract.style,
            "class_name": contract.class_name,
            "method": contract.method,
            "classes": contract.classes,
            "csv_columns": contract.csv_columns if contract.returns == "csv" else None,
        }
        if contract.style != "fit":
            return self.channel.ask("load", **values)
        name, images = list(inputs.items())[-1]
        answer = self.channel.ask("load", input=self.place.write_input(name, images), **values)
        self.place.remove_input(name)
        return answer

    def _finish(self, stage: str, last: Answer) -> Outcome:
        end = self.channel.finish()
        if end.exceeded or end.code != 0:
            raise ProcessEnded("its end", end)
        reply = last.reply
        return Outcome(
            stage=stage,
            error=reply.error if stage != "done" else None,
            import_seconds=self.import_seconds,
            load_seconds=self.load_seconds,
            calls=self.calls,
            peak_bytes=self.channel.process.peak_bytes or reply.peak_bytes,
            connections=reply.connections,
            writes=reply.writes,
            processes=reply.processes,
            zip_name=str(self.path),
            isolation=self.isolation,
            contract=self.contract,
        )


def _describe_unpacking(path: Path, answer: Answer) -> InputError:
    if answer.reply.kind in DAMAGED:
        return InputError(f"{path} is damaged: {answer.reply.error}.", "Build it again.")
    return InputError(
        f"{path} cannot be unpacked: {answer.reply.error}.",
        "Check its names of files, and the space on the disk.",
    )


def _describe_end(
    ended: ProcessEnded, seconds: float, memory: int, isolation: Isolation, place: Place
) -> Stopped | SubmissionError:
    """The error for a process that did not end by itself with code 0 when it should."""
    end, code = ended.end, ended.end.code
    if isolation.isolated and code is not None and code > 128:
        code = 128 - code  # a shell's number for a signal, as bubblewrap passes it on
    if end.exceeded is None and code == -9:
        end = ProcessEnd(code, "memory")
    if end.exceeded == "time":
        return Stopped(
            "time",
            f"the submission took longer than {seconds:g} seconds.",
            "Use a smaller network, or allow more time with --limit.",
        )
    if end.exceeded == "output":
        return Stopped(
            "output",
            f"the submission printed more than {OUTPUT_LIMIT / 1e6:g} MB.",
            "Print less, for example with verbose=0.",
        )
    if end.exceeded == "memory" and end.code is None:
        return Stopped(
            "memory",
            f"the submission took more than {format_bytes(memory)} of memory, or all that this "
            "machine had left.",
            "Predict smaller slices, or use a smaller network.",
        )
    if end.exceeded == "memory":
        return Stopped(
            "memory",
            "the system killed the submission, most likely because memory ran out.",
            "Predict smaller slices, or use a smaller network.",
        )
    if end.exceeded == "processes":
        return Stopped(
            "processes",
            f"the submission started more than {PROCESSES_LIMIT} processes.",
            "Do the work in one process.",
        )
    if end.exceeded == "disk":
        return Stopped(
            "disk",
            f"the submission wrote more than {format_bytes(DISK_LIMIT)}.",
            "Write no files, or only small ones in the folder of tempfile.",
        )
    return SubmissionError(
        f"the submission's process ended with code {code} in {ended.step}: "
        f"{_read_last_line(place.log)}",
        "Run model.py with that interpreter; it may not end the process.",
    )


def _read_last_line(log: Path) -> str:
    """The last line of the file `log`, which may be large."""
    # The end of a traceback says what went wrong; cut at a byte, its start may be half a character.
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing."
