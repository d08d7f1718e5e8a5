"""A competition's number, or its web address with what that says."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from toolkit.codabench.credentials import normalise_url
from toolkit.core.errors import InputError

PATH = re.compile(r"^(?P<base>.*)/competitions/(?P<number>\d+)/?$")


@dataclass(frozen=True)
class CompetitionAddress:
    """A competition. url: its server, None where only the number is known. secret_key: what a link
    to a competition holds that is not public."""

    number: int
    url: str | None = None
    secret_key: str | None = None


def parse_address(text: str) -> CompetitionAddress:
    """The competition that `text` names: 12, or https://server/competitions/12/?secret_key=KEY.

    Raises InputError when it is neither.
    """
    if text.isdecimal() and int(text) > 0:
        return CompetitionAddress(int(text))
    parts = urlsplit(text if "://" in text else f"https://{text}")
    found = PATH.match(parts.path)
    if not found or not parts.netloc:
        raise InputError(
            f"'{text}' is neither a competition's number nor its web address.",
            "For example: 12, or https://www.codabench.org/competitions/12/.",
        )
    keys = parse_qs(parts.query).get("secret_key", [None])
    server = normalise_url(f"{parts.scheme}://{parts.netloc}{found['base']}")
    return CompetitionAddress(int(found["number"]), server, keys[0])
