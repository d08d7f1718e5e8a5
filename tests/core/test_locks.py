"""Locks: one holder, who is named; none that outlives its process."""

import os
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from toolkit.core import locks
from toolkit.core.errors import InputError

HOLD = """
import os, sys
from pathlib import Path
from toolkit.core import locks
with locks.hold(Path(sys.argv[1]), "works", "Wait."):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_second_is_told_who_holds_it(tmp_path):
    path = tmp_path / "new folder" / "a.lock"
    with locks.hold(path, "is training runs/a", "Wait."):
        assert locks.find_holder(path) == os.getpid()
        # The name of a folder may hold any sign.
        for work in ("is training runs/a", "is training runs/{a}"):
            with pytest.raises(InputError) as caught, locks.hold(path, work, "Wait."):
                pass
            assert caught.value.sentence == f"another process ({os.getpid()}) {work}."
    assert locks.find_holder(path) is None
    with locks.hold(path, "is training", "Wait."):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path):
    """A process of its own, because only that can be killed."""
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        assert locks.find_holder(path) == process.pid
        process.kill()
    assert locks.find_holder(path) is None
    with locks.hold(path, "works", "Wait."):
        assert locks.find_holder(path) == os.getpid()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="cannot write"),
        locks.hold(tmp_path / "file" / "a.lock", "works", "Wait."),
    ):
        pass
