"""Runs inside the clean process: imports a submission, makes its Model, calls predict, reports.

Standard library and numpy only, because the process may be another Python than the toolkit's.
Usage: python -I -B sandbox_child.py REQUEST.json, where the request names the unzipped folder, the
inputs (npy files), and where results go.
"""

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

NETWORK_EVENTS = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.sendto",
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


class Guard:
    """An audit hook that stops, and notes, connections, other processes, and writes outside the
    allowed folders.

    It sees what goes through Python, not system calls from compiled code.
    """

    def __init__(self, allowed: list[Path]):
        self.allowed = [str(folder.resolve()) for folder in allowed]
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
        self.connections.append(str(address))
        # The error that a machine without a network gives: libraries that cope with it go on.
        raise ConnectionRefusedError("this sandbox has no network")

    def check_process(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Another process would run without this hook, and could do all that is forbidden here.
        if event == "subprocess.Popen" and is_called_by_package():
            return  # TensorFlow asks uname, matplotlib fc-list
        program = ""
        if arguments:
            program = arguments[0]
        self.processes.append(f"{event} {program}".strip())
        raise PermissionError("this sandbox allows no other processes")

    def check_write(self, path: str | bytes | os.PathLike[str] | int | None) -> None:
        if isinstance(path, int) or path is None:
            return  # a descriptor, whose file was checked when it was opened
        real = os.path.realpath(os.fsdecode(path))
        if real == os.devnull or self.is_allowed(real):
            return
        self.writes.append(real)
        raise PermissionError(
            f"this sandbox allows no writing outside of the submission's folder: {real}"
        )

    def is_allowed(self, path: str) -> bool:
        return any(path == folder or path.startswith(folder + os.sep) for folder in self.allowed)


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder, results = Path(request["folder"]), Path(request["results"])
    # The evaluator starts in the submission's folder and imports `model` from there.
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in request["hidden_modules"]:
        # Importing it fails, as it would in the evaluator, unless the zip brings its own.
        if not (folder / name).is_dir() and not (folder / f"{name}.py").is_file():
            sys.modules[name] = None  # type: ignore[assignment]
    # Before the guard stands, because what numpy does at its import is not the submission's doing.
    import numpy as np

    guard = Guard([folder, results, Path(os.environ["TMPDIR"])])
    sys.addaudithook(guard)
    report: dict[str, Any] = {"stage": "import", "error": None, "calls": {}}
    try:
        started = time.perf_counter()
        import model as module

        report["import_seconds"] = time.perf_counter() - started
        report["stage"] = "load"
        started = time.perf_counter()
        model = make_model(module, request, np)
        report["load_seconds"] = time.perf_counter() - started
        report["stage"] = "predict"
        for name, path in request["inputs"].items():
            X = np.load(path)
            report["calls"][name] = call_predict(model, X, results / f"{name}.npy")
        report["stage"] = "done"
    except (Exception, SystemExit) as error:  # sys.exit in a submission ends it there as well
        report["error"] = describe(error)
    report |= {
        "peak_bytes": peak_bytes(),
        "connections": guard.connections,
        "writes": guard.writes,
        "processes": guard.processes,
    }
    (results / "report.json").write_text(json.dumps(report), encoding="utf-8")


def make_model(module: Any, request: dict[str, Any], np: Any) -> Any:
    """What has the function predict, in the style that the competition asks for."""
    if request["style"] == "function":
        return module
    model = module.Model()
    if request["style"] == "fit":
        X = np.load(list(request["inputs"].values())[-1])
        model.fit(X, np.arange(len(X)) % request["classes"])
    return model


def call_predict(model: Any, X: Any, path: Path) -> dict[str, Any]:
    """Calls `model.predict` on the images `X` and writes the array that it returns to `path`.

    Returns the call's part of the report: seconds, the type of what was returned, and the error.
    """
    import numpy as np  # main has imported it, before the guard

    started = time.perf_counter()
    try:
        output = model.predict(X)
    except Exception as error:
        # The other inputs still tell something: each is a check of its own.
        return {"error": describe(error)}
    seconds = time.perf_counter() - started
    # Objects would be pickled, and a pickle runs code where it is read.
    if isinstance(output, np.ndarray) and output.dtype != object:
        np.save(path, output)
    return {"seconds": seconds, "type": type(output).__name__, "error": None}


def peak_bytes() -> int:
    """The most memory this process has held: on Linux its own, where getrusage starts from its
    parent's."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def is_called_by_package() -> bool:
    """Whether the innermost caller that is not Python's own lies in an installed package, not in
    the submission."""
    # Frames 0 to 2 are this function's and the guard's two.
    frame: FrameType | None = sys._getframe(3)
    while frame is not None:
        if "site-packages" in frame.f_code.co_filename:
            return True
        if frame.f_code.co_filename.startswith(os.getcwd()):
            return False
        frame = frame.f_back
    return False


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
