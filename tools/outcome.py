"""How a submission at CodaBench stands: its status, scores, tasks and logs, as users see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from toolkit.core.errors import InputError, PlatformError, end_sentence
from tools import contracts, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import logs, schema
    from toolkit.codabench import upload_records as uploads
    from toolkit.export import zip_ledger

# What to do where CodaBench shows no reason.
RUN_HERE = (
    "Run it here: cbtool validate ZIP; or, with the organiser's bundle: "
    "cbtool rehearse ZIP --bundle BUNDLE."
)


def line(row: schema.Submission) -> str:
    """The state of a submission, as one line."""
    task = f" ({row.task})" if row.task else ""
    text = f"submission {row.id}{task}: {row.status}"
    # While it runs, the details are the name of the machine, which tells the user nothing.
    if row.details and not row.details.startswith(("ingestion_hostname", "scoring_hostname")):
        text += f", {row.details}"
    return text


def show(
    client: api.Client,
    row: schema.Submission,
    columns: tuple[schema.LeaderboardColumn, ...],
    as_json: bool,
) -> int:
    """Prints a submission, its tasks where there are several, their scores and, once it has ended,
    the last lines of the logs.

    Returns the exit code: 3 where it or one of its tasks has failed. CodaBench calls a submission
    Finished when all its tasks are done, even if all have failed.
    """
    children = client.get_children(row)
    if as_json:
        output.as_json(values(row, children))
    else:
        _print_scores(row, children, columns)
    if not row.final:
        return 0
    for each in children or [row]:
        _print_logs(client, each)
    failed = [each for each in (row, *children) if each.status == "Failed"]
    return PlatformError.exit_code if failed else 0


def values(row: schema.Submission, children: Sequence[schema.Submission] = ()) -> dict[str, Any]:
    """A submission, ready for JSON."""
    found = dict(vars(row))
    found["children"] = [values(child) for child in children]
    return found


def _print_scores(
    row: schema.Submission,
    children: Sequence[schema.Submission],
    columns: tuple[schema.LeaderboardColumn, ...],
) -> None:
    titles = {column.key: column.title for column in columns}
    for each in children or [row]:
        if each.status != "Failed":  # that is the error, below
            click.echo(line(each))
        for key, score in each.scores.items():
            click.echo(f"{titles.get(key, key)}: {score:.10g}")


def _print_logs(client: api.Client, row: schema.Submission) -> None:
    """Prints the last lines of a submission's logs; of a failed one, those that explain it, and
    the error."""
    failed = row.status == "Failed"
    found: dict[str, str] = {}
    try:
        found = client.get_logs(row.id)
    except PlatformError as error:
        output.hint(f"No logs: {error.sentence}")
    names = [name for name, text in found.items() if text.strip()]
    hint = f"All logs: cbtool logs {row.id}."
    if found and not names:
        hint = f"The server kept no logs of it. {RUN_HERE}"
    elif not found:
        hint = RUN_HERE
    if failed:
        names = logs.find_failure_logs(found)
    for name in names:
        output.log_end(name, found[name], err=True)
    if failed:
        output.error(PlatformError(end_sentence(line(row)), hint))


def note(
    begun: uploads.Upload, columns: tuple[schema.LeaderboardColumn, ...], folder: Path
) -> None:
    """Records the primary score in the ledger of `folder`, if that knows the zip."""
    score = _find_primary_score(begun, columns)
    if score is None:
        return
    contract = contracts.current()
    low, high = contract.score_range
    # A competition may rank by a loss or by percent, which no estimate of accuracy compares with.
    if not low <= score <= high:
        output.hint(
            f"{contract.metric} goes from {low:g} to {high:g}; this score is not recorded in the "
            "submissions ledger. cbtool init describes a competition with another metric."
        )
        return
    noted = zip_ledger.OnlineScore(begun.phase_name, score, begun.url, begun.competition)
    try:
        entry = zip_ledger.note_online(folder, begun.sha256, noted)
    except InputError as error:  # the submission itself is well
        output.hint(
            f"The score is not recorded: {error.sentence} Give the folder of the zip's runs with "
            "--runs."
        )
        return
    output.hint(f"Recorded in the submissions ledger{against_estimate(entry, score)}.")


def against_estimate(entry: zip_ledger.Entry, score: float) -> str:
    """How far `score` is from the estimated score of `entry`; empty where there is none."""
    if entry.estimated_score is None:
        return ""
    difference = score - entry.estimated_score
    return f": {difference:+.4f} from the estimated {entry.estimated_score:.4f}"


def _find_primary_score(
    begun: uploads.Upload, columns: tuple[schema.LeaderboardColumn, ...]
) -> float | None:
    """The score by which the leaderboard ranks; None where it is not known."""
    for column in columns:
        if column.primary:
            return (begun.scores or {}).get(column.key)
    return None
