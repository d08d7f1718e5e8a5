"""A child process with limits on its time and on what it prints."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

POLL_SECONDS = 0.05  # between two looks at how much a process has printed


@dataclass(frozen=True)
class ProcessEnd:
    """How a child process ended.

    code: its exit code, negative for a signal; None where a limit stopped it. exceeded: "time" or
    "output" where it went beyond that limit; "memory" where the system killed it, most likely
    because memory ran out.
    """

    code: int | None
    exceeded: Literal["time", "memory", "output"] | None = None


def run_limited(
    command: Sequence[str | Path],
    stdout: Path,
    stderr: Path | None = None,
    *,
    time_limit: float,
    output_limit: int,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    on_stop: Callable[[], object] | None = None,
) -> ProcessEnd:
    """Runs `command`, without input, to its end or to a limit, then kills its process group.

    What it prints goes to the files `stdout` and `stderr`, without the latter to `stdout` alone.
    time_limit: seconds. output_limit: bytes a file. folder, environment: this process's by default.
    on_stop: called before a running process is killed. Raises OSError when `command` cannot be
    started.
    """
    with ExitStack() as opened:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=opened.enter_context(stdout.open("wb")),
            stderr=opened.enter_context(stderr.open("wb")) if stderr else subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,  # a process group of its own, which is killed as a whole
        )
    try:
        return _wait(process, (stdout, stderr or stdout), time_limit, output_limit)
    finally:
        if process.poll() is None and on_stop:
            on_stop()
        # Whatever it started is in its group, also after it has ended itself.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(
    process: subprocess.Popen[bytes], files: tuple[Path, Path], time_limit: float, output_limit: int
) -> ProcessEnd:
    deadline = time.monotonic() + time_limit
    while process.poll() is None:
        if time.monotonic() > deadline:
            return ProcessEnd(None, "time")
        if _largest(files) > output_limit:
            return ProcessEnd(None, "output")
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
    if _largest(files) > output_limit:
        return ProcessEnd(process.returncode, "output")
    if process.returncode == -signal.SIGKILL:
        return ProcessEnd(process.returncode, "memory")
    return ProcessEnd(process.returncode)


def _largest(files: tuple[Path, Path]) -> int:
    """The size of the largest of `files`, in bytes."""
    return max(file.stat().st_size for file in files)
