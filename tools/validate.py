"""`cbtool validate`: check a zip before it is uploaded."""

from __future__ import annotations

from pathlib import Path

import click

from tools import options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.runtime import checks


@click.command()
@click.argument("file", metavar="ZIP", type=options.PATH)
@options.interpreter
@options.limit
@options.json
def validate(
    file: Path, evaluator: str | None, python: str | None, limit: float, as_json: bool
) -> int:
    """Check ZIP's layout, code and behaviour.

    Runs ZIP in a clean process without network. Exits with 1 when a check fails.
    """
    with output.stages() as stages:
        interpreter = options.choose_python(stages, evaluator, python)
        with stages.stage("validate"):
            found = checks.validate(file, interpreter, limit)
    failed = [check for check in found if check.status == "failed"]
    if as_json:
        output.as_json(
            {"zip": str(file), "ok": not failed, "checks": [vars(check) for check in found]}
        )
    else:
        output.checks(found, title=str(file))
    if failed:
        output.hint(f"{len(failed)} of {len(found)} checks failed.")
        return 1
    output.hint(f"All checks passed. Next: cbtool time {file} --images 3421")
    return 0
