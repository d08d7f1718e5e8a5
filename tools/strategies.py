"""`train --strategy`: on which devices a training runs, of one process or of several."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from toolkit.core.errors import CbtoolError, InputError
from tools import live, output, signals
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.models import devices as keras_devices

NAMES = ("one-device", "mirrored", "multiworker")


@contextmanager
def distribute(strategy: str, chosen: config.Config, folder: Path) -> Iterator[Path]:
    """What is built and trained in this block runs as `strategy`, one of NAMES, says; yields
    the folder in which this process trains: `folder`, or where another one trains in that, a new
    one that nobody needs. Raises InputError where this machine, the backend or
    `chosen` does not allow it."""
    if strategy == NAMES[0]:
        yield folder
        return
    # On JAX, Keras adds them up on all.
    on_tensorflow = os.environ["KERAS_BACKEND"] == "tensorflow"
    if on_tensorflow and any(phase.accumulate > 1 for phase in chosen.train.phases):
        raise InputError(
            f"--strategy {strategy} and accumulate do not go together: Keras adds up gradients on "
            "one device only.",
            "Several devices hold larger batches: raise train.batch_size instead.",
        )
    if chosen.train.batch_size == "auto":
        raise InputError(
            f"--strategy {strategy} and train.batch_size=auto do not go together: the trials run "
            "on one device.",
            "Give a number: --set train.batch_size=64.",
        )
    if strategy == "multiworker" and not on_tensorflow:
        output.hint("Waits for the other processes of this training, 5 minutes at most.")
    with keras_devices.distribute(strategy) as devices:
        size = chosen.train.images_per_step
        if not on_tensorflow and size % devices.count:
            even = -(-size // devices.count) * devices.count
            raise InputError(
                f"{devices.count} devices cannot share batches of {size} evenly.",
                f"Use another size: --set train.batch_size={even}.",
            )
        if devices.process:
            live.be_quiet()
            with _leave_at_once(), tempfile.TemporaryDirectory(prefix="cbtool-") as place:
                yield Path(place) / folder.name
            return
        processes = f" of {devices.processes} processes" if devices.processes > 1 else ""
        output.hint(
            f"{devices.count} devices{processes}: each batch of {size} is split, "
            f"{-(-size // devices.count)} images at most for a device; the learning rate is that "
            "of the whole batch."
        )
        with _leave_at_once() if devices.processes > 1 else nullcontext():
            yield folder


@contextmanager
def _leave_at_once() -> Iterator[None]:
    """Where this block raises, this process ends without the others. At its end JAX waits for all,
    and aborts after minutes where one is gone."""
    try:
        yield
    except BaseException as error:
        code = 1
        if isinstance(error, CbtoolError):
            code = error.exit_code
        elif isinstance(error, KeyboardInterrupt):
            code = signals.find_exit_code(error)
        atexit.register(_exit, code)
        raise


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
