"""Requests to end, from the terminal or from the system, as one kind of interruption."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What `kill` and batch systems send, and a terminal that is closed; Ctrl-C is Python's own matter.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 0.1  # after which a dropped interruption is sent again


class EndRequest(KeyboardInterrupt):
    """A signal that asks the process to end: whatever cleans up after Ctrl-C does so here, too."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP raise EndRequest in this block, unless the caller ignores them, as nohup
    does. An interruption that Python drops comes again."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change how signals are handled
        return
    before: dict[signal.Signals, Any] = {}
    for number in SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            before[number] = signal.signal(number, _request_end)
    show = sys.unraisablehook

    def show_or_send_again(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            _send_again(dropped.exc_value)
        else:
            show(dropped)

    sys.unraisablehook = show_or_send_again
    try:
        yield
    finally:
        sys.unraisablehook = show
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


def _send_again(dropped: KeyboardInterrupt) -> None:
    """Sends an interruption again that was raised where no exception can be: while an object is
    destroyed, or in a callback of the garbage collector, as JAX has one."""
    number = find_exit_code(dropped) - 128
    timer = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def _request_end(number: int, frame: FrameType | None) -> None:
    raise EndRequest(number)
