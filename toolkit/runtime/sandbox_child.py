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

    def __call__(self, event: str, arguments: tuple) -> None:
        if event in NETWORK_EVENTS:
            # connect, sendto and bind name the socket first, the others only the host
            address = arguments[0 if event.startswith("socket.get") else 1]
            if event == "socket.bind" and isinstance(address, tuple) and address[1] == 0:
                return  # how libraries find out whether there is IPv6
            self.connections.append(str(address))
            raise ConnectionRefusedError("the network is off in this sandbox")
        if event in PROCESS_EVENTS:
            if event == "subprocess.Popen" and called_by_a_package():
                return  # TensorFlow asks uname, matplotlib fc-list
            self.processes.append(f"{event} {arguments[0] if arguments else ''}".strip())
            raise PermissionError("other processes are off in this sandbox")
        if event == "open":
            path, _, flags = arguments
            paths = [path] if flags & WRITING_FLAGS else []
        elif event in WRITING_EVENTS:
            paths = [
                argument
                for argument in arguments[:2]
                if isinstance(argument, (str, bytes, os.PathLike))
            ]
        else:
            return
        for path in paths:
            self.check(path)

    def check(self, path: str | bytes | os.PathLike | int | None) -> None:
        if isinstance(path, int) or path is None:
            return
        real = os.path.realpath(os.fsdecode(path))
        if real == os.devnull or any(
            real == folder or real.startswith(folder + os.sep) for folder in self.allowed
        ):
            return
        self.writes.append(real)
        raise PermissionError(
            f"writing outside of the submission's folder is off in this sandbox: {real}"
        )


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder, results = Path(request["folder"]), Path(request["results"])
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in request["hidden_modules"]:
        # Importing it fails, as it would in the evaluator, unless the zip brings its own.
        if not (folder / name).is_dir() and not (folder / f"{name}.py").is_file():
            sys.modules[name] = None  # type: ignore[assignment]
    import numpy as np

    guard = Guard([folder, results, Path(os.environ["TMPDIR"])])
    sys.addaudithook(guard)
    report: dict = {"stage": "import", "error": None, "calls": {}}
    try:
        started = time.perf_counter()
        from model import Model

        report["import_seconds"] = time.perf_counter() - started
        report["stage"] = "load"
        started = time.perf_counter()
        model = Model()
        report["load_seconds"] = time.perf_counter() - started
        report["stage"] = "predict"
        for name, path in request["inputs"].items():
            X = np.load(path)
            started = time.perf_counter()
            try:
                output = model.predict(X)
            except Exception as error:
                report["calls"][name] = {"error": describe(error)}
                continue
            call = {
                "seconds": time.perf_counter() - started,
                "type": type(output).__name__,
                "error": None,
            }
            if isinstance(output, np.ndarray) and output.dtype != object:
                np.save(results / f"{name}.npy", output)
            report["calls"][name] = call
        report["stage"] = "done"
    except (Exception, SystemExit) as error:
        report["error"] = describe(error)
    report |= {
        "peak_bytes": peak_bytes(),
        "connections": guard.connections,
        "writes": guard.writes,
        "processes": guard.processes,
    }
    (results / "report.json").write_text(json.dumps(report), encoding="utf-8")


def peak_bytes() -> int:
    """The most memory this process has held: on Linux its own, where getrusage starts from its
    parent's."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def called_by_a_package() -> bool:
    """Whether the innermost caller that is not Python's own lies in an installed package, not in
    the submission."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if "site-packages" in frame.f_code.co_filename:
            return True
        if frame.f_code.co_filename.startswith(os.getcwd()):
            return False
        frame = frame.f_back
    return False


def describe(error: BaseException) -> str:
    """Where in the submission, what, and the message: one line."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).parent == Path.cwd()
    ]
    place = f"{Path(own[-1].filename).name} line {own[-1].lineno}: " if own else ""
    message = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}{': ' + message[0] if message else ''}"


if __name__ == "__main__":
    main()
