"""A limited child process: its end, its limits, and the end of all that it started."""

import os
import sys
import time

import pytest

from toolkit.core import processes
from toolkit.core.processes import Limits, ProcessEnd


def run(tmp_path, code, stderr=None, on_stop=None, seconds=60.0, output=1000, **limits):
    command = [sys.executable, "-c", code]
    wanted = Limits(seconds, output, **limits)
    return processes.run_limited(command, tmp_path / "out", stderr, wanted, on_stop=on_stop)


def test_its_code_and_what_it_printed(tmp_path):
    code = "import sys; print('a', flush=True); print('b', file=sys.stderr); sys.exit(3)"
    assert run(tmp_path, code) == ProcessEnd(3)
    assert (tmp_path / "out").read_text() == "a\nb\n"
    assert run(tmp_path, code, stderr=tmp_path / "err") == ProcessEnd(3)
    assert (tmp_path / "out").read_text() == "a\n" and (tmp_path / "err").read_text() == "b\n"


def test_the_limits(tmp_path):
    sleep = "import time; time.sleep(60)"
    stopped = []
    end = run(tmp_path, sleep, seconds=0.2, on_stop=lambda: stopped.append(True))
    assert end == ProcessEnd(None, "time") and stopped == [True]
    assert run(tmp_path, f"print('x' * 2000, flush=True); {sleep}") == ProcessEnd(None, "output")
    # This one ends by itself: before it is stopped, or just after.
    end = run(tmp_path, "print('x' * 2000)")
    assert end.exceeded == "output" and end.code in (0, None)
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert run(tmp_path, killed) == ProcessEnd(-9, "memory")


def test_nothing_of_its_group_survives(tmp_path):
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid)"
    )
    assert run(tmp_path, code) == ProcessEnd(0)
    child = int((tmp_path / "out").read_text())
    deadline = time.monotonic() + 10
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _is_alive(child)


def test_an_interruption_within_popen_is_no_hang(tmp_path, monkeypatch):
    """One that comes between the lock of Popen.poll and its `try` leaves the lock taken."""
    monkeypatch.setattr(processes, "DEATH_SECONDS", 0.1)
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with processes.start_limited(sleep, tmp_path / "out", None, Limits(60, 1000)) as process:
        assert process._process._waitpid_lock.acquire(timeout=5)
    assert process._process.returncode == -9


def test_what_is_no_program_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        processes.run_limited(["/none"], tmp_path / "out", None, Limits(1, 1))


def _is_alive(process: int) -> bool:
    """Whether `process` runs; a dead one that nobody has waited for is none."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
