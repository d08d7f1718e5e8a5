"""Locks between processes: who writes into a run folder, a ledger, or sends an upload.

The system drops a lock when its process ends, however it ends: none outlives it.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from toolkit.core.errors import InputError
from toolkit.core.files import write_error

WAIT_SECONDS = 30.0  # for a lock that is held for a moment only


@contextmanager
def hold(path: Path, work: str, hint: str) -> Iterator[None]:
    """Holds the lock at `path`, a file of its own, while the block runs.

    work: what the holder does, for the sentence. Raises InputError, with the holder's process and
    `hint`, where another process has it, or where the file cannot be written.
    """
    holder = _holder_file(path)
    try:
        lock = _acquire(path, 0)
    except Timeout as error:
        number = _read_holder(holder)
        process = f"another process ({number})" if number else "another process"
        raise InputError(f"{process} {work}.", hint) from error
    with lock:
        holder.write_text(str(os.getpid()), encoding="utf-8")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """The same for work of a moment: waits while another process has the lock."""
    try:
        lock = _acquire(path, WAIT_SECONDS)
    except Timeout as error:
        raise InputError(
            f"another process has held {path} for {WAIT_SECONDS:g} seconds.",
            "Try again when it has ended.",
        ) from error
    with lock:
        yield


def find_holder(path: Path) -> int | None:
    """The process that holds the lock at `path`; None where nobody does."""
    holder = _holder_file(path)
    if not holder.exists():  # nobody, or one that was killed long ago and whose file was removed
        return None
    try:
        with FileLock(path, timeout=0):
            return None  # it ended without removing its file
    except Timeout:
        return _read_holder(holder)
    except OSError:  # a folder that this user may only read
        return None


def _acquire(path: Path, seconds: float) -> AbstractContextManager[object]:
    """The lock at `path`, which ends with the block that enters it. Raises Timeout where another
    process has it for `seconds` more, InputError where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(path, timeout=seconds).acquire()
    except Timeout:  # an OSError, too
        raise
    except OSError as error:
        raise write_error(path, error) from error


def _holder_file(path: Path) -> Path:
    """Where the number of the holder's process is: opening a lock file empties it."""
    return path.with_suffix(".pid")


def _read_holder(file: Path) -> int | None:
    with suppress(OSError, ValueError):
        return int(file.read_text(encoding="utf-8"))
    return None
