"""A command in bubblewrap's namespaces: no network, no file of this machine but those it needs, no
other process to see.

Everything else is absent, not forbidden: the root is an empty folder in memory, into which a few
folders are mounted. What a program writes outside of the folders that it is given lies in memory,
has a largest size, and ends with it.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from toolkit.core.errors import InputError
from toolkit.core.processes import succeeds
from toolkit.runtime.interpreters import Interpreter

# Programs and libraries; on NixOS and Guix all of them lie in a store.
SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
)
# What the loader and the C library read, and the links by which systems choose among libraries.
SETTINGS = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
)
# Libraries count processors there and ask which memory is near which.
TOPOLOGY = ("/sys/devices/system/cpu", "/sys/devices/system/node")
# The devices of Nvidia's cards, and where CUDA looks for them.
CARDS = "nvidia*"
CARD_FOLDERS = ("/sys/bus/pci", "/sys/devices", "/sys/module/nvidia")
ACCOUNTS = "root:x:0:0:root:/tmp:/bin/sh\n"
DISK = 1_000_000_000  # bytes in memory that a program may write in each of its temporary folders
SHARED_MEMORY = 1_000_000_000  # bytes of /dev/shm


@dataclass(frozen=True)
class Mounts:
    """What a command sees, by the absolute path where it sees it.

    readable, writable: files and folders of this machine. temporary: folders in memory, with the
    bytes that each may hold.
    """

    readable: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    temporary: Mapping[str, int] = field(default_factory=dict)


def build_command(
    command: Sequence[str],
    interpreter: Interpreter,
    mounts: Mounts,
    folder: str,
    place: Path,
) -> list[str]:
    """`command`, to be run in `folder`, with the system's programs, `interpreter` and `mounts`.

    It is root, as in CodaBench's images, without root's rights. It ends when this process does, and
    takes all with it that it started. place: a folder for a file that the command reads. Raises
    InputError when the interpreter cannot be shown without the user's home, or bubblewrap does not
    work here.
    """
    start = _start()
    if start is None:
        raise InputError(f"cannot isolate: {find_reason()}.", "Use another engine.")
    accounts = place / "accounts"
    accounts.write_text(ACCOUNTS, encoding="utf-8")
    words = [*start, *_system_mounts(), *_interpreter_mounts(interpreter)]
    words += ["--size", str(DISK), "--tmpfs", "/tmp", "--dir", "/var/tmp"]
    # Folders of this machine may lie below /tmp, so they come later.
    words += _interpreter_mounts(interpreter, below="/tmp")
    words += ["--ro-bind", str(accounts), "/etc/passwd"]
    for target, size in mounts.temporary.items():
        words += ["--size", str(size), "--tmpfs", target]
    for target, source in mounts.readable.items():
        words += ["--ro-bind", str(source), target]
    for target, source in mounts.writable.items():
        words += ["--bind", str(source), target]
    return [*words, "--remount-ro", "/", "--chdir", folder, "--", *command]


def find_reason() -> str | None:
    """Why bubblewrap does not work here; None where it does."""
    if not shutil.which("bwrap"):
        return "bwrap is not installed"
    if _start() is None:
        return (
            "this system does not allow bwrap to create namespaces, or bwrap is older than "
            "version 0.7"
        )
    return None


@cache
def _start() -> tuple[str, ...] | None:
    """bwrap and its first words, the strictest that work here; None where none do."""
    # Many systems, and most containers, forbid namespaces, so one is tried.
    for words in _variants():
        if succeeds([*words, *_system_mounts(), "--", "true"]):
            return words
    return None


def _variants() -> list[tuple[str, ...]]:
    """bwrap and what it separates a command from, strictest first."""
    words = (
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--die-with-parent",
        "--new-session",  # so that it cannot type into this terminal
        "--uid",
        "0",
        "--gid",
        "0",
        "--cap-drop",
        "ALL",
    )
    # Without namespaces of its own a program reaches less of the kernel. Older versions lack it.
    return [(*words, "--disable-userns"), words]


def _system_mounts() -> list[str]:
    words: list[str] = []
    for name in SYSTEM:
        if os.path.islink(name):
            # /bin and /lib are links on many systems, and programs name their loader by them.
            words += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            words += ["--ro-bind", name, name]
    for name in (*SETTINGS, *TOPOLOGY):
        words += ["--ro-bind-try", name, name]
    # Read-only: where cbtool runs as root, a program could else change this machine's kernel by
    # files below /proc/sys, although it has none of root's rights.
    words += ["--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"]
    cards = sorted(Path("/dev").glob(CARDS))
    for card in cards:
        words += ["--dev-bind", str(card), str(card)]
    if cards:
        for name in CARD_FOLDERS:
            words += ["--ro-bind-try", name, name]
    words += ["--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    return words


def _interpreter_mounts(interpreter: Interpreter, below: str = "") -> list[str]:
    """The interpreter's folders and links that lie `below` a folder, or else not below /tmp."""
    home = Path.home()
    words: list[str] = []
    for folder in interpreter.folders:
        if _is_shown(folder) or folder.is_relative_to("/tmp") != bool(below):
            continue
        if home.is_relative_to(folder):
            raise InputError(
                f"{interpreter.executable} cannot be run in isolation: its folder {folder} holds "
                "your home folder.",
                "Use an interpreter in a virtual environment: python3 -m venv .venv.",
            )
        words += ["--ro-bind", str(folder), str(folder)]
    for link, target in interpreter.links:
        if not _is_shown(link) and link.is_relative_to("/tmp") == bool(below):
            words += ["--symlink", target, str(link)]
    return words


def _is_shown(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in SYSTEM)
