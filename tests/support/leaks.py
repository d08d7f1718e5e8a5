"""What many validations leave behind, and how memory grows with the number of images:

    python -m tests.support.leaks VALIDATIONS [SUBMISSION.zip]

Prints a line each for the state after some validations of a small zip, and for the peak memory of
predict in SUBMISSION.zip for each number of images.
"""

import os
import sys
import tempfile
import threading
from pathlib import Path

from tests.support.submissions import made
from toolkit.core import process_tree
from toolkit.runtime import checks, sandbox

IMAGES = (500, 20_000)


def print_state(count: int) -> None:
    me = os.getpid()
    resident = process_tree.measure_resident_bytes(process_tree.find_processes(me, 1)[:1])
    children = len(process_tree.find_processes(me, 1000)) - 1
    print(
        f"after {count:4} validations: {resident / 1e6:7.1f} MB, {len(os.listdir('/dev/fd'))} "
        f"files open, {threading.active_count()} threads, {children} child processes, "
        f"{len(list(Path(tempfile.gettempdir()).glob('cbtool-*')))} temporary folders",
        flush=True,
    )


def repeat_validation(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="leaks-") as folder:
        path = made(Path(folder) / "s.zip")
        for done in range(1, count + 1):
            assert not [check for check in checks.validate(path) if check.status == "failed"]
            if done in (1, 10, count // 2, count):
                print_state(done)


def print_growth(path: Path) -> None:
    beyond = []
    for count in IMAGES:
        images = checks.draw_images(count)
        outcome = sandbox.run(path, {"images": images}, time_limit=3600)
        outcome.labels("images")  # raises where predict failed
        beyond.append((outcome.peak_bytes - images.nbytes) / 1e6)
        print(
            f"{count:6} images: peak {outcome.peak_bytes / 1e6:,.0f} MB, input "
            f"{images.nbytes / 1e6:,.0f} MB",
            flush=True,
        )
    print(f"growth beyond the input: {beyond[-1] - beyond[0]:.1f} MB")


if __name__ == "__main__":
    repeat_validation(int(sys.argv[1]))
    if len(sys.argv) > 2:
        print_growth(Path(sys.argv[2]))
