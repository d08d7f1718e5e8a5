"""What an upload will do, as users see it before they confirm it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.core.files import format_bytes
from tools.competitions import count_left, describe_limit
from tools.lazy import lazy_imports
from tools.validate import find_failed

with lazy_imports():
    from toolkit.codabench import client as api
    from toolkit.codabench import eligibility
    from toolkit.export import manifest as manifests
    from toolkit.runtime.checks import check as runtime_checks


def describe(client: api.Client, plan: eligibility.Plan, file: Path) -> list[tuple[str, str]]:
    """What will be sent where, and what that uses up: names and texts."""
    phase = plan.phase
    return [
        ("zip", f"{file}, {format_bytes(plan.size)}"),
        ("competition", f"{plan.competition.title} at {client.url}"),
        ("phase", f"{phase.name}, ends {eligibility.format_time(phase.end) or 'never'}"),
        ("left today", describe_limit(phase.used_today, phase.allowed_today)),
        ("left in total", describe_limit(phase.used, phase.allowed)),
        ("time limit", f"{phase.limit} s"),
        ("storage left", format_bytes(plan.free)),
        *(("note", note) for note in _list_notes(plan, file)),
    ]


def values(
    client: api.Client, plan: eligibility.Plan, file: Path, checks: list[runtime_checks.Check]
) -> dict[str, Any]:
    """The plan and the checks of the zip, ready for JSON."""
    phase = plan.phase
    return {
        "zip": str(file),
        "sha256": plan.sha256,
        "bytes": plan.size,
        "server": client.url,
        "competition": plan.competition.id,
        "title": plan.competition.title,
        "phase": phase.name,
        "left_today": count_left(phase.used_today, phase.allowed_today),
        "left": count_left(phase.used, phase.allowed),
        "limit_seconds": phase.limit,
        "free_bytes": plan.free,
        "failed_checks": len(find_failed(checks, force=False)),
        "checks": [vars(check) for check in checks],
        "notes": _list_notes(plan, file),
        "sent": False,
    }


def _list_notes(plan: eligibility.Plan, file: Path) -> list[str]:
    """What to know first, of the phase and of the zip."""
    notes = list(plan.notes)
    manifest = manifests.read_zip_manifest(file)
    own, allowed = manifest.time_limit if manifest else 0.0, plan.phase.limit
    if own > allowed:
        notes.append(
            f"the zip's own limit is {own:g} s, the phase allows {allowed} s: cbtool build "
            f"--time-limit {allowed}"
        )
    return notes
