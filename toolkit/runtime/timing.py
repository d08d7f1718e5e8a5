"""How fast a submission zip is, and how much memory it takes, in a fresh process."""

import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError
from toolkit.export.manifest import NetworkEntry, read_zip_manifest
from toolkit.runtime import checks, sandbox
from toolkit.runtime.isolation import Isolation

FIRST_IMAGES = 64  # images in the first call, one slice, which also builds the graph
MEASURED_IMAGES = 512  # images in the measured call, at most
IMAGES_LIMIT = 200_000_000  # bytes of them
# The fastest of seven products of 2048 × 2048 matrices, in GFLOP/s of float32. The one before them
# does not count: it also starts threads and takes memory.
CEILING_CODE = """
import time, numpy as np
try:
    import tensorflow as tf
    a = tf.random.normal([2048, 2048])
    product = lambda: tf.matmul(a, a).numpy()
except ImportError:
    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    product = lambda: a @ a
times = []
for _ in range(8):
    started = time.perf_counter()
    product()
    times.append(time.perf_counter() - started)
gflops = 2 * 2048**3 / min(times[1:]) / 1e9
"""


@dataclass(frozen=True)
class Timing:
    """Seconds, images/s and bytes, on this machine.

    images: the number the projection is for. measured_images: in the one call behind
    images_per_second. projected_seconds: import, load, the first call, and the rest at that speed.
    peak_bytes: of the process, with the measured images in memory. views: that each image is looked
    at in. gflop_per_image: of all networks and views; ceiling_gflops: what this machine's float32
    matrix product reaches a second. zip_time_limit: seconds that predict itself keeps to,
    with fewer views. gflop_per_image and zip_time_limit are 0 for zips that cbtool did not build.
    """

    images: int
    measured_images: int
    import_seconds: float
    load_seconds: float
    first_call_seconds: float
    images_per_second: float
    projected_seconds: float
    peak_bytes: int
    views: int
    gflop_per_image: float
    ceiling_gflops: float
    zip_time_limit: float

    @property
    def ceiling_share(self) -> float:
        """Arithmetic a second over the ceiling; beyond 1 where products run in bfloat16. 0 where it
        is not known."""
        return self.gflop_per_image * self.images_per_second / self.ceiling_gflops

    def shortest_seconds(self, limit: float) -> float:
        """The shortest time that predict needs where the evaluator stops it after `limit` seconds.

        That is the projection with one view if the zip's own limit makes predict use fewer views
        in time, else the projection with all views.
        """
        startup = self.import_seconds + self.load_seconds
        views = 1
        if 0 < self.zip_time_limit <= limit:
            views = self.views
        return startup + (self.projected_seconds - startup) / views


def measure(
    path: Path,
    images: int,
    python: str = sys.executable,
    time_limit: float | None = None,
    isolation: Isolation | None = None,
    contract: Contract = AN2DL2024,
) -> Timing:
    """Times the zip at `path`, projected to `images` images. time_limit: seconds, the contract's by
    default. Raises as `sandbox.run`, SubmissionError if it fails."""
    image_shape = contract.image_shape
    networks: tuple[NetworkEntry, ...] = ()
    zip_time_limit = 0.0
    manifest = read_zip_manifest(path)
    if manifest is not None:  # else cbtool did not build the zip
        image_shape = (*manifest.image_shape[:2], contract.channels)
        networks = manifest.networks
        zip_time_limit = manifest.time_limit
    fitting = max(1, IMAGES_LIMIT // math.prod(image_shape))
    count, first_count = min(images, MEASURED_IMAGES, fitting), min(FIRST_IMAGES, fitting)
    sample = checks.draw_images(max(count, first_count), image_shape)
    outcome = sandbox.run(
        path,
        {"first": sample[:first_count], "measured": sample[:count]},
        python,
        time_limit or contract.time_limit,
        contract,
        isolation,
    )
    # Raises where a call gave no labels: how long a failure took is not what is asked.
    for name in ("first", "measured"):
        outcome.labels(name)
    # The first call builds the graph, which the projection counts once; the speed is the second's.
    speed = count / outcome.calls["measured"].seconds
    first = outcome.calls["first"].seconds
    projected = (
        outcome.import_seconds + outcome.load_seconds + first + max(0, images - first_count) / speed
    )
    return Timing(
        images,
        count,
        outcome.import_seconds,
        outcome.load_seconds,
        first,
        speed,
        projected,
        outcome.peak_bytes,
        max((len(network.views) for network in networks), default=1),
        sum(network.gflop * len(network.views) for network in networks),
        measure_ceiling(python),
        zip_time_limit,
    )


def measure_ceiling(python: str = sys.executable) -> float:
    """GFLOP/s that float32 matrix products reach on all cores, in TensorFlow or else numpy of the
    interpreter `python`."""
    if python == sys.executable and "tensorflow" in sys.modules:
        # A process of its own would only spend seconds on importing TensorFlow again.
        names: dict[str, float] = {}
        exec(CEILING_CODE, names)
        return names["gflops"]
    code = f"{CEILING_CODE}print(gflops)"
    result = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if result.returncode != 0:
        raise InputError(
            f"{python} cannot multiply matrices: it has no numpy.",
            "Give an interpreter with numpy.",
        )
    return float(result.stdout)
