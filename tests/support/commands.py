"""The command line as a user runs it, and what it should leave behind."""

import csv
import functools
import signal
import subprocess
import sys
from pathlib import Path

from toolkit.training.run_folder import Run

ROOT = Path(__file__).resolve().parents[2]
COMPETITION = (
    ROOT.parent / "shared" / "competition"
)  # the competition's images, where they are at hand


def cbtool(*arguments, **options) -> subprocess.CompletedProcess:
    """Runs the command line as a user does: a process of its own."""
    command = [sys.executable, "-m", "tools", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=options.pop("cwd", ROOT),
        timeout=400,
        **options,
    )


def started(*arguments) -> subprocess.Popen:
    """Starts the command line, to be interrupted. Shells start background jobs deaf to Ctrl-C,
    which a test in one would inherit."""
    command = [sys.executable, "-m", "tools", *map(str, arguments)]
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=listen,
    )


def assert_one_sentence(result: subprocess.CompletedProcess, *words: str, code: int = 2) -> None:
    """The process failed as a user's mistake should: code, one error sentence with `words`, a hint,
    no traceback."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.stderr
    assert "Hint: " in result.stderr
    for word in words:
        assert word in errors[0]


def history_of(run: Run) -> list[dict]:
    """The rows of the run's history.csv, as text."""
    with run.history.open() as file:
        return list(csv.DictReader(file))
