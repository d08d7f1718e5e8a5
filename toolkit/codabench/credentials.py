"""Which CodaBench, and the token for it: from the environment, or from a file that only this user
can read."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from toolkit.core.errors import InputError, PlatformError
from toolkit.core.files import atomic, write_error

DEFAULT_URL = "https://www.codabench.org"
OWNER_ONLY = 0o600


@dataclass(frozen=True)
class Account:
    """A server and this user's token for it, which no representation shows. username: as far as it
    is known."""

    url: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None


def find_account(url: str | None = None) -> Account:
    """The account at `url`; by default at CODABENCH_URL, else where the last login was, else at
    codabench.org.

    CODABENCH_TOKEN goes before the stored token. Raises InputError for an address that is none.
    """
    stored = _read()
    url = normalise_url(url or os.environ.get("CODABENCH_URL") or stored["current"] or DEFAULT_URL)
    known = stored["accounts"].get(url, {})
    if token := os.environ.get("CODABENCH_TOKEN", "").strip():
        return Account(url, token)
    return Account(url, known.get("token"), known.get("username"))


def require_account(url: str | None = None) -> Account:
    """The same. Raises PlatformError where there is no token."""
    account = find_account(url)
    if not account.token:
        raise PlatformError(
            f"not logged in at {account.url}.", "Run: cbtool login; or set CODABENCH_TOKEN."
        )
    return account


def store(account: Account) -> Path:
    """Keeps `account`, and makes it the one that is used by default. Returns the file."""
    stored = _read()
    stored["current"] = account.url
    stored["accounts"][account.url] = {"token": account.token, "username": account.username}
    return _write(stored)


def forget(account: Account) -> bool:
    """Forgets the stored token for `account`'s server, and says whether there was one."""
    stored = _read()
    found = stored["accounts"].pop(account.url, None)
    if found:
        _write(stored)
    return found is not None


def normalise_url(url: str) -> str:
    """`url` as scheme://host, without /api. Raises InputError when it is no address of a server."""
    address = url.strip() if "://" in url else f"https://{url.strip()}"
    parts = urlsplit(address)
    wrong = (
        parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query
    )
    if wrong or any(map(str.isspace, address)):
        raise InputError(f"'{url}' is not the address of a server.", f"For example {DEFAULT_URL}.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/api')}"


def _file() -> Path:
    return platformdirs.user_config_path("cbtool") / "codabench.json"


def _read() -> dict:
    path = _file()
    try:
        with suppress(OSError):
            if path.stat().st_mode & 0o077:  # somebody has copied it about
                path.chmod(OWNER_ONLY)
        found = json.loads(path.read_text(encoding="utf-8"))
        return {"current": found["current"], "accounts": dict(found["accounts"])}
    except FileNotFoundError:
        return {"current": None, "accounts": {}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        # The error's text may hold what was read.
        raise InputError(f"{path} cannot be read.", "Remove it, and run: cbtool login.") from error


def _write(values: dict) -> Path:
    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise write_error(path, error) from error
    with atomic(path) as unfinished:
        unfinished.touch(mode=OWNER_ONLY)  # before there is anything to read in it
        unfinished.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    return path
