"""What CodaBench's worker treats otherwise than people expect, and does not warn of.

One function a check, as in `runtime/checks`: of a submission and the phase it is meant for, of
the commands of programs, and of a rehearsal.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

from toolkit.codabench.bundle import Bundle, BundlePhase
from toolkit.codabench.commands import METADATA, parse_command, read_command
from toolkit.codabench.worker import Rehearsal
from toolkit.codabench.worker_checks import commands, rehearsal, submission
from toolkit.codabench.worker_checks.commands import Command
from toolkit.codabench.worker_checks.submission import Candidate
from toolkit.core import archives, documents
from toolkit.core.archives import open_zip
from toolkit.core.errors import InputError
from toolkit.runtime.checks import read_subject
from toolkit.runtime.checks.check import Check, passed

SUBMISSION_CHECKS: tuple[Callable[[Candidate], Check], ...] = (
    submission.check_folders,
    submission.check_entry_names,
    submission.check_size,
    submission.check_copy,
    submission.check_own_limit,
    submission.check_time_limit,
    submission.check_image,
    submission.check_start,
    submission.check_logs,
    submission.check_leaderboard,
)
COMMAND_CHECKS: tuple[Callable[[Command], Check], ...] = (
    commands.check_presence,
    commands.check_words,
    commands.check_executable_bit,
    commands.check_input_folder,
    commands.check_hidden_labels,
    commands.check_program_folder,
)
REHEARSAL_CHECKS: tuple[Callable[[Rehearsal, Bundle], list[Check]], ...] = (
    rehearsal.check_times,
    rehearsal.check_exit_codes,
    rehearsal.check_links,
    rehearsal.check_modules,
    rehearsal.check_outcome,
    rehearsal.check_score_keys,
    rehearsal.check_columns,
    rehearsal.check_detailed_results,
)


def check_submission(path: Path, bundle: Bundle, phase: BundlePhase) -> list[Check]:
    """Checks the zip at `path` and what the organiser set in `phase` of `bundle`; nothing is run.

    Raises InputError when `path` is no zip.
    """
    with open_zip(path) as archive:
        metadata, text = _metadata(archive)
    candidate = Candidate(read_subject(path), bundle, phase, has_metadata=metadata is not None)
    found = [check(candidate) for check in SUBMISSION_CHECKS]
    return found + _check_command(Command("submission", "submission", text, candidate.files))


def check_commands(bundle: Bundle, phase: BundlePhase, folder: Path) -> list[Check]:
    """Checks the commands of the programs in `phase` of `bundle`.

    The programs are unpacked into the new `folder`.
    """
    found = []
    for task in bundle.tasks_of(phase):
        for part in ("ingestion_program", "scoring_program"):
            place = folder / f"{task.index}-{part}"
            if not bundle.unpack(task, part, place):
                continue
            files = {str(path.relative_to(place)) for path in place.rglob("*")}
            command = Command(
                part,
                f"{part} of {task.name}",
                read_command(place),
                files,
                task.ingestion_only_during_scoring,
            )
            found += _check_command(command)
    return found


def check_rehearsal(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """Checks what happened in `rehearsal`, and says why CodaBench would show it so."""
    found = []
    for check in REHEARSAL_CHECKS:
        found += check(rehearsal, bundle)
    return found


def _check_command(command: Command) -> list[Check]:
    """The checks of `command` that do not pass, or one that says that all do."""
    found = [check(command) for check in COMMAND_CHECKS]
    problems = [check for check in found if check.status != "ok"]
    return problems or [passed("command", f"the command of the {command.name} has no errors")]


def _metadata(archive: zipfile.ZipFile) -> tuple[str | None, str | None]:
    """The name of a submission's metadata file, and the command in it; None for what is absent."""
    for name in METADATA:
        if name not in archive.namelist():
            continue
        try:
            content = archives.read_entry(Path(), archive, name, documents.YAML_LIMIT)
        except InputError:  # damaged or encrypted: the rehearsal reports it
            return name, None
        return name, parse_command(content.decode(errors="replace"))
    return None, None
