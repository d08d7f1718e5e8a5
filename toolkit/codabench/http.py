"""HTTP with CodaBench and its storage: sessions, retries, streams, and refusals as sentences.

GETs and the signed upload are retried when the network or the server fails for a moment. Nothing
else is: a POST without an answer may have been processed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import Retry

from toolkit.codabench.credentials import Account
from toolkit.core import http
from toolkit.core.errors import PlatformError, end_sentence
from toolkit.core.files import atomic
from toolkit.core.http import TRANSIENT_STATUSES, reason
from toolkit.core.progress import Progress, silent

TIMEOUT = (10.0, 60.0)  # seconds to connect, and without a byte
# The same for an upload: sending a block, and waiting for the storage to have stored the last.
UPLOAD_TIMEOUT = (60.0, 300.0)
RETRIES = 3
BACKOFF_SECONDS = 0.3  # seconds; doubles each time
BLOCK_BYTES = 1 << 16  # bytes read at a time
LOG_BYTES = 1_000_000  # of a log, its end
HIDDEN = "[hidden]"
SECRET_LENGTH = 4  # characters
REFUSAL_LENGTH = 300  # characters of what a server says


class _Secret:
    """A text that no answer may repeat. It is an object, so that it does not stand in the variables
    that some tools show with a traceback."""

    def __init__(self, text: str | None = None):
        self._text = text

    def hide(self, values: Any) -> Any:
        """`values`, text or what JSON is made of, with HIDDEN in place of the secret: a server may
        repeat what it was sent, and answers are printed, logged and stored."""
        # A shorter one would be found within other words.
        if not self._text or len(self._text) < SECRET_LENGTH:
            return values
        if isinstance(values, str):
            return values.replace(self._text, HIDDEN)
        if isinstance(values, list):
            return [self.hide(value) for value in values]
        if isinstance(values, dict):
            return {self.hide(key): self.hide(value) for key, value in values.items()}
        return values


class _Token(_Secret, AuthBase):
    """Adds the token, or nothing: with an `auth` given, requests does not look into ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._text:
            request.headers["Authorization"] = f"Token {self._text}"
        return request


class _Body:
    """A file that is sent from disk block by block, reports its progress, and can be rewound to be
    sent again."""

    def __init__(self, file: IO[bytes], size: int, progress: Progress):
        self._file, self._size, self._progress = file, size, progress

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(BLOCK_BYTES), b"")

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._progress(self._file.tell(), self._size, "")
        return block

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)


class Transport:
    """Requests to one server for one user.

    Every method raises PlatformError when its request is refused, fails or is not answered.

    timeout: seconds to connect, and without a byte.
    """

    def __init__(self, account: Account, timeout: tuple[float, float] = TIMEOUT):
        self.url = account.url
        self.clock_offset = timedelta(0)  # by how much the server's clock is ahead of ours
        self._auth = _Token(account.token)
        self._timeout = timeout

    def get(self, path: str, query: dict[str, Any] | None = None) -> Any:
        """The JSON at `path` below /api/."""
        # A GET changes nothing, so it is sent again when the server fails for a moment.
        with _session("GET") as session:
            return self._json(session, "GET", path, params=query)

    def pages(self, path: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The items of a list, whether the server sends it whole or in pages."""
        found = self.get(path, query)
        page = 1
        while isinstance(found, dict):
            yield from found.get("results") or ()
            if not found.get("next"):
                return
            page += 1  # not the address itself: behind a proxy it may be one of another scheme
            found = self.get(path, query | {"page": page})
        yield from found

    def send(self, method: str, path: str, values: dict[str, Any] | None = None) -> Any:
        """One request, never repeated, on a new connection: a kept one may be closed by the
        server."""
        with _session() as session:
            return self._json(session, method, path, json=values)

    def put(self, url: str, path: Path, progress: Progress = silent) -> None:
        """Uploads the file at `path` to a signed address, without the token, which storages
        refuse."""
        # The content type is part of the signature; Azure's storage asks for the kind of blob.
        headers = {"Content-Type": "application/zip", "x-ms-blob-type": "BlockBlob"}
        # Sent again after a failure: the same bytes at the same address replace what was there.
        with path.open("rb") as file, _session("PUT") as session, _connection_errors(url):
            body = _Body(file, path.stat().st_size, progress)
            prepared = session.prepare_request(
                requests.Request("PUT", url, headers=headers, data=body, auth=_Token())
            )
            prepared.url = url  # verbatim: it is signed
            settings = session.merge_environment_settings(url, {}, None, None, None)
            response = session.send(
                prepared, timeout=UPLOAD_TIMEOUT, allow_redirects=False, **settings
            )
        if response.status_code // 100 != 2:
            raise refusal_error(response, "the upload", self._auth)

    def text(self, url: str) -> str:
        """The end of the text at a signed address; "" where nothing was written yet."""
        with _session("GET") as session, _connection_errors(url):
            response = session.get(url, timeout=self._timeout, auth=_Token())
        if response.status_code == 404:
            return ""
        if not response.ok:
            raise refusal_error(response, "a log", self._auth)
        return str(self._auth.hide(response.content[-LOG_BYTES:].decode("utf-8", "replace")))

    def download(self, url: str, path: Path, progress: Progress = silent) -> None:
        """Downloads a signed address, or one below the server's own, to `path`, whole or not at
        all."""
        # The token goes to the server that gave it, never to a storage behind a signed address.
        auth = self._auth if url.startswith(f"{self.url}/") else _Token()
        with atomic(path) as unfinished, _connection_errors(url):
            try:
                http.download(
                    url,
                    unfinished,
                    attempts=1 + RETRIES,
                    pause=BACKOFF_SECONDS,
                    timeout=self._timeout,
                    name=path.name,
                    auth=auth,
                    progress=progress,
                )
            except requests.HTTPError as error:
                assert error.response is not None  # `download` promises it
                raise refusal_error(
                    error.response, f"the download of {path.name}", self._auth
                ) from error

    def _json(self, session: requests.Session, method: str, path: str, **content: Any) -> Any:
        url = f"{self.url}/api/{path}"
        secret: _Secret = self._auth
        if (password := (content.get("json") or {}).get("password")) is not None:
            secret = _Secret(password)  # its answer is a token
        with _connection_errors(url):
            # A POST that is sent elsewhere would become a GET there, and look as if it had worked.
            response = session.request(
                method,
                url,
                auth=self._auth,
                timeout=self._timeout,
                allow_redirects=method == "GET",
                **content,
            )
        with suppress(KeyError, TypeError, ValueError):
            self.clock_offset = parsedate_to_datetime(response.headers["Date"]) - datetime.now(
                timezone.utc
            )
        if response.is_redirect:
            place = urlsplit(response.headers["Location"])
            moved = f"{place.scheme}://{place.netloc}" if place.netloc else self.url
            moved = secret.hide(moved)
            raise PlatformError(
                f"{self.url} redirects {method} {path}.",
                f"Log in at the new address: cbtool login --url {moved}.",
                response.status_code,
            )
        if not response.ok:
            raise refusal_error(response, path, secret)
        with answer_errors(path):
            return secret.hide(response.json()) if response.content else {}


@contextmanager
def answer_errors(what: str) -> Iterator[None]:
    """Raises PlatformError about `what` where the block cannot parse an answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlatformError(
            f"the server's answer to {what} cannot be understood.",
            "Check the server's address, or try again later.",
            transient=True,
        ) from error


def refusal_error(
    response: requests.Response, what: str, secret: _Secret | None = None
) -> PlatformError:
    """The error for an answer with an error status. secret: what is not repeated from it."""
    said, status = _refusal_text(response, secret or _Secret()), response.status_code
    place = urlsplit(response.url).netloc
    # 403 is the answer to a bad token as well as to what a user may not do: its words tell which.
    if status in (401, 403) and any(
        word in said.lower() for word in ("invalid token", "credentials were not provided")
    ):
        return PlatformError(
            f"{place} does not accept this login: {said}", "Log in again: cbtool login.", status
        )
    if status == 404:
        return PlatformError(
            f"{place} has nothing at {what}: {said}",
            "Check the number: cbtool status lists your submissions.",
            status,
        )
    # `transient` is what tells an upload that its entry may have been processed all the same.
    if status >= 500:
        return PlatformError(
            f"{place} failed at {what}: {said}", "Try again later.", status, transient=True
        )
    if status == 429:
        return PlatformError(
            f"{place} received too many requests: {said}", "Wait a minute.", status, transient=True
        )
    return PlatformError(
        f"{place} refuses {what}: {said}", "Follow its message, or ask the organiser.", status
    )


def _refusal_text(response: requests.Response, secret: _Secret) -> str:
    """The text of a refusal, in any of the shapes that CodaBench and its storage use, as one
    line."""
    # An older server fails with a page of HTML, which says nothing to a user.
    kind = response.headers.get("Content-Type", "")
    text = ""
    if "json" in kind:
        with suppress(ValueError):
            text = _flatten(response.json())
    elif "xml" in kind:  # only these two: others repeat what was sent, a token among it
        text = ": ".join(re.findall("<(?:Code|Message)>(.*?)</", response.text, re.DOTALL))
    text = " ".join(text.split()) or f"{response.status_code} {response.reason}"
    # Before it is cut, which could leave a half of one.
    return end_sentence(secret.hide(text)[:REFUSAL_LENGTH])


def _flatten(values: Any) -> str:
    """A JSON refusal's text: under "detail", "error", "error_msg" or "message"; a list; or by
    field."""
    if isinstance(values, list):
        return " ".join(map(_flatten, values))
    if not isinstance(values, dict):
        return str(values)
    for key in ("detail", "error", "error_msg", "message", "non_field_errors"):
        if key in values:
            return _flatten(values[key])
    return " ".join(f"{key}: {_flatten(value)}" for key, value in values.items())


@contextmanager
def _connection_errors(url: str) -> Iterator[None]:
    try:
        yield
    except requests.RequestException as error:
        raise PlatformError(
            f"cannot reach {urlsplit(url).netloc}: {reason(error)}.",
            "Check the network and the address, and try again.",
            transient=True,
        ) from error


@contextmanager
def _session(*retried: str) -> Iterator[requests.Session]:
    """A session whose requests are retried where their method is among `retried`."""
    # The statuses are those of a server that is restarting or overloaded. The last answer is handed
    # back, not raised, because its text says more than a count of tries.
    retries: Retry | int = 0
    if retried:
        retries = Retry(
            RETRIES,
            backoff_factor=BACKOFF_SECONDS,
            status_forcelist=TRANSIENT_STATUSES,
            allowed_methods=retried,
            raise_on_status=False,
        )
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        yield session
