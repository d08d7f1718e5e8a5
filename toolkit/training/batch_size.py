"""`train.batch_size = "auto"`: the largest batches that fit into memory, found by trying them.

Each trial is a process of its own, because what runs out of memory may be killed, and on a GPU
memory comes back only when a process ends.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from toolkit.core.config import Config
from toolkit.core.errors import LimitError
from toolkit.core.progress import Progress, silent
from toolkit.data.dataset import Samples
from toolkit.training import child

# The sentence and the hint of an error where nothing is left to halve.
TOO_LARGE = (
    "a training step of one image does not fit into memory.",
    "Use smaller images, --set model.input_size=96, a smaller backbone (cbtool backbones), or a "
    "machine with more memory.",
)


@dataclass(frozen=True)
class TrialRequest:
    """Settings whose batch size is a number, to be tried on images of `shape`, (height, width,
    channels)."""

    settings: Config
    shape: tuple[int, int, int]
    classes: int


# Whether a training step as asked for fits into memory.
Trial = Callable[[TrialRequest], bool]


def settle(
    settings: Config,
    samples: Samples,
    progress: Progress = silent,
    fits: Trial | None = None,
) -> Config:
    """`settings` with a number for "auto": the largest power of two that fits into memory, and with
    accumulated gradients, so that `train.effective_batch` images make an update as before.

    To be called before this process uses a GPU, because the trials use it. fits: `run_trial` by
    default. Settings with a number are returned as they are. Raises LimitError when one image does
    not fit, InputError when `settings` do not fit the samples.
    """
    if settings.train.batch_size != "auto":
        return settings
    height, width, channels = samples.images.shape[1:]
    size = settings.train.effective_batch
    while size >= 1:
        progress(0, 0, f"batches of {size}")
        candidate = _with_batch_size(settings, size)
        request = TrialRequest(candidate, (height, width, channels), len(samples.class_names))
        if (fits or run_trial)(request):
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


def run_trial(request: TrialRequest) -> bool:
    """Whether a process of its own can take a step of each phase.

    Raises InputError where it fails for another reason than memory.
    """
    what = f"a trial of batches of {request.settings.train.batch_size} images"
    return bool(child.ask("toolkit.training.batch_trial", request, what))
