"""`train --strategy`: on which devices a training runs, of one process or of several."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolkit.core.errors import CbtoolError, InputError, LimitError
from tools import live, output, signals
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.models import devices as keras_devices

NAMES = ("one-device", "mirrored", "multiworker")


@contextmanager
def distribute(
    strategy: str, chosen: config.Config, folder: Path, description: str
) -> Iterator[Path]:
    """What is built and trained in this block runs as `strategy`, one of NAMES, says.

    Yields the folder in which this process trains: `folder`, or where another one trains in that, a
    new one that nobody needs. description: of the data and the state; the same in all processes.
    Raises InputError where this machine, the backend or `chosen` does not allow it, and WorkerError
    where another process ends before its time.
    """
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
    with keras_devices.distribute(strategy) as devices, _leave_at_once(devices):
        # Other settings are another network: before anything is built that all have to share.
        key = zlib.crc32(f"{chosen} {description}".encode())
        keras_devices.require_same(key, "the same settings, images and state")
        size = chosen.train.images_per_step
        if not on_tensorflow and size % devices.count:
            even = -(-size // devices.count) * devices.count
            raise InputError(
                f"{devices.count} devices cannot share batches of {size} evenly.",
                f"Use another size: --set train.batch_size={even}.",
            )
        if devices.process:
            live.be_quiet()
            with tempfile.TemporaryDirectory(prefix="cbtool-") as place:
                yield Path(place) / folder.name
            return
        processes = f" of {devices.processes} processes" if devices.processes > 1 else ""
        output.hint(
            f"{devices.count} devices{processes}: each batch of {size} is split, "
            f"{-(-size // devices.count)} images at most for a device; the learning rate is that "
            "of the whole batch."
        )
        yield folder


@contextmanager
def _leave_at_once(devices: keras_devices.Devices) -> Iterator[None]:
    """Where this block raises, this process ends without the others. At its end JAX waits for all,
    and aborts after minutes where one is gone."""
    try:
        yield
    except BaseException as error:
        if devices.processes == 1:
            raise
        loss = keras_devices.explain_loss(error)
        atexit.register(_exit, _find_exit_code(loss or error))
        if loss:
            raise loss from error
        raise


def _find_exit_code(error: BaseException) -> int:
    """That of the command line for `error`."""
    if isinstance(error, CbtoolError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return signals.find_exit_code(error)
    codes = {OSError: 2, MemoryError: LimitError.exit_code}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), 1)


def _exit(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
