"""Reads randomly changed files for as long as one likes:

    python -m tests.support.fuzz READER SECONDS [--blind]

READER: a name of tests/support/readers.py. atheris (`pip install atheris`) guides the changes by
the branches of this project's code that they reach; with --blind, or where it is not installed,
they are drawn at random. Prints how many files were read, the slowest, the most memory, and each
kind of error that is not the project's own; exits with 1 when there was one.
"""

import argparse
import collections
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

try:
    import atheris
except ImportError:
    atheris = None

if atheris:
    with atheris.instrument_imports(include=["toolkit"]):
        from tests.support.readers import READERS, Reader, change
        from toolkit.core.errors import CbtoolError
else:
    from tests.support.readers import READERS, Reader, change
    from toolkit.core.errors import CbtoolError


class Campaign:
    """The reads of one reader so far."""

    def __init__(self, reader: Reader, folder: Path):
        self.reader = reader
        self.path = folder / "file"
        self.valid = reader.make()
        self.count = 0
        self.refused = 0
        self.slowest = 0.0
        self.crashes: collections.Counter[str] = collections.Counter()

    def read(self, content: bytes) -> None:
        self.path.write_bytes(content)
        started = time.monotonic()
        try:
            self.reader.read(self.path)
        except CbtoolError:
            self.refused += 1
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            self.crashes[f"{type(error).__name__} in {frame.filename}:{frame.lineno}: {error}"] += 1
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.count += 1

    def report(self) -> int:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(
            f"{self.reader.name}: {self.count:,} files, {self.refused:,} refused, slowest "
            f"{self.slowest:.2f} s, peak {peak:,.0f} MB, {len(self.crashes)} kinds of errors",
            flush=True,
        )
        for crash, times in self.crashes.most_common():
            print(f"  {times} × {crash}", flush=True)
        return int(bool(self.crashes))


def fuzz_blindly(campaign: Campaign, seconds: float) -> None:
    rng = random.Random(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        campaign.read(change(campaign.valid, rng.randrange))


def fuzz_guided(campaign: Campaign, seconds: float) -> None:
    end = time.monotonic() + seconds

    def read(choices: bytes) -> None:
        if time.monotonic() > end:
            # The fuzzer would end the process without a word.
            code = campaign.report()
            shutil.rmtree(campaign.path.parent)
            os._exit(code)
        # What the fuzzer evolves is the list of choices, so that its files stay nearly valid.
        provider = atheris.FuzzedDataProvider(choices)
        campaign.read(
            change(campaign.valid, lambda count: provider.ConsumeIntInRange(0, count - 1))
        )

    atheris.Setup([sys.argv[0], "-verbosity=0", "-rss_limit_mb=0"], read)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reader", choices=READERS)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--blind", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(READERS[arguments.reader], Path(folder))
        if atheris and not arguments.blind:
            fuzz_guided(campaign, arguments.seconds)
        else:
            fuzz_blindly(campaign, arguments.seconds)
        return campaign.report()


if __name__ == "__main__":
    sys.exit(main())
