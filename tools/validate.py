"""`cbtool validate`: check a zip before it is uploaded."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.core.archives import open_zip
from toolkit.core.contract import Contract
from tools import contracts, live, options, output, recent
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.runtime import checks
    from toolkit.runtime import isolation as isolations
    from toolkit.runtime.checks import check as runtime_checks
    from toolkit.runtime.isolation import EngineName, Isolation


@click.command()
@options.zip_file
@options.checked_interpreter
@options.backend
@options.limit
@click.option(
    "--force",
    is_flag=True,
    help="Exit with 0 although ZIP could not be checked in the competition's environment.",
)
@options.json
@options.quiet
def validate(
    file: Path | None,
    evaluator: str | None,
    python: str | None,
    backend: EngineName | None,
    limit: float | None,
    force: bool,
    as_json: bool,
) -> int:
    """Check ZIP's layout, code and behaviour.

    Without ZIP, checks the last one that was built from a run in runs/.

    Runs ZIP in a clean process, isolated from this machine where that is possible, in the
    competition's environment (for AN2DL 2024 TensorFlow 2.17.0, Keras 3.4.1), which is installed on
    first use: what loads in a newer Keras may not load there. Exits with 1 when a check fails.
    Where that environment cannot be installed, the check `environment` fails, unless cbtool built
    ZIP.
    """
    file = recent.choose_zip(file)
    contract = contracts.current()
    isolation = isolations.choose_isolation(backend)  # a check tells what it is
    found = run_checks(file, evaluator, python, contract, limit, isolation)
    failed = find_failed(found, force)
    if as_json:
        output.as_json(
            {
                "zip": str(file),
                "ok": not failed,
                "isolation": isolation.values,
                "checks": [vars(check) for check in found],
            }
        )
    else:
        output.checks(found, title=str(file))
    if failed:
        output.hint(f"{len(failed)} of {len(found)} checks failed.")
        return 1
    skipped = sum(check.status == "skipped" for check in found)
    passed = f"All checks passed{f', {skipped} skipped' if skipped else ''}."
    images = "" if contract.hidden_images else " --images N"
    output.hint(f"{passed} Next: cbtool time {file}{images}")
    return 0


def run_checks(
    file: Path,
    evaluator: str | None,
    python: str | None,
    contract: Contract,
    limit: float | None = None,
    isolation: Isolation | None = None,
) -> list[runtime_checks.Check]:
    """The checks of the zip `file`, the first of which tells where it was run."""
    open_zip(file).close()  # before an environment is installed
    with live.stages() as stages:
        place = options.choose_place(stages, file, evaluator, python, contract)
        with stages.stage("validate"):
            found = checks.validate(
                file,
                place.python,
                limit,
                contract,
                in_evaluator=place.in_evaluator,
                isolation=isolation,
            )
    return [place.check, *found]


def find_failed(found: list[runtime_checks.Check], force: bool) -> list[runtime_checks.Check]:
    """Those that failed. force: except that of the environment."""
    failed = [check for check in found if check.status == "failed"]
    return [check for check in failed if not (force and check.name == "environment")]
