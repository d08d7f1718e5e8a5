"""A child process with limits on its time, its memory, and what it writes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.core import process_tree

POLL_SECONDS = 0.05  # between two looks at how much a process has printed
TREE_SECONDS = 0.1  # between two looks at its memory, which read a file for each thread
DISK_SECONDS = 0.5  # between two looks at its files
DEATH_SECONDS = 5.0  # within which killed processes are gone
FILES_LIMIT = 100_000  # files in the watched folders, beyond which they are not counted
PROCESSES_LIMIT = 1000  # processes that are watched where there is no limit
ASKING_SECONDS = 60.0  # within which a command that only asks something must have ended
BLOCK = 512  # bytes, in which a shell counts the size of files

Exceeded = Literal["time", "memory", "output", "processes", "disk"]


@dataclass(frozen=True)
class Limits:
    """What a child process may use; None: as much as it wants.

    seconds: of time. output: bytes a file that it prints to. memory: bytes that it and all it
    started hold; it counts also as used up where the machine has next to none left. processes: how
    many those may be. disk: bytes of a file, and by which all files below `folders` may grow.
    Memory and processes are limited on Linux only, where what a process started is known as long
    as the process in between lives, or all are in a namespace of their own.
    """

    seconds: float
    output: int
    memory: int | None = None
    processes: int | None = None
    disk: int | None = None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class ProcessEnd:
    """How a child process ended.

    code: its exit code, negative for a signal; None where a limit stopped it. exceeded: the limit
    beyond which it went; "memory" also where the system killed it, most likely because memory ran
    out.
    """

    code: int | None
    exceeded: Exceeded | None = None


class LimitedProcess:
    """A running child process, as `start_limited` makes it."""

    def __init__(self, process: subprocess.Popen[bytes], files: tuple[Path, ...], limits: Limits):
        self._process = process
        self._files = files
        self._limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._next_tree = self._next_disk = 0.0
        self._bytes_before = measure_folders(limits.folders)
        self._tree: list[process_tree.ProcessIdentity] = []
        self.peak_bytes = 0  # the most memory seen so far; 0 where the system does not tell

    def poll(self) -> ProcessEnd | None:
        """How it ended, or which limit it has exceeded, and then still runs; None: neither."""
        code = self._process.poll()
        exceeded = self._find_exceeded(running=code is None)
        if exceeded:
            return ProcessEnd(code, exceeded)
        if code == -signal.SIGKILL:
            return ProcessEnd(code, "memory")
        return None if code is None else ProcessEnd(code)

    def wait(self) -> ProcessEnd:
        """Waits until it ends or exceeds a limit."""
        while (end := self.poll()) is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(POLL_SECONDS)
        return end

    def note_memory(self) -> None:
        """Updates `peak_bytes`, and what `stop` knows of the processes below."""
        limit = self._limits.processes or PROCESSES_LIMIT
        found = process_tree.find_processes(self._process.pid, limit)
        if found:
            self._tree = found
            self.peak_bytes = max(self.peak_bytes, process_tree.measure_peak_bytes(found))

    def stop(self, on_stop: Callable[[], object] | None) -> None:
        """Kills what still runs of it and of what it started, and waits for their end."""
        if self._process.poll() is None:
            self.note_memory()
            if on_stop:
                on_stop()
        # Whatever it started is in its group, also after it has ended itself, or was seen below it.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._wait_for_death()
        deadline = time.monotonic() + DEATH_SECONDS
        for process in self._tree:
            if process_tree.is_alive(process):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(process.number, signal.SIGKILL)
            # A namespace ends a moment after its first process.
            while process_tree.is_alive(process) and time.monotonic() < deadline:
                time.sleep(0.001)

    def _wait_for_death(self) -> None:
        try:
            self._process.wait(DEATH_SECONDS)
        except subprocess.TimeoutExpired:
            # An interruption just after Popen.poll has taken its lock leaves it taken for ever, and
            # Popen would wait for it as long.
            status = 0
            with suppress(ChildProcessError):
                _, status = os.waitpid(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)

    def _find_exceeded(self, running: bool) -> Exceeded | None:
        now, limits = time.monotonic(), self._limits
        if running and now > self._deadline:
            return "time"
        if max(file.stat().st_size for file in self._files) > limits.output:
            return "output"
        if running and now > self._next_tree:
            self._next_tree = now + TREE_SECONDS
            self.note_memory()
            if limits.processes is not None and len(self._tree) > limits.processes:
                return "processes"
            if limits.memory is not None and self._takes_too_much(limits.memory):
                return "memory"
        if limits.disk is not None and limits.folders and (now > self._next_disk or not running):
            self._next_disk = now + DISK_SECONDS
            if measure_folders(limits.folders) - self._bytes_before > limits.disk:
                return "disk"
        return None

    def _takes_too_much(self, memory: int) -> bool:
        if process_tree.is_memory_exhausted():
            return True
        # What forked processes share counts for each here, and once there.
        if process_tree.measure_resident_bytes(self._tree) <= memory:
            return False
        return process_tree.measure_proportional_bytes(self._tree) > memory


@contextmanager
def start_limited(
    command: Sequence[str | Path],
    stdout: Path,
    stderr: Path | None,
    limits: Limits,
    *,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    inherited: Sequence[int] = (),
    on_stop: Callable[[], object] | None = None,
) -> Iterator[LimitedProcess]:
    """Runs `command`, without input, until the block ends; then kills it and its process group.

    What it prints goes to the files `stdout` and `stderr`, without the latter to `stdout` alone.
    folder, environment: this process's by default. inherited: file descriptors that it gets.
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
            pass_fds=inherited,
            start_new_session=True,  # a process group of its own, which is killed as a whole
        )
    limited = LimitedProcess(process, (stdout, stderr or stdout), limits)
    try:
        yield limited
    finally:
        limited.stop(on_stop)


def run_limited(
    command: Sequence[str | Path],
    stdout: Path,
    stderr: Path | None,
    limits: Limits,
    *,
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    on_stop: Callable[[], object] | None = None,
) -> ProcessEnd:
    """Runs `command` to its end or to a limit. The arguments are those of `start_limited`."""
    started = start_limited(
        command, stdout, stderr, limits, folder=folder, environment=environment, on_stop=on_stop
    )
    with started as process:
        end = process.wait()
    # A process that was stopped may have ended in between; then its code does not count.
    return end


def succeeds(command: Sequence[str], seconds: float | None = ASKING_SECONDS) -> bool:
    """Whether `command` ends with code 0 within `seconds`; what it prints is dropped."""
    with suppress(OSError, subprocess.TimeoutExpired):
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
        return ended.returncode == 0
    return False


def limit_files(command: Sequence[str], size: int) -> list[str]:
    """`command` with no file larger than `size` bytes, and without core dumps.

    A shell sets the limits and becomes the command: in a Python process with threads, code between
    fork and exec may hang.
    """
    script = 'ulimit -c 0; ulimit -f "$0"; exec "$@"'
    return ["/bin/sh", "-c", script, str(size // BLOCK), *command]


def measure_folders(folders: Sequence[Path]) -> int:
    """Bytes on disk of the files below `folders`, without following links; of more than FILES_LIMIT
    files an endless number, because counting them would take too long."""
    total = files = 0
    for folder in folders:
        for place, _, names in os.walk(folder, followlinks=False):
            files += len(names) + 1
            if files > FILES_LIMIT:
                return 2**63
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(place, name)).st_blocks * BLOCK
    return total
