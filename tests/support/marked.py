"""Processes that are found by a word in their command line, wherever they run."""

import os
import time
from pathlib import Path


def make_marker(name):
    return f"{name}-{os.getpid()}-{time.monotonic_ns()}"


def become_marked(marker):
    """The code of a submission whose process becomes another program, which sleeps."""
    return f"""
import __main__, os, sys
__main__.Detector.__call__ = lambda *arguments: None
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", {marker!r}])
"""


def find_marked(marker):
    """The numbers of this machine's processes whose command line holds `marker`."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return [number for number in found if number != os.getpid()]


def wait_until(condition, seconds=20):
    """Whether `condition()` became true in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
