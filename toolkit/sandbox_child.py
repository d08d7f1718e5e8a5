"""Runs inside the clean process: imports a submission, makes its Model, calls predict, reports.

Standard library and numpy only, because the process may be another Python than the toolkit's. Usage:
python -I -B sandbox_child.py REQUEST.json, where the request names the unzipped folder, the inputs (npy files),
and where results go.
"""

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

NETWORK_EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
WRITING_EVENTS = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """An audit hook that stops, and notes, connections and writes outside the allowed folders.

    It sees what goes through Python, not system calls from compiled code.
    """

    def __init__(self, allowed: list[Path]):
        self.allowed = [str(folder.resolve()) for folder in allowed]
        self.connections: list[str] = []
        self.writes: list[str] = []

    def __call__(self, event: str, arguments: tuple) -> None:
        if event in NETWORK_EVENTS:
            # connect and sendto name the socket first, the others only the host
            self.connections.append(str(arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]))
            raise ConnectionRefusedError("the network is off in this sandbox")
        if event == "open":
            path, _, flags = arguments
            paths = [path] if flags & WRITING_FLAGS else []
        elif event in WRITING_EVENTS:
            paths = [argument for argument in arguments[:2] if isinstance(argument, (str, bytes, os.PathLike))]
        else:
            return
        for path in paths:
            self.check(path)

    def check(self, path) -> None:
        if isinstance(path, int) or path is None:
            return
        real = os.path.realpath(os.fsdecode(path))
        if real == os.devnull or any(real == folder or real.startswith(folder + os.sep) for folder in self.allowed):
            return
        self.writes.append(real)
        raise PermissionError(f"writing outside of the submission's folder is off in this sandbox: {real}")


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder, results = Path(request["folder"]), Path(request["results"])
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    for name in request["hidden_modules"]:
        sys.modules[name] = None  # importing it fails, as it would in the evaluator
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
            call = {"seconds": time.perf_counter() - started, "type": type(output).__name__, "error": None}
            if isinstance(output, np.ndarray) and output.dtype != object:
                np.save(results / f"{name}.npy", output)
            report["calls"][name] = call
        report["stage"] = "done"
    except (Exception, SystemExit) as error:
        report["error"] = describe(error)
    # Kibibytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    report |= {"peak_bytes": peak, "connections": guard.connections, "writes": guard.writes}
    (results / "report.json").write_text(json.dumps(report), encoding="utf-8")


def describe(error: BaseException) -> str:
    """Where in the submission, what, and the message: one line."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == Path.cwd()]
    place = f"{Path(own[-1].filename).name} line {own[-1].lineno}: " if own else ""
    message = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}{': ' + message[0] if message else ''}"


if __name__ == "__main__":
    main()
