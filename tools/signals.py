"""Requests to end, from the terminal or from the system, as one kind of interruption."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What `kill` and batch systems send, and a terminal that is closed; Ctrl-C is Python's own matter.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class EndRequest(KeyboardInterrupt):
    """A signal that asks the process to end: whatever cleans up after Ctrl-C does so here, too."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP raise EndRequest in this block, unless the caller ignores them, as nohup
    does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change how signals are handled
        return
    before: dict[signal.Signals, Any] = {}
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, _request_end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def find_exit_code(error: BaseException | None) -> int:
    """The exit code after the interruption `error`, or after the one that it was made of: 128 and
    the signal, which is SIGINT for Ctrl-C."""
    while error is not None:
        if isinstance(error, EndRequest):
            return 128 + error.number
        error = error.__cause__ or error.__context__
    return 128 + signal.SIGINT


def _request_end(number: int, frame: FrameType | None) -> None:
    raise EndRequest(number)
