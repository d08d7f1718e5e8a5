"""How fast a submission zip is, and how much memory it takes, in a fresh process."""

import sys
from dataclasses import dataclass
from pathlib import Path

from toolkit import checks, sandbox

FIRST = 64  # images in the first call, which also builds the graph
SAMPLE = 512  # images in the measured call, at most


@dataclass(frozen=True)
class Timing:
    """Seconds, images/s and bytes, on this machine.

    images: the number the projection is for. measured_images: in the one call behind images_per_second.
    projected_seconds: import, load, the first call, and the rest at that speed. peak_bytes: of the process,
    with the measured images in memory.
    """

    images: int
    measured_images: int
    import_seconds: float
    load_seconds: float
    first_call_seconds: float
    images_per_second: float
    projected_seconds: float
    peak_bytes: int


def measure(path: Path, images: int, python: str = sys.executable, time_limit: float = sandbox.TIME_LIMIT) -> Timing:
    """Times the zip at `path`, projected to `images` images. Raises as `sandbox.run`, SubmissionError if it fails."""
    manifest = checks.read_manifest(path)
    count = min(images, SAMPLE)
    sample = checks.sample_images(manifest, max(count, FIRST))
    outcome = sandbox.run(path, {"first": sample[:FIRST], "measured": sample[:count]}, python, time_limit)
    for name in ("first", "measured"):
        outcome.output(name)
    speed = count / outcome.calls["measured"].seconds
    first = outcome.calls["first"].seconds
    projected = outcome.import_seconds + outcome.load_seconds + first + max(0, images - FIRST) / speed
    return Timing(
        images, count, outcome.import_seconds, outcome.load_seconds, first, speed, projected, outcome.peak_bytes
    )
