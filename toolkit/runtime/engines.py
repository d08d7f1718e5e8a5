"""Where an organiser's programs run: a container, a sandbox of namespaces, or plain processes."""

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.core import processes
from toolkit.core.errors import InputError
from toolkit.core.files import format_bytes
from toolkit.core.processes import succeeds
from toolkit.core.progress import Progress, silent
from toolkit.runtime import bubblewrap
from toolkit.runtime.bubblewrap import Mounts
from toolkit.runtime.interpreters import find_interpreter, write_programs
from toolkit.runtime.isolation import (
    DISK_LIMIT,
    MEMORY_LIMIT,
    PROCESSES_LIMIT,
    EngineName,
    Isolation,
    make_limits,
)

APP = "/app"  # where CodaBench mounts everything
CWD = f"{APP}/program"
FOLDERS = ("program", "ingested_program", "input_data", "input", "output", "shared", "data")
# Bytes of a log. A program that prints more is taken to print until its time is over.
OUTPUT_LIMIT = 100_000_000
# Exit codes of a shell for a command that is no program, and for one that does not exist.
CANNOT_START_CODE = 126
NOT_FOUND_CODE = 127
KILLED_CODE = 137  # of a container that the system kills, for example because memory ran out
# Why a program was stopped, where that is not a limit of CodaBench's.
STOPPED = {
    "memory": f"it took more than {format_bytes(MEMORY_LIMIT)} of memory, or was killed",
    "processes": f"it started more than {PROCESSES_LIMIT} processes",
    "disk": f"it wrote more than {format_bytes(DISK_LIMIT)}",
}
THREADS_LIMIT = 4096  # processes and threads in a container
PROGRAMS = "/opt/cbtool/bin"  # where bubblewrap shows the interpreter by the name python

# What CodaBench's worker takes from its containers.
DROPPED_CAPABILITIES = (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP "
    "SETGID SETPCAP SETUID SYS_CHROOT"
)
REWRITTEN_SUFFIXES = (
    ".py",
    ".sh",
)  # files of a program in which plain processes find the other root


@dataclass(frozen=True)
class Container:
    """One program to run. command: its words. mounts: host folders by their place below /app, all
    writable."""

    command: list[str]
    mounts: dict[str, Path]


@dataclass(frozen=True)
class Engine:
    """A back end. name: for people. not_reproduced: what it lacks of CodaBench's worker. argv:
    the command that runs a container as `name`.

    isolation: what it keeps programs from. environment: of its processes. passed_over: why no
    better one was taken. kill: kills the container `name`, where killing the command does not.
    """

    name: str
    not_reproduced: tuple[str, ...]
    argv: Callable[[Container, str], list[str]]
    isolation: Isolation
    environment: dict[str, str] | None = None
    passed_over: tuple[str, ...] = ()
    kill: Callable[[str], object] = field(default=lambda name: None)

    def run(self, container: Container, stdout: Path, stderr: Path, seconds: float) -> int | None:
        """Runs `container` to its end and returns its exit code; None when that took longer than
        `seconds`, or when it printed more than OUTPUT_LIMIT.

        What it prints is written to `stdout` and `stderr`. A command that cannot be started ends
        with 126 or 127, one that takes too much of this machine with 137.
        """
        name = f"cbtool-{os.getpid()}-{time.monotonic_ns()}"
        limits = replace(
            make_limits(seconds, OUTPUT_LIMIT), folders=tuple(container.mounts.values())
        )
        try:
            end = processes.run_limited(
                self.argv(container, name),
                stdout,
                stderr,
                limits,
                folder=container.mounts[CWD],
                environment=self.environment,
                on_stop=lambda: self.kill(name),
            )
        except OSError as error:
            stderr.write_text(f"{container.command[0]}: {error.strerror}\n", encoding="utf-8")
            if isinstance(error, FileNotFoundError):
                return NOT_FOUND_CODE
            return CANNOT_START_CODE
        if end.exceeded in STOPPED:
            with stderr.open("a", encoding="utf-8") as log:
                log.write(f"\ncbtool stopped the program: {STOPPED[end.exceeded]}.\n")
            return KILLED_CODE
        return end.code


@contextmanager
def open_engine(
    wanted: str | None, image: str, python: str, progress: Progress = silent
) -> Iterator[Engine]:
    """The back end `wanted` ("docker", "podman", "bubblewrap", "processes"), by default the best
    that works here.

    Containers run `image`; the others run this machine's programs, with `python` as their python.
    Raises InputError when the one that is wanted does not work here.
    """
    with tempfile.TemporaryDirectory(prefix="cbtool-") as folder:
        reasons = []
        for name in [wanted] if wanted else ENGINES:
            try:
                made = ENGINES[name](image, python, Path(folder), progress)
            except _Unusable as error:
                reasons.append(f"{name}: {error}")
                continue
            yield replace(made, passed_over=tuple(reasons))
            return
        raise InputError(
            f"cannot rehearse with {reasons[0]}.",
            "Omit --backend to use the best one that works here.",
        )


class _Unusable(Exception):
    """Why a back end does not work here."""


def _container_engine(executable: EngineName) -> Callable[[str, str, Path, Progress], Engine]:
    """The back end of `executable`, docker or podman."""

    def make(image: str, python: str, folder: Path, progress: Progress) -> Engine:
        if not shutil.which(executable):
            raise _Unusable(f"{executable} is not installed")
        progress(0, 1, f"looking for {image}")
        # The command may be there while its service is not running, or not open to this user.
        if not succeeds([executable, "info"]):
            raise _Unusable(f"{executable} does not respond")
        if not succeeds([executable, "image", "inspect", "--", image]):
            progress(0, 1, f"pulling {image}")
            # An image has several gigabytes, so a pull has no time limit.
            if not succeeds([executable, "pull", "--quiet", "--", image], seconds=None):
                raise _Unusable(f"{executable} cannot pull {image}")

        def argv(container: Container, name: str) -> list[str]:
            for place in container.mounts.values():
                _make_writable(place)  # the container's root has no right to another's files
            # CodaBench's own workers have a network unless it is switched off there. Off here, so
            # that a program which needs one is found before it meets such a worker.
            options = [
                "--rm",
                "--name",
                name,
                "--network",
                "none",
                "--security-opt",
                "no-new-privileges",
            ]
            options += [f"--cap-drop={capability}" for capability in DROPPED_CAPABILITIES.split()]
            options += [
                f"--memory={MEMORY_LIMIT}",
                f"--memory-swap={MEMORY_LIMIT}",  # of both together, so that nothing is swapped
                f"--pids-limit={THREADS_LIMIT}",
                f"--ulimit=fsize={DISK_LIMIT}",
            ]
            options += [f"--volume={place}:{target}" for target, place in container.mounts.items()]
            return [
                executable,
                "run",
                *options,
                f"--workdir={CWD}",
                "--env=PYTHONUNBUFFERED=1",
                "--",  # a bundle names the image, which must not become an option
                image,
                *container.command,
            ]

        return Engine(
            f"{executable}, image {image}",
            (),
            argv,
            Isolation(executable),
            # The command only watches: a container outlives it.
            kill=lambda name: succeeds([executable, "kill", name]),
        )

    return make


def _bubblewrap(image: str, python: str, folder: Path, progress: Progress) -> Engine:
    """This machine's programs, read-only, in namespaces of their own, with /app in its place."""
    reason = bubblewrap.find_reason()
    if reason is not None:
        raise _Unusable(reason)
    interpreter = find_interpreter(python)
    programs = folder / "bin"
    write_programs(interpreter, programs)

    def argv(container: Container, name: str) -> list[str]:
        mounts = Mounts(readable={PROGRAMS: programs}, writable=container.mounts)
        command = bubblewrap.build_command(container.command, interpreter, mounts, CWD, folder)
        return processes.limit_files(command, DISK_LIMIT)

    not_reproduced = (*_missing_image(image, python), "the limit of 64 MB on /dev/shm")
    isolation = Isolation("bubblewrap")
    return Engine("bubblewrap", not_reproduced, argv, isolation, _environment(PROGRAMS))


def _processes(image: str, python: str, folder: Path, progress: Progress) -> Engine:
    """Plain processes, for which /app lies elsewhere."""
    offline = ["unshare", "--map-root-user", "--net"]
    network: tuple[str, ...] = ()
    if not succeeds([*offline, "true"]):
        offline, network = [], ("the network is on",)
    programs = folder / "bin"
    write_programs(find_interpreter(python), programs)
    root = folder / "root"

    def argv(container: Container, name: str) -> list[str]:
        # Links to the step's folders, made anew: the next program has other mounts.
        shutil.rmtree(root, ignore_errors=True)
        for target, place in container.mounts.items():
            link = root / target.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(place)
            if target in (CWD, f"{APP}/ingested_program"):
                _rewrite_program(place, root)
        command = [_replace_root(word, root) for word in container.command]
        return processes.limit_files([*offline, *command], DISK_LIMIT)

    not_reproduced = (
        *_missing_image(image, python),
        f"the folder {APP}: another folder replaced it in commands and in programs' "
        f"{' and '.join(REWRITTEN_SUFFIXES)} files",
        "file isolation: programs can read and write this user's files",
        *network,
    )
    isolation = Isolation("processes", "programs run as plain processes")
    return Engine("plain processes", not_reproduced, argv, isolation, _environment(str(programs)))


# Best first.
ENGINES: dict[str, Callable[[str, str, Path, Progress], Engine]] = {
    "docker": _container_engine("docker"),
    "podman": _container_engine("podman"),
    "bubblewrap": _bubblewrap,
    "processes": _processes,
}


def _environment(programs: str) -> dict[str, str]:
    """The environment of the programs, without anything of this user's."""
    return {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def _missing_image(image: str, python: str) -> tuple[str, ...]:
    whose = python
    if python == sys.executable:
        whose = "cbtool's own Python"
    return (f"the image {image}: this machine's programs and {whose} ran instead",)


def _make_writable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue  # its target may lie outside
        mode = 0o666
        if path.is_dir():
            mode = 0o777
        path.chmod(mode)


def _replace_root(text: str, root: Path) -> str:
    """`text` with the worker's folders below `root`; those that are there already stay."""
    return re.sub(
        rf"(?<!{re.escape(str(root))}){APP}(?=/({'|'.join(FOLDERS)})\b)", f"{root}{APP}", text
    )


def _rewrite_program(program: Path, root: Path) -> None:
    """Replaces the worker's folders in the program's own files."""
    # Not through links: what they lead to is not the program's own, and not a copy.
    for path in program.rglob("*"):
        if path.suffix in REWRITTEN_SUFFIXES and path.is_file() and not path.is_symlink():
            with suppress(UnicodeDecodeError):
                path.write_text(
                    _replace_root(path.read_text(encoding="utf-8"), root), encoding="utf-8"
                )
