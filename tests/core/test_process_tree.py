"""What /proc says of a process and of those below it. Processes, because they are the subject."""

import os
import subprocess
import sys

import pytest

from toolkit.core import process_tree

pytestmark = pytest.mark.skipif(not process_tree.PROC.exists(), reason="only Linux has /proc")
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "kept = b'x' * 50_000_000; input()"],
    stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""


@pytest.fixture
def parent():
    """A process that has a child, and the child's number."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=pipe, stdout=pipe) as process:
        yield process, int(process.stdout.readline())


def test_a_process_and_those_below_it(parent):
    process, child = parent
    found = process_tree.find_processes(process.pid, 10)
    assert [identity.number for identity in found] == [process.pid, child]
    assert len(process_tree.find_processes(process.pid, 0)) == 1  # no more than asked
    assert all(process_tree.is_alive(identity) for identity in found)
    process.stdin.close()
    process.wait()
    assert not process_tree.is_alive(found[0])


def test_a_number_that_was_given_again_is_another_process():
    (me,) = process_tree.find_processes(os.getpid(), 0)
    assert process_tree.is_alive(me)
    assert not process_tree.is_alive(process_tree.ProcessIdentity(me.number, me.started - 1))


def test_memory(parent):
    process, _ = parent
    found = process_tree.find_processes(process.pid, 10)
    resident = process_tree.measure_resident_bytes(found)
    assert 0 < process_tree.measure_proportional_bytes(found) <= resident
    assert resident <= process_tree.measure_peak_bytes(found)
    assert not process_tree.is_memory_exhausted()
