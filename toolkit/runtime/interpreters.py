"""A Python interpreter, and where its files lie."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from toolkit.core.errors import InputError

# Printed by the interpreter itself. Folders of packages may be links to elsewhere; other entries of
# sys.path are a user's own projects, which are no part of it.
DESCRIBE = """
import json, os, sys
prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
packages = {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
folders = prefixes | packages
folders |= {os.path.realpath(folder) for folder in folders}
print(json.dumps([sys.executable, sorted(folders)]))
"""


@dataclass(frozen=True)
class Interpreter:
    """executable: its absolute path, in its virtual environment where it has one. folders: all that
    it needs beside the system's libraries, none below another. links: by which other links
    `executable` leads to the program, and where each points to."""

    executable: str
    folders: tuple[Path, ...]
    links: tuple[tuple[Path, str], ...]


def find_interpreter(python: str) -> Interpreter:
    """The interpreter `python`, a path or a name. Raises InputError when it does not run."""
    return _describe(os.path.abspath(shutil.which(python) or python), python)


@cache
def _describe(path: str, python: str) -> Interpreter:
    try:
        found = subprocess.run(
            [path, "-I", "-c", DESCRIBE],
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        executable, names = json.loads(found.stdout)
    except OSError as error:
        raise InputError(
            f"cannot run {python}: {error.strerror}.", "Give the path of a Python interpreter."
        ) from error
    except (subprocess.CalledProcessError, ValueError) as error:
        raise InputError(
            f"cannot run {python}.", "Give the path of a Python interpreter."
        ) from error
    folders = [Path(name) for name in names if os.path.isdir(name)]
    outer = [
        folder
        for folder in folders
        if not any(other != folder and folder.is_relative_to(other) for other in folders)
    ]
    return Interpreter(executable, tuple(outer), tuple(_follow_links(executable, outer)))


def _follow_links(executable: str, folders: list[Path]) -> list[tuple[Path, str]]:
    """The links from `executable` on that lie in none of `folders`."""
    links = []
    path = Path(executable)
    while path.is_symlink():
        target = os.readlink(path)
        if not any(path.is_relative_to(folder) for folder in folders):
            links.append((path, target))
        path = path.parent / target
    return links


def write_programs(interpreter: Interpreter, folder: Path) -> None:
    """Makes `python` and `python3` in `folder` start the interpreter."""
    folder.mkdir(exist_ok=True)
    for name in ("python", "python3"):
        # Scripts, not links: an interpreter finds its packages by its own path.
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{interpreter.executable}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
