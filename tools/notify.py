"""--notify: tells somebody who is not looking that a long command has ended."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

import click

from toolkit.core.errors import CbtoolError
from tools import output, signals
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import http

WEB_SECONDS = 10  # for an answer of a web address
COMMAND_SECONDS = 60
REASON_LENGTH = 2000  # characters: Linux takes 128 KiB for a variable, Discord 2000 in all
STATUSES = {0: "done", 1: "failed"}


def notified(event: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the option --notify. event: what ends, "training"."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--notify",
            "target",
            metavar="COMMAND|URL",
            envvar="CBTOOL_NOTIFY",
            help=(
                f"When the {event} ends, run COMMAND, or post JSON to URL. CBTOOL_NOTIFY sets it "
                "for all."
            ),
        )
        @functools.wraps(command)
        def run(*arguments: Any, target: str | None, **options: Any) -> Any:
            if not target:
                return command(*arguments, **options)
            started = time.monotonic()
            try:
                code = command(*arguments, **options)
            except BaseException as error:
                status, reason = _explain(error)
                _send(target, _describe(event, status, reason, started))
                raise
            status = STATUSES.get(code or 0, "failed")
            _send(target, _describe(event, status, "", started))
            return code

        return run

    return decorate


def _explain(error: BaseException) -> tuple[str, str]:
    """The status that an exception ends a command with, and why, for a person."""
    if isinstance(error, CbtoolError):
        return "failed", error.sentence
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted", f"exit code {signals.find_exit_code(error)}"
    if isinstance(error, click.ClickException):
        return "failed", error.format_message()
    return "failed", str(error) or type(error).__name__


def _describe(event: str, status: str, reason: str, started: float) -> dict[str, str]:
    spent = output.duration(time.monotonic() - started)
    # Not the arguments: the address in them may hold a secret, and many may read the text.
    text = f"cbtool {click.get_current_context().info_name}: the {event} is {status} after {spent}"
    # No variable holds a NUL or a lone surrogate, which a file's name in the sentence may have.
    reason = output.plain(reason)[:REASON_LENGTH]
    return {
        "event": event,
        "status": status,
        "reason": reason,
        "text": f"{text}: {reason}" if reason else f"{text}.",
    }


def _send(target: str, message: dict[str, str]) -> None:
    """Sends `message`. The command has ended anyway: an error is a hint, without the address, which
    may hold a secret."""
    is_address = target.lower().startswith(("http://", "https://"))
    reason = _post(target, message) if is_address else _run(target, message)
    if reason:
        output.hint(f"--notify failed: {reason}.")


def _post(url: str, message: dict[str, str]) -> str:
    """The reason why it failed; empty where it did not."""
    # Slack reads "text", Discord "content".
    return http.post(url, {**message, "content": message["text"]}, WEB_SECONDS)


def _run(command: str, message: dict[str, str]) -> str:
    """The same, of the user's own command, by the shell: it gets the message in variables, so that
    no text of it is taken for a command."""
    variables = {f"CBTOOL_{key.upper()}": value for key, value in message.items()}
    try:
        ended = subprocess.run(
            command,
            shell=True,
            env={**os.environ, **variables},
            input=json.dumps(message).encode(),
            stdout=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the command took more than {COMMAND_SECONDS} s"
    except (OSError, ValueError):  # too long, or with a NUL
        return "the command cannot be run"
    return f"the command ended with {ended.returncode}" if ended.returncode else ""
