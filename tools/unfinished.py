"""Uploads that are unfinished, as users see them, and how they are closed."""

from __future__ import annotations

from datetime import datetime, timezone
from shlex import quote
from typing import Any

import click

from toolkit.core.errors import PlatformError
from tools import output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility, upload_records


def describe(begun: upload_records.Upload) -> str:
    """The zip of an upload, where it goes, how far it is, and since when, as one line."""
    started = datetime.fromtimestamp(begun.started, timezone.utc)
    return (
        f"{begun.file} to {begun.phase_name} of competition {begun.competition}, {begun.step}, "
        f"begun on {eligibility.format_time(started)}"
    )


def values(begun: upload_records.Upload) -> dict[str, Any]:
    """The same, ready for JSON. started: in seconds since 1970."""
    return {
        "zip": begun.file,
        "competition": begun.competition,
        "phase": begun.phase_name,
        "step": begun.step,
        "started": begun.started,
    }


def list_others(client: api.Client, begun: upload_records.Upload) -> None:
    """Names the unfinished uploads beside `begun`, and how to choose one."""
    others = [each for each in upload_records.list_unfinished(client) if each.name != begun.name]
    if not others:
        return
    output.hint(f"Continuing {describe(begun)}. Also unfinished:")
    for each in others:
        output.hint(f"  {describe(each)}")
    output.hint("Name one to continue it (--resume ZIP) or to close it (--abandon ZIP).")


def abandon(begun: upload_records.Upload, as_json: bool) -> None:
    """Closes the record of an upload, and says what of it lies on the server."""
    begun = upload_records.abandon(begun)
    if as_json:
        output.as_json(values(begun) | {"status": begun.status})
    else:
        click.echo(f"The upload of {begun.file} to {begun.phase_name} is closed ({begun.step}).")
    if begun.submission is not None:
        output.hint(f"Its submission stays: cbtool cancel {begun.submission} stops it.")
    elif begun.entering:
        output.hint(
            f"{begun.name} may be among your submissions: cbtool status --competition "
            f"{begun.competition}"
        )
    elif begun.key:
        output.hint(f"{begun.name} may lie in your storage: see CodaBench's page Resources.")


def close_absent(begun: upload_records.Upload) -> PlatformError:
    """Closes the record of an upload whose submission CodaBench does not have, and returns the
    error for it."""
    if not upload_records.record_absence(begun):
        return PlatformError(
            f"submission {begun.submission} is not yours, or was deleted on CodaBench.",
            f"If it was deleted, close this upload: cbtool upload --abandon {quote(begun.file)}.",
            404,
        )
    return PlatformError(
        f"submission {begun.submission} was deleted on CodaBench.",
        f"To enter the zip again: cbtool upload {quote(begun.file)} --competition "
        f"{begun.competition}.",
        404,
    )
