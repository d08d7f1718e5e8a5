"""`cbtool doctor`: what this machine has for cbtool, and what to mend."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.core.errors import CbtoolError, PlatformError
from tools import live, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import credentials
    from toolkit.runtime import machine
    from toolkit.runtime.checks import check as runtime_checks

TIMEOUT = (5.0, 10.0)  # seconds, to connect and for an answer


@click.command()
@click.option("--offline", is_flag=True, help="Do not ask CodaBench.")
@options.json
@options.quiet
def doctor(offline: bool, as_json: bool) -> int:
    """Check this machine, and say what to mend.

    Python, packages and their clashes, graphics card, memory, disk, weights, evaluators'
    environments, isolation, CodaBench. Changes nothing. Exits with 1 when a check fails; a warning
    names what works only in part. Add what --json prints to a report of a mistake: it holds no
    token and no name.
    """
    with live.stages() as stages, stages.stage("doctor"):
        found = [
            machine.check_python(),
            machine.check_packages(),
            machine.check_clashes(),
            machine.check_tensorflow(),
            machine.check_memory(),
            machine.check_disk(Path.cwd()),
            machine.check_weights(),
            machine.check_evaluators(),
            machine.check_isolation(),
        ]
        if offline:
            found.append(runtime_checks.skipped("codabench", "not asked"))
        else:
            found.append(check_codabench())
    failed = any(check.status == "failed" for check in found)
    if as_json:
        output.as_json({"ok": not failed, "checks": [vars(check) for check in found]})
    else:
        output.checks(found, title="This machine")
    return 1 if failed else 0


def check_codabench() -> runtime_checks.Check:
    """The server answers, and knows the stored login."""
    login = "cbtool login stores a token; everything else works without."
    try:
        account = credentials.find_account()
        client = api.Client(account, TIMEOUT)
        if not account.token:
            client.list_competitions()
            return runtime_checks.warning("codabench", f"{account.url} answers; no login", login)
        client.whoami()
    except PlatformError as error:
        if error.status in (401, 403):
            return runtime_checks.warning("codabench", error.sentence, login)
        hint = f"{error.hint} Only commands that talk to CodaBench need it."
        return runtime_checks.warning("codabench", error.sentence, hint)
    except CbtoolError as error:
        return runtime_checks.failed("codabench", error.sentence, error.hint)
    return runtime_checks.passed("codabench", f"{account.url} answers, and knows your token")
