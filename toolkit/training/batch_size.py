"""`train.batch_size = "auto"`: the largest batches that fit into memory, found by trying them.

Each trial is a process of its own, because what runs out of memory may be killed, and on a GPU
memory comes back only when a process ends.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from toolkit.core import config, documents, processes
from toolkit.core.config import Config
from toolkit.core.damage import abridge
from toolkit.core.errors import InputError, LimitError
from toolkit.core.files import write_text
from toolkit.core.processes import Limits
from toolkit.core.progress import Progress, silent
from toolkit.data.dataset import Samples

SECONDS = 1800.0  # of a trial; compiling a step of ConvNeXt-XLarge took 157 at most
# What TensorFlow, XLA, C++ and Python print where memory runs out.
MEMORY_WORDS = ("RESOURCE_EXHAUSTED", "bad_alloc", "MemoryError")
OUTPUT = 10_000_000  # bytes that TensorFlow may print meanwhile
# At batch 1 nothing is left to halve.
TOO_LARGE = (
    "a training step of one image does not fit into memory.",
    "Use smaller images, --set model.input_size=96, a smaller backbone (cbtool backbones), or a "
    "machine with more memory.",
)

# Whether a training step by these settings, whose batch size is a number, fits into memory.
Trial = Callable[[Config], bool]


def settle(
    settings: Config,
    samples: Samples,
    progress: Progress = silent,
    fits: Trial | None = None,
) -> Config:
    """`settings` with a number for "auto": the largest power of two that fits into memory, and with
    accumulated gradients, so that `train.effective_batch` images make an update as before.

    To be called before this process uses a GPU, because the trials use it. fits: by default a step
    of each phase in a process of its own. Settings with a number are returned as they are. Raises
    LimitError when one image does not fit, InputError when `settings` do not fit the samples.
    """
    if settings.train.batch_size != "auto":
        return settings

    def try_step(candidate: Config) -> bool:
        return run_trial(candidate, samples.images.shape[1:], len(samples.class_names))

    size = settings.train.effective_batch
    while size >= 1:
        progress(0, 0, f"batches of {size}")
        candidate = _with_batch_size(settings, size)
        if (fits or try_step)(candidate):
            return candidate
        size //= 2
    raise LimitError(*TOO_LARGE)


def _with_batch_size(settings: Config, size: int) -> Config:
    """`settings` with batches of `size` images, and as many images for an update of the weights."""
    times = settings.train.effective_batch // size
    phases = tuple(
        replace(phase, accumulate=phase.accumulate * times) for phase in settings.train.phases
    )
    return replace(settings, train=replace(settings.train, batch_size=size, phases=phases))


def run_trial(settings: Config, shape: tuple[int, ...], classes: int) -> bool:
    """Whether a process of its own can take the training steps of `settings` on images of `shape`.

    Raises InputError where it fails for another reason than memory.
    """
    with tempfile.TemporaryDirectory(prefix="cbtool-") as name:
        folder = Path(name)
        found, errors = folder / "found", folder / "errors"
        config.write(settings, folder / "config.toml")
        write_text(folder / "data.json", json.dumps({"shape": shape, "classes": classes}))
        end = processes.run_limited(
            [sys.executable, "-m", "toolkit.training.batch_trial", folder],
            found,
            errors,
            Limits(SECONDS, OUTPUT, _measure_memory()),
        )
        if end.exceeded == "memory":
            return False
        if end.code == 0:
            answer = documents.parse_json(found.read_bytes())
            if answer["error"]:
                raise InputError(*answer["error"])
            return bool(answer["fits"])
        printed = errors.read_text(errors="replace")
    # A library whose allocation fails can crash instead of raising an error.
    if any(words in printed for words in MEMORY_WORDS):
        return False
    *_, reason = ["it printed nothing", *printed.strip().splitlines()]
    raise InputError(
        f"a trial of batches of {settings.train.batch_size} images failed: {abridge(reason)}.",
        "Give a number instead: --set train.batch_size=8.",
    )


def _measure_memory() -> int:
    """The bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
