"""The command line as a user runs it, and what it should leave behind."""

import contextlib
import csv
import functools
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from toolkit.training.run_folder import Run
from tools import cli

ROOT = Path(__file__).resolve().parents[2]
COMPETITION = (
    ROOT.parent / "shared" / "competition"
)  # the competition's images, where they are at hand
OLD = ROOT / "tests" / "support" / "old"  # what version 0.1 wrote


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


def in_process(
    *arguments,
    input: str = "",
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess:
    """The same in this process: seconds faster, as TensorFlow is imported once for all tests.

    An exception that the command line does not turn into an exit code is raised here.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        _working_folder(cwd or ROOT),
        mock.patch.dict(os.environ, env or os.environ, clear=True),
        mock.patch.object(sys, "stdin", io.StringIO(input)),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        code = cli.main([str(argument) for argument in arguments])
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


@contextlib.contextmanager
def _working_folder(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def started(*arguments, env: dict[str, str] | None = None) -> subprocess.Popen:
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
        env=env,
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
