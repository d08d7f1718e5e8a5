"""Runs inside the clean process: unpacks a submission, imports it, makes its model, calls predict.

Standard library and numpy only, because the process may be another Python than the toolkit's.
Usage: python -I -B sandbox_child.py REQUESTS REPLIES, the descriptors of two pipes. A line of JSON
in the first asks for a step; into the second goes a line of JSON, and then an array's bytes.
"""

import csv
import ctypes
import json
import os
import resource
import signal
import sys
import traceback
import zipfile
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

# Before the submission's folder is on the path, so that no numpy.py in it runs instead, and before
# the detector listens, because what numpy does at its import is not the submission's doing.
import numpy as np

NETWORK_EVENTS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
    "socket.sendmsg",
    "socket.bind",
)
PROCESS_EVENTS = (
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.exec",
    "os.spawn",
    "os.system",
    "subprocess.Popen",
)
WRITING_EVENTS = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
)
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NOTED = 20  # deeds of a kind that are reported
NOTE_LENGTH = 500  # characters of a reported text
SENT_KINDS = "biufcSU"  # kinds of numpy types whose bytes are the values
SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux


class Detector:
    """An audit hook that notes, and refuses, connections, other processes, and writes outside the
    allowed folders.

    It finds mistakes, and stops nobody who means to get around it: it sees only what goes through
    Python's own functions, in a process that the submission shares.
    """

    def __init__(self, allowed: list[str], installed: Sequence[str]):
        self.allowed = [os.path.realpath(folder) for folder in allowed]
        self.installed = tuple(f"{folder}{os.sep}" for folder in installed)
        self.connections: list[str] = []
        self.writes: list[str] = []
        self.processes: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in NETWORK_EVENTS:
            self.check_connection(event, arguments)
        elif event in PROCESS_EVENTS:
            self.check_process(event, arguments)
        elif event == "open":
            path, _, flags = arguments
            # Reading stays free: libraries read their own files all over the disk.
            if flags & WRITING_FLAGS:
                self.check_write(path)
        elif event in WRITING_EVENTS:
            # What changes is the first argument, or the second, as in a rename; beside them stand
            # modes and descriptors.
            for argument in arguments[:2]:
                if isinstance(argument, (str, bytes, os.PathLike)):
                    self.check_write(argument)

    def check_connection(self, event: str, arguments: tuple[Any, ...]) -> None:
        # connect, sendto and bind name the socket first, the others only the host
        position = 1
        if event.startswith("socket.get"):
            position = 0
        address = arguments[position]
        if event == "socket.bind" and isinstance(address, tuple) and address[1] == 0:
            return  # how libraries find out whether there is IPv6
        if event == "socket.sendmsg" and address is None:
            return  # between two ends that are connected already
        note(self.connections, address)
        # The error that a machine without a network gives: libraries that cope with it go on.
        raise ConnectionRefusedError("there is no network for submissions")

    def check_process(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and self.is_called_by_package():
            return  # TensorFlow asks uname, matplotlib fc-list
        program = ""
        if arguments:
            program = arguments[0]
        note(self.processes, f"{event} {program}".strip())
        raise PermissionError("submissions may not start other processes")

    def check_write(self, path: str | bytes | os.PathLike[str] | int | None) -> None:
        if isinstance(path, int) or path is None:
            return  # a descriptor, whose file was checked when it was opened
        real = os.path.realpath(os.fsdecode(path))
        if real == os.devnull or self.is_allowed(real):
            return
        note(self.writes, real)
        raise PermissionError(
            f"submissions may not write outside of their own and the temporary folder: {real}"
        )

    def is_allowed(self, path: str) -> bool:
        return any(path == folder or path.startswith(folder + os.sep) for folder in self.allowed)

    def is_called_by_package(self) -> bool:
        """Whether the innermost caller that is not Python's own lies in an installed package, not
        in the submission."""
        # Frames 0 to 2 are this function's and the detector's two.
        frame: FrameType | None = sys._getframe(3)
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(self.installed):
                return True
            if file.startswith(os.getcwd()):
                return False
            frame = frame.f_back
        return False


class OwnModules:
    """Finds modules of the toolkit's names only where the submission brings them: no evaluator has
    the toolkit's."""

    def __init__(self, names: Sequence[str], installed: Sequence[str]):
        self.names = names
        self.installed = installed

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.names:
            return None
        places = [place for place in sys.path if place not in self.installed]
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return spec


class Harness:
    """The steps that a submission goes through, each asked for by name."""

    def __init__(self) -> None:
        self.detector = Detector([], [])
        self.module: Any = None
        self.call: Any = None  # what predicts
        self.csv_columns: list[str] | None = None  # of the file that it writes, where it writes one

    def unpack(self, request: dict[str, Any]) -> None:
        """Makes the submission's folder, and prepares the process for it."""
        if request["parent"] is not None:
            end_with(request["parent"])
        folder = request["folder"]
        with zipfile.ZipFile(request["zip"]) as archive:
            archive.extractall(folder)
        os.makedirs(os.environ["TMPDIR"], exist_ok=True)
        # The evaluator starts in the submission's folder and imports `model` from there.
        os.chdir(folder)
        installed = list(sys.path)
        sys.meta_path.insert(0, OwnModules(request["hidden_modules"], installed))
        sys.path.insert(0, folder)
        packages = [place for place in installed if place.endswith("-packages")]
        self.detector = Detector([folder, os.environ["TMPDIR"]], packages)
        sys.addaudithook(self.detector)

    def import_module(self, request: dict[str, Any]) -> None:
        import model

        self.module = model

    def load(self, request: dict[str, Any]) -> None:
        """Makes what has the function predict, in the style that the competition asks for."""
        model = self.module
        if request["style"] != "function":
            model = getattr(self.module, request["class_name"])()
        if request["style"] == "fit":
            X = np.load(request["input"])
            model.fit(X, np.arange(len(X)) % request["classes"])
        self.call = getattr(model, request["method"])
        self.csv_columns = request["csv_columns"]

    def predict(self, request: dict[str, Any]) -> Any:
        images = np.load(request["input"])
        output = self.call(images)
        if self.csv_columns is None or not isinstance(output, (str, os.PathLike)):
            return output
        return read_labels(output, self.csv_columns, len(images))

    def answer(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Takes the step of `request`; returns the reply, and the bytes of the array that came
        out."""
        steps = {
            "unpack": self.unpack,
            "import": self.import_module,
            "load": self.load,
            "predict": self.predict,
        }
        reply: dict[str, Any] = {"token": request["token"], "error": None, "kind": "NoneType"}
        output = None
        try:
            output = steps[request["step"]](request)
            reply["kind"] = type(output).__name__
        # sys.exit in a submission ends it at the evaluator as well
        except (Exception, SystemExit) as error:
            reply["error"] = describe(error)[:NOTE_LENGTH]
            reply["kind"] = type(error).__name__
        content, layout = b"", (None, ())
        # Objects would be pickled, and a pickle runs code where it is read.
        if isinstance(output, np.ndarray) and output.dtype.kind in SENT_KINDS:
            if output.nbytes > request["largest"]:
                reply["error"] = f"it returned an array of {output.nbytes / 1e6:,.0f} MB"
            else:
                content, layout = output.tobytes(), (output.dtype.str, output.shape)
        reply |= {
            "dtype": layout[0],
            "shape": layout[1],
            "size": len(content),
            "peak_bytes": peak_bytes(),
            "connections": self.detector.connections,
            "writes": self.detector.writes,
            "processes": self.detector.processes,
        }
        return reply, content


def main() -> None:
    requests, replies = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    harness = Harness()
    with open(requests, encoding="utf-8") as lines, open(replies, "wb") as channel:
        for line in lines:
            reply, content = harness.answer(json.loads(line))
            channel.write(json.dumps(reply).encode() + b"\n" + content)
            channel.flush()


def read_labels(path: str | os.PathLike[str], columns: list[str], images: int) -> np.ndarray:
    """The labels in the CSV file that a submission wrote, int64 [images], in the order of the
    numbers beside them. Raises ValueError where they are not one label an image."""
    number, label = columns
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        missing = [column for column in columns if column not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"the CSV file has no column {missing[0]}")
        found = [(int(row[number]), int(row[label])) for row in rows]
    if sorted(each for each, _ in found) != list(range(images)):
        raise ValueError(f"the CSV file has not one row for each image, 0 to {images - 1}")
    return np.array([value for _, value in sorted(found)], np.int64)


def end_with(parent: int) -> None:
    """Has the system kill this process when `parent` ends, where it can: on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it has ended already
            sys.exit(1)


def note(notes: list[str], text: object) -> None:
    if len(notes) < NOTED:
        notes.append(str(text)[:NOTE_LENGTH])


def peak_bytes() -> int:
    """The most memory that this process has held, where the toolkit cannot see it from outside."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe(error: BaseException) -> str:
    """Where in the submission, what, and the message: one line."""
    text = type(error).__name__
    message = str(error).strip().splitlines()
    if message:
        text = f"{text}: {message[0]}"
    # The innermost line of the submission: what lies deeper is a library's, and says little.
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.parent == Path.cwd():
            return f"{file.name} line {frame.lineno}: {text}"
    return text


if __name__ == "__main__":
    main()
