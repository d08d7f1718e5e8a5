"""HTTP without regard to the server: a GET that resumes and retries, and why a request failed."""

import re
import time
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase

from toolkit.core.progress import Progress, silent

BLOCK_BYTES = 1 << 14  # bytes read at a time; what a cut connection leaves of a block is lost
ERROR_NUMBER = re.compile(r"\[Errno -?\d+\] ")  # the words after it say the same
TRANSIENT_STATUSES = (429, 500, 502, 503, 504)  # the same request may succeed a little later


def download(
    url: str,
    part: Path,
    *,
    attempts: int,
    pause: float,
    timeout: float | tuple[float, float],
    name: str = "",
    auth: AuthBase | None = None,
    progress: Progress = silent,
) -> None:
    """Completes the file `part` with the bytes it lacks of the body at `url`.

    A broken connection and a transient status are retried, `attempts` requests in all, after
    `pause` seconds the first time and twice as long each next time. timeout: seconds without a
    byte, or the pair to connect and without a byte. name: the note that `progress` gets.

    Raises requests.RequestException when the attempts are used up, and its subclass
    requests.HTTPError, whose `response` is read, for a status that is an error. `part` keeps what
    arrived, and the next call continues there.
    """
    for attempt in range(1, attempts + 1):
        try:
            _append_rest(url, part, timeout, name, auth, progress)
            return
        except requests.RequestException as error:
            if attempt == attempts or not _is_transient(error):
                raise
        time.sleep(pause * 2 ** (attempt - 1))


def post(url: str, values: Any, seconds: float) -> str:
    """Posts `values` as JSON to `url`. Returns why that failed, without the address; empty where it
    did not. seconds: to connect, and without a byte."""
    try:
        answer = requests.post(url, json=values, timeout=seconds, allow_redirects=False)
    except (requests.RequestException, ValueError) as error:
        return reason(error).replace(url, "the address")
    # A redirection is not followed, so what was posted has not arrived.
    arrived = answer.ok and not answer.is_redirect
    return "" if arrived else f"the address answered with {answer.status_code}"


def reason(error: Exception) -> str:
    """The innermost cause of a failed request, without its address, which may be signed."""
    while causes := [each for each in error.args if isinstance(each, Exception)]:
        error = causes[0]
    cause = getattr(error, "reason", None) or error
    text = str(cause)
    if isinstance(cause, OSError) and cause.args:
        text = str(cause.args[-1])
    text = ERROR_NUMBER.sub("", text.split("): ")[-1]).rstrip(".")
    while text.endswith(")") and text.count(")") > text.count("("):  # what it closes was cut off
        text = text[:-1].rstrip(".")
    return text


def _append_rest(
    url: str,
    part: Path,
    timeout: float | tuple[float, float],
    name: str,
    auth: AuthBase | None,
    progress: Progress,
) -> None:
    """One request for the bytes that `part` lacks."""
    size = part.stat().st_size if part.exists() else 0
    # The offsets count bytes of the file, so the transfer must not be compressed.
    headers = {"Accept-Encoding": "identity"}
    if size:
        headers["Range"] = f"bytes={size}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeout, auth=auth) as response:
        if size and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing lies beyond `size`: the file is whole
        if not response.ok:
            _ = response.content  # read it now: the connection closes when this block ends
            response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            size = 0  # the server ignores ranges and starts again
        total = size + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if size else "wb") as file:
            for block in response.iter_content(BLOCK_BYTES):
                file.write(block)
                progress(file.tell(), total, name)
            arrived = file.tell()
    if arrived < total:
        raise requests.ConnectionError(f"{arrived} of {total} bytes came")


def _is_transient(error: requests.RequestException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code in TRANSIENT_STATUSES
    return True
