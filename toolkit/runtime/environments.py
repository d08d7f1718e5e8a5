"""Environments that evaluators run submissions in: made once, kept in the user's cache folder."""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

from toolkit.core.errors import InputError
from toolkit.core.files import write_error
from toolkit.core.progress import Progress, silent

# TensorFlow without GPU code, where it exists as such: evaluators only predict, and it is half the
# size.
TENSORFLOW = (
    "tensorflow-cpu"
    if platform.system() == "Linux" and platform.machine() == "x86_64"
    else "tensorflow"
)


# What pip installs.
NONE = "none"  # the name for this interpreter, whatever the competition names
EVALUATORS = {
    # Politecnico di Milano's AN2DL 2024, as several teams wrote down
    "an2dl2024": (f"{TENSORFLOW}==2.17.0", "keras==3.4.1"),
    # the oldest TensorFlow that submissions run on
    "oldest": (f"{TENSORFLOW}==2.16.2", "keras==3.3.3"),
    # the newest releases on the day it is made
    "latest": (TENSORFLOW, "keras"),
}


def find_python(name: str, progress: Progress = silent, packages: tuple[str, ...] = ()) -> str:
    """The interpreter of the evaluator `name`; its environment is made first where there is none.

    packages: what pip installs there, by default what is known by the name. Takes a minute or two
    and the network, once. Raises InputError when it cannot be made: what was half done is gone.
    """
    # What a stranger's competition.toml names is not built here: building runs a package's code.
    options = ["--only-binary", ":all:"] if packages else []
    packages = packages or EVALUATORS.get(name, ())
    if not packages:
        raise InputError(
            f"there is no evaluator '{name}'.", f"Evaluators: {', '.join(EVALUATORS)}."
        )
    folder = environment_folder(name)
    # The interpreter is there long before its packages are: `ready` is written last.
    ready, interpreter = folder / "ready", folder / "bin" / "python"
    if ready.exists() and interpreter.exists():
        return str(interpreter)
    # What a competition calls tensorflow is installed as TENSORFLOW.
    packages = tuple(re.sub("^tensorflow(?==|$)", TENSORFLOW, each) for each in packages)
    progress(0, 2, f"installing {' '.join(packages)} into {folder}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    try:
        _run([sys.executable, "-m", "venv", str(folder)], name, packages)
        progress(1, 2, f"installing {' '.join(packages)}")
        pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *options, *packages], name, packages)
        ready.touch()
    except BaseException:  # Ctrl-C too: half an environment would be taken for a whole one
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return str(interpreter)


def environment_folder(name: str) -> Path:
    """Where the environment of evaluator `name` lies, one for each Python version."""
    return (
        platformdirs.user_cache_path("cbtool")
        / "evaluators"
        / f"{name}-py{sys.version_info.major}.{sys.version_info.minor}"
    )


def _run(command: list[str], name: str, packages: tuple[str, ...]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InputError(
            f"cannot install the evaluator {name}: {error.strerror}.",
            "Check the disk and its permissions.",
        ) from error
    if result.returncode != 0:
        said = _find_reason(result.stderr or result.stdout)
        raise InputError(
            f"the evaluator {name} is missing and cannot be installed: {said}",
            f"Connect to the network once; or install {' and '.join(packages)} yourself and give "
            "that interpreter: --python PATH.",
        )


def _find_reason(printed: str) -> str:
    """The last line in which pip says ERROR, else the last of all."""
    lines = printed.strip().splitlines()
    # After its error pip may print warnings and advice.
    for line in reversed(lines):
        if line.startswith("ERROR"):
            return line.removeprefix("ERROR: ")
    return lines[-1] if lines else "no reason given"
