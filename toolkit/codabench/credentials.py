"""Which CodaBench, and the token for it: from the environment, or from a file that only this user
can read."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from toolkit.core import records
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


@dataclass(frozen=True)
class _Login:
    """A token, which no representation shows, and whose it is."""

    token: str | None = field(default=None, repr=False)
    username: str | None = None


@dataclass(frozen=True)
class _Logins:
    """The stored file. current: where the last login was. accounts: by address."""

    current: str | None = None
    accounts: dict[str, _Login] = field(default_factory=dict)


def find_account(url: str | None = None) -> Account:
    """The account at `url`; by default at CODABENCH_URL, else where the last login was, else at
    codabench.org.

    CODABENCH_TOKEN takes precedence over the stored token. Raises InputError for an address that is
    none.
    """
    stored = _read()
    url = normalise_url(url or os.environ.get("CODABENCH_URL") or stored.current or DEFAULT_URL)
    if token := os.environ.get("CODABENCH_TOKEN", "").strip():
        return Account(url, token)
    known = stored.accounts.get(url, _Login())
    return Account(url, known.token, known.username)


def require_account(url: str | None = None) -> Account:
    """The same. Raises PlatformError where there is no token."""
    account = find_account(url)
    if not account.token:
        raise PlatformError(
            f"not logged in at {account.url}.", "Run: cbtool login; or set CODABENCH_TOKEN."
        )
    return account


def store(account: Account) -> Path:
    """Stores `account`, and makes it the default one. Returns the file."""
    login = _Login(account.token, account.username)
    return _write(_Logins(account.url, _read().accounts | {account.url: login}))


def forget(account: Account) -> bool:
    """Removes the stored token for `account`'s server, and says whether there was one."""
    stored = _read()
    if account.url not in stored.accounts:
        return False
    others = {url: login for url, login in stored.accounts.items() if url != account.url}
    _write(replace(stored, accounts=others))
    return True


def normalise_url(url: str) -> str:
    """`url` as scheme://host, without /api. Raises InputError when it is no address of a server."""
    address = url.strip() if "://" in url else f"https://{url.strip()}"
    parts = urlsplit(address)
    # An address with a name in it has a password too, which messages would show.
    wrong = (
        parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query
    )
    if wrong or any(map(str.isspace, address)):
        raise InputError(f"'{url}' is not the address of a server.", f"For example: {DEFAULT_URL}.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/api')}"


def _file() -> Path:
    return platformdirs.user_config_path("cbtool") / "codabench.json"


def _read() -> _Logins:
    path = _file()
    if not path.exists():
        return _Logins()
    with suppress(OSError):
        if path.stat().st_mode & 0o077:  # copied by somebody, with wider rights
            path.chmod(OWNER_ONLY)
    return records.read(_Logins, path, "Remove it, and run: cbtool login.")


def _write(logins: _Logins) -> Path:
    path = _file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise write_error(path, error) from error
    with atomic(path) as unfinished:
        unfinished.touch(mode=OWNER_ONLY)  # before there is anything to read in it
        text = json.dumps(records.values(logins), indent=1) + "\n"
        unfinished.write_text(text, encoding="utf-8")
    return path
