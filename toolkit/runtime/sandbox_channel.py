"""The two pipes between the toolkit and a submission's process: requests there, replies back.

The submission shares its process with the code that replies, and could reply in its stead. So a
reply is only what the submission says of itself; times and memory are measured on this side.
"""

import json
import re
import secrets
import selectors
import time
from dataclasses import dataclass
from io import RawIOBase
from typing import Any

import numpy as np

from toolkit.core import records
from toolkit.core.processes import POLL_SECONDS, LimitedProcess, ProcessEnd

HEADER_LIMIT = 1_000_000  # bytes of a reply without its array
ARRAY_LIMIT = 500_000_000  # bytes of an array
READ_SIZE = 1 << 20
# Bytes, integers, fractions, complex numbers and texts; no Python objects.
PLAIN_DTYPE = re.compile(r"[<>|=][biufcSU][0-9]{1,9}")


@records.strict
@dataclass(frozen=True)
class Reply:
    """What the process says of a step. token: that of the request. error: None where there was
    none. kind: the name of the type of the result or the error.

    dtype, shape, size: of the array that follows, in bytes; dtype is None without one. peak_bytes:
    of memory. connections, writes, processes: what the submission tried so far.
    """

    token: str
    error: str | None
    kind: str
    dtype: str | None
    shape: tuple[int, ...]
    size: int
    peak_bytes: int
    connections: tuple[str, ...]
    writes: tuple[str, ...]
    processes: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """A reply, with its array and the seconds from the request to its end."""

    reply: Reply
    array: np.ndarray | None
    seconds: float


class ProcessEnded(Exception):
    """The process ended, or was stopped, before it replied."""

    def __init__(self, step: str, end: ProcessEnd):
        super().__init__(step)
        self.step = step
        self.end = end


class ForgedReply(Exception):
    """Something else came than a reply to what was asked."""


class Channel:
    """Asks a process for one step after the other."""

    def __init__(self, process: LimitedProcess, requests: RawIOBase, replies: RawIOBase):
        self.process = process
        self._requests = requests
        self._replies = replies
        self._received = b""

    def ask(self, step: str, **values: Any) -> Answer:
        """Asks for `step` and waits for the reply.

        Raises ProcessEnded when the process ends first or exceeds a limit, ForgedReply when what
        comes is no reply to it.
        """
        # Nobody can reply before this, because the token is drawn here.
        token = secrets.token_hex(16)
        request = {"step": step, "token": token, "largest": ARRAY_LIMIT, **values}
        started = time.monotonic()
        self._send(step, json.dumps(request).encode() + b"\n")
        try:
            reply = records.parse(Reply, self._receive_line(step))
        except ValueError as error:
            raise ForgedReply("it is not a reply") from error
        if reply.token != token:
            raise ForgedReply("it replies to something that was not asked")
        array = self._receive_array(step, reply)
        seconds = time.monotonic() - started
        self.process.note_memory()
        return Answer(reply, array, seconds)

    def finish(self) -> ProcessEnd:
        """Asks for nothing more, and waits until the process has ended or exceeded a limit."""
        self._requests.close()
        return self.process.wait()

    def _send(self, step: str, request: bytes) -> None:
        try:
            self._requests.write(request)
        except BrokenPipeError:
            raise ProcessEnded(step, self.process.wait()) from None

    def _receive_line(self, step: str) -> bytes:
        while b"\n" not in self._received:
            if len(self._received) > HEADER_LIMIT:
                raise ForgedReply("it is too long")
            self._received += self._receive(step)
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _receive_array(self, step: str, reply: Reply) -> np.ndarray | None:
        count = 1
        for side in reply.shape:
            count *= side
        if reply.dtype is None:
            if reply.size:
                raise ForgedReply("it has bytes without an array")
            return None
        if not PLAIN_DTYPE.fullmatch(reply.dtype) or len(reply.shape) > 32:
            raise ForgedReply("its array has no plain type")
        try:
            dtype = np.dtype(reply.dtype)
        except TypeError as error:
            raise ForgedReply("its array has no plain type") from error
        # Checked before anything is read or made: the numbers may be anything.
        if min(reply.shape, default=0) < 0 or not 0 < dtype.itemsize <= ARRAY_LIMIT:
            raise ForgedReply("its array has no size")
        if reply.size != count * dtype.itemsize or reply.size > ARRAY_LIMIT:
            raise ForgedReply("its array has another size than it says")
        content = bytearray(self._received)
        while len(content) < reply.size:
            content += self._receive(step)
        self._received = bytes(content[reply.size :])
        try:
            return np.frombuffer(content, dtype, count).reshape(reply.shape)
        except ValueError as error:
            raise ForgedReply("its array has no such shape") from error

    def _receive(self, step: str) -> bytes:
        """What came next. Raises ProcessEnded when nothing will."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._replies, selectors.EVENT_READ)
            while True:
                ready = selector.select(POLL_SECONDS)
                end = self.process.poll()
                if end is not None and (end.exceeded or not ready):
                    raise ProcessEnded(step, end)
                if ready:
                    received = self._replies.read(READ_SIZE)
                    if not received:  # closed, by the process' end or by the submission
                        raise ProcessEnded(step, self.process.wait())
                    return received
