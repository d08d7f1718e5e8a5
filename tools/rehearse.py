"""`cbtool rehearse`: run a submission through an organiser's bundle, as CodaBench does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from toolkit.core.errors import InputError, LimitError, SubmissionError
from tools import live, options, output, recent
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import bundle as bundles
    from toolkit.codabench import bundle_checks, logs, worker, worker_checks
    from toolkit.runtime import checks, engines

RECORD = "rehearsal.json"  # marks a folder as an earlier rehearsal, which may be overwritten


@click.command()
@options.zip_file
@click.option(
    "--bundle",
    "source",
    type=options.PATH,
    required=True,
    metavar="DIR|ZIP",
    help="The organiser's bundle, with competition.yaml.",
)
@click.option("--phase", "wanted", metavar="NAME", help="The phase. [default: the first]")
@click.option(
    "--backend",
    type=click.Choice(["docker", "podman", "bubblewrap", "processes"]),
    help="The engine that runs the programs. [default: the first of these that works here]",
)
@options.interpreter
@click.option(
    "--out",
    type=options.PATH,
    default="rehearsal",
    show_default=True,
    metavar="DIR",
    help="Folder for logs and outputs.",
)
@options.json
@options.quiet
def rehearse(
    file: Path | None,
    source: Path,
    wanted: str | None,
    backend: str | None,
    evaluator: str | None,
    python: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Run ZIP through a competition's programs.

    Without ZIP, runs the last one that was built from a run in runs/.

    Runs the ingestion and scoring programs by the rules of CodaBench's compute worker: its folders,
    commands without a shell, exit codes, scores and time limit, with the network off. Docker and
    podman run the competition's image; bubblewrap and plain processes run this machine's programs,
    with the Python that --evaluator or --python names. Exits with 1 when CodaBench would refuse the
    bundle or show no score, with 4 when a step exceeds the time limit.
    """
    file = recent.choose_zip(file)
    # First, so that a folder which may not be emptied is known before anything has run.
    _empty(out)
    with live.stages() as stages, bundles.open_bundle(source) as bundle:
        phase = bundle.phase(wanted)
        found = bundle_checks.check_bundle(bundle)
        refused = any(check.status == "failed" for check in found)
        found += worker_checks.check_submission(file, bundle, phase)
        found += worker_checks.check_commands(bundle, phase, out / "programs")
        interpreter = options.choose_python(stages, evaluator, python)
        with (
            stages.stage("rehearse") as progress,
            engines.open_engine(backend, bundle.docker_image, interpreter, progress) as engine,
        ):
            rehearsals = worker.rehearse(file, bundle, phase, engine, out, progress)
        for rehearsal in rehearsals:
            for check in worker_checks.check_rehearsal(rehearsal, bundle):
                if len(rehearsals) > 1:  # else it is clear which task is meant
                    check = replace(check, name=f"{rehearsal.task}: {check.name}")
                found.append(check)
    report = {
        "zip": str(file),
        "competition": bundle.title,
        "phase": phase.name,
        "backend": engine.name,
        "isolation": engine.isolation.values,
        "passed_over": engine.passed_over,
        "not_reproduced": engine.not_reproduced,
        "tasks": [_values(rehearsal) for rehearsal in rehearsals],
        "checks": [vars(check) for check in found],
    }
    (out / RECORD).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if as_json:
        output.as_json(report)
    else:
        _show(report, rehearsals, bundle, found)
    if any(rehearsal.hit_time_limit for rehearsal in rehearsals):
        return LimitError.exit_code
    for rehearsal in rehearsals:
        if not rehearsal.has_score:
            return SubmissionError.exit_code
    if not refused:
        output.hint(f"Next: cbtool upload {file} --competition ID")
    return SubmissionError.exit_code if refused else 0


def _empty(out: Path) -> None:
    """Makes `out` an empty folder. Raises InputError when it holds anything but an earlier
    rehearsal."""
    # Only what this command wrote is removed: --out may name any folder of the user's.
    if out.exists() and not (out / RECORD).exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is neither empty nor an earlier rehearsal.", "Choose a new folder with --out."
        )
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    # Before anything else, so that a rehearsal that is interrupted can be repeated.
    (out / RECORD).touch()


def _values(rehearsal: worker.Rehearsal) -> dict[str, Any]:
    detailed_result = None
    if rehearsal.detailed_result:
        detailed_result = str(rehearsal.detailed_result)
    return {
        "task": rehearsal.task,
        "status": rehearsal.status,
        "details": rehearsal.details,
        "scores": rehearsal.scores,
        "steps": [vars(step) for step in rehearsal.steps],
        "logs": {name: str(path) for name, path in rehearsal.logs.items()},
        "detailed_result": detailed_result,
    }


def _show(
    report: dict[str, Any],
    rehearsals: list[worker.Rehearsal],
    bundle: bundles.Bundle,
    found: list[checks.Check],
) -> None:
    click.echo(f"{report['competition']}, phase {report['phase']}; run by {report['backend']}")
    if not report["isolation"]["isolated"]:
        output.sentence(report["isolation"]["statement"])
    for name in ("passed_over", "not_reproduced"):
        for text in report[name]:
            click.echo(f"{name.replace('_', ' ')}: {text}")
    for rehearsal in rehearsals:
        _show_logs(rehearsal)
    for rehearsal in rehearsals:
        status = f"{rehearsal.task}: {rehearsal.status}"
        if rehearsal.details:
            status += f", {rehearsal.details}"
        click.echo(status)
        if rehearsal.detailed_result:
            click.echo(f"detailed results: {rehearsal.detailed_result}")
        for board in bundle.leaderboards:
            scores = board.add_computed(rehearsal.scores)
            cells = []
            for column in board.columns:
                score = _format_score(scores.get(column.key), column.precision)
                cells.append((column.title, column.key, score))
            output.table(("column", "key", "score"), cells, title=board.title)
    output.checks(found)


def _show_logs(rehearsal: worker.Rehearsal) -> None:
    """Shows all logs, without what libraries write of themselves; where there is no score, the end
    of those that explain it."""
    if rehearsal.has_score:
        for name, path in rehearsal.logs.items():
            text = worker.read_log(path)
            rest = logs.drop_noise(text)
            dropped = ", without the notices of libraries" if rest != text else ""
            output.log(f"{rehearsal.task}: {name}{dropped}", rest)
    else:
        for name in rehearsal.find_failure_logs():
            output.log_end(f"{rehearsal.task}: {name}", worker.read_log(rehearsal.logs[name]))
    folder = next(iter(rehearsal.logs.values())).parent
    output.hint(f"All logs of {rehearsal.task}: {folder}")


def _format_score(score: float | None, precision: int) -> str:
    if score is None:
        return ""
    return f"{score:.{precision}f}"
