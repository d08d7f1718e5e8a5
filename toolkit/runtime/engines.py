"""Where an organiser's programs run: a container, a sandbox of namespaces, or plain processes."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.core import processes
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent

APP = "/app"  # where CodaBench mounts everything
CWD = f"{APP}/program"
FOLDERS = ("program", "ingested_program", "input_data", "input", "output", "shared", "data")
# Bytes of a log. A program that prints more is taken to print until its time is over.
OUTPUT_LIMIT = 100_000_000
# Exit codes of a shell for a command that is no program, and for one that does not exist.
CANNOT_START_CODE = 126
NOT_FOUND_CODE = 127

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

    environment: of its processes. passed_over: why no better one was taken. kill: kills the
    container `name`, where killing the command does not.
    """

    name: str
    not_reproduced: tuple[str, ...]
    argv: Callable[[Container, str], list[str]]
    environment: dict[str, str] | None = None
    passed_over: tuple[str, ...] = ()
    kill: Callable[[str], object] = field(default=lambda name: None)

    def run(self, container: Container, stdout: Path, stderr: Path, seconds: float) -> int | None:
        """Runs `container` to its end and returns its exit code; None when that took longer than
        `seconds`.

        What it prints is written to `stdout` and `stderr`. A command that cannot be started ends
        with 126 or 127.
        """
        name = f"cbtool-{os.getpid()}-{time.monotonic_ns()}"
        try:
            end = processes.run_limited(
                self.argv(container, name),
                stdout,
                stderr,
                time_limit=seconds,
                output_limit=OUTPUT_LIMIT,
                folder=container.mounts[CWD],
                environment=self.environment,
                on_stop=lambda: self.kill(name),
            )
        except OSError as error:
            stderr.write_text(f"{container.command[0]}: {error.strerror}\n", encoding="utf-8")
            if isinstance(error, FileNotFoundError):
                return NOT_FOUND_CODE
            return CANNOT_START_CODE
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


def _container_engine(executable: str) -> Callable[[str, str, Path, Progress], Engine]:
    """The back end of `executable`, docker or podman."""

    def make(image: str, python: str, folder: Path, progress: Progress) -> Engine:
        if not shutil.which(executable):
            raise _Unusable(f"{executable} is not installed")
        progress(0, 1, f"looking for {image}")
        # The command may be there while its service is not running, or not open to this user.
        if not _succeeds([executable, "info"]):
            raise _Unusable(f"{executable} does not respond")
        if not _succeeds([executable, "image", "inspect", "--", image]):
            progress(0, 1, f"pulling {image}")
            # An image has several gigabytes, so a pull has no time limit.
            if not _succeeds([executable, "pull", "--quiet", "--", image], seconds=None):
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
            # The command only watches: a container outlives it.
            kill=lambda name: _succeeds([executable, "kill", name]),
        )

    return make


def _bubblewrap(image: str, python: str, folder: Path, progress: Progress) -> Engine:
    """This machine's programs, read-only, in namespaces of their own, with /app in its place."""
    if not shutil.which("bwrap"):
        raise _Unusable("bwrap is not installed")
    # Namespaces of its own: no network, and no other process to be seen or killed. A program ends
    # when bwrap is killed at the time limit, and in a session of its own it cannot type into this
    # terminal. It is root, as in CodaBench's images, but without root's rights outside.
    base = [
        "bwrap",
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--uid",
        "0",
        "--gid",
        "0",
    ]
    for entry in sorted(Path("/").iterdir()):
        if entry.is_symlink():
            # /bin and /lib are links on many systems, and programs name their loader by them.
            base += ["--symlink", os.readlink(entry), str(entry)]
        elif entry.is_dir() and entry.name not in ("proc", "dev", "tmp", "app"):
            base += ["--ro-bind", str(entry), str(entry)]
    base += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    programs, prefixes = _programs(python, folder)
    # The empty /tmp hides an interpreter that lies there, as those in fresh environments may.
    for place in (*prefixes, programs):
        if place.is_relative_to("/tmp"):
            base += ["--ro-bind", str(place), str(place)]
    # Many systems, and most containers, forbid namespaces, so one is tried.
    if not _succeeds([*base, "true"]):
        raise _Unusable("this system does not allow bwrap to create namespaces")

    def argv(container: Container, name: str) -> list[str]:
        binds: list[str] = []
        for target, place in container.mounts.items():
            binds += ["--bind", str(place), target]
        return [*base, *binds, "--chdir", CWD, *container.command]

    not_reproduced = (*_missing_image(image, python), "the limit of 64 MB on /dev/shm")
    return Engine("bubblewrap", not_reproduced, argv, _environment(programs))


def _processes(image: str, python: str, folder: Path, progress: Progress) -> Engine:
    """Plain processes, for which /app lies elsewhere."""
    offline = ["unshare", "--map-root-user", "--net"]
    network: tuple[str, ...] = ()
    if not _succeeds([*offline, "true"]):
        offline, network = [], ("the network is on",)
    programs, _ = _programs(python, folder)
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
        return [*offline, *(_replace_root(word, root) for word in container.command)]

    not_reproduced = (
        *_missing_image(image, python),
        f"the folder {APP}: another folder replaced it in commands and in programs' "
        f"{' and '.join(REWRITTEN_SUFFIXES)} files",
        "file isolation: programs can read and write this user's files",
        *network,
    )
    return Engine("plain processes", not_reproduced, argv, _environment(programs))


# Best first.
ENGINES: dict[str, Callable[[str, str, Path, Progress], Engine]] = {
    "docker": _container_engine("docker"),
    "podman": _container_engine("podman"),
    "bubblewrap": _bubblewrap,
    "processes": _processes,
}


def _programs(python: str, folder: Path) -> tuple[Path, set[Path]]:
    """A folder in which `python` and `python3` are the interpreter, and where the interpreter's
    files lie.

    Scripts, not links: an interpreter finds its packages by its own path. Raises InputError when it
    does not run.
    """
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    path = shutil.which(python) or python
    code = "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"
    try:
        found = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"cannot run {python}.", "Give the path of a Python interpreter."
        ) from error
    for name in ("python", "python3"):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{os.path.abspath(path)}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return programs, {Path(line) for line in found.stdout.splitlines()}


def _environment(programs: Path) -> dict[str, str]:
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


def _succeeds(command: list[str], seconds: float | None = 60) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
        return ended.returncode == 0
    return False


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
