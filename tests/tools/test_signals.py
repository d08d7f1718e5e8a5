"""Interruptions."""

import signal
import subprocess
import sys

import pytest

from tests.support.commands import ROOT
from tools import signals

PROGRAM = """
import gc, os, signal, sys, time
from tools import signals

# A shell starts jobs in the background deaf to some signals, which this process inherits.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in signals.SIGNALS:
    signal.signal(number, signal.SIG_DFL)
sent = []

def interrupt(phase, info):
    if not sent:
        sent.append(phase)
        os.kill(os.getpid(), {number})
        time.sleep(0.01)  # the handler runs here, where nothing can be raised

gc.callbacks.append(interrupt)
try:
    with signals.interruptible():
        gc.collect()
        print("dropped", flush=True)
        time.sleep(30)
except KeyboardInterrupt as error:
    sys.exit(signals.find_exit_code(error))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_interruption_in_the_garbage_collector_is_not_lost(number):
    """In a process of its own, which gets the signal."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(number=int(number))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=20,
    )
    assert (result.stdout, result.returncode) == ("dropped\n", 128 + number)
    assert result.stderr == ""


def test_other_errors_that_python_drops_are_shown_as_before(monkeypatch):
    class Faulty:
        def __del__(self):
            raise ValueError("dropped")

    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: shown.append(dropped.exc_type))
    with signals.interruptible():
        Faulty()
    assert shown == [ValueError]
