"""What of a submission, a bundle and a rehearsal bites on CodaBench, where nothing there warns of
it."""

import re
import zipfile
from pathlib import Path, PurePosixPath

from toolkit.codabench.bundle import DEFAULT_IMAGE, Bundle, Phase
from toolkit.codabench.worker import (
    METADATA,
    NO_SCORES_FILE,
    NONZERO,
    OUTPUT_METADATA,
    Rehearsal,
    command_in,
    command_of,
    storable,
    variables,
)
from toolkit.core.files import open_zip
from toolkit.runtime import checks
from toolkit.runtime.checks import contents
from toolkit.runtime.checks.check import Check, Subject, failed, passed, warning

PUBLIC_LIMIT = 600  # seconds a step on the default queue, whatever the phase says
NEAR = 0.5  # share of the time limit that another machine may well need twice
SHELL = re.compile(r"&&|\|\||[|<>;*?`]|\$\w+|\$\(")


def of_submission(path: Path, bundle: Bundle, phase: Phase) -> list[Check]:
    """What can be seen in the zip and in what the organiser set. Raises InputError when `path` is
    no zip."""
    with open_zip(path) as archive:
        entries = tuple(archive.infolist())
        metadata = next((name for name in METADATA if name in archive.namelist()), None)
        try:
            command = (
                command_in(archive.read(metadata).decode(errors="replace")) if metadata else None
            )
        except (zipfile.BadZipFile, RuntimeError):  # damaged, encrypted: the rehearsal will say so
            command = None
    names = [entry.filename for entry in entries if not entry.is_dir()]
    subject = Subject(path, entries, None, {}, None)
    found = [_nested(names), contents.entry_names(subject), contents.size(subject)]
    found += _command("submission", command, set(names), required=False)
    if re.search(r"\$input\b", command or ""):
        where = "the submission's $input is /app/input, which is not there when it runs"
        found.append(failed("command", where, "Say /app/input_data."))
    ingested = any(task.ingestion_program for task in bundle.tasks_of(phase))
    if not metadata and ingested:
        found.append(
            warning(
                "copied",
                "the whole zip is copied into the prediction's output",
                "That counts against the quota; nothing to do.",
            )
        )
    if bundle.missing:
        keys = ", ".join(bundle.missing)
        found.append(
            failed(
                "bundle",
                f"competition.yaml lacks {keys}",
                "CodaBench refuses to unpack it; tell the organiser.",
            )
        )
    own = checks.read_manifest(path).get("time_limit")
    if own and own > phase.execution_time_limit:
        hint = f"Build it with --time-limit {phase.execution_time_limit}."
        found.append(
            warning(
                "own limit",
                f"the zip keeps to {own:g} s, the phase allows {phase.execution_time_limit}",
                hint,
            )
        )
    if phase.execution_time_limit > PUBLIC_LIMIT and not bundle.queue:
        asked = (
            f"the phase allows {phase.execution_time_limit} s a step, CodaBench's public machines "
            f"{PUBLIC_LIMIT}"
        )
        found.append(
            warning(
                "time limit",
                asked,
                "Stay below that, unless the organiser runs machines of his own.",
            )
        )
    if bundle.docker_image == DEFAULT_IMAGE:
        found.append(
            warning(
                "image",
                f"{DEFAULT_IMAGE}: Python 3.7, no recent TensorFlow",
                "Ask whether that is meant.",
            )
        )
    if not bundle.auto_run_submissions:
        found.append(
            warning(
                "start",
                "submissions wait until an organiser starts them",
                "Nothing to do but wait.",
            )
        )
    if phase.hide_output:
        found.append(
            warning(
                "hidden",
                "the phase hides logs and output from participants",
                "Rehearse well: there is nothing to read.",
            )
        )
    if any(board.submission_rule == "Add" for board in bundle.leaderboards):
        found.append(
            warning(
                "leaderboard",
                "scores are not put on it by themselves",
                "cbtool upload --leaderboard does it.",
            )
        )
    return found


def of_commands(bundle: Bundle, phase: Phase, folder: Path) -> list[Check]:
    """What the commands of the bundle's programs would run into; they are unpacked into the new
    `folder`."""
    found = []
    for task in bundle.tasks_of(phase):
        for part in ("ingestion_program", "scoring_program"):
            place = folder / f"{task.index}-{part}"
            if bundle.unpack(task, part, place):
                files = {str(path.relative_to(place)) for path in place.rglob("*")}
                command = command_of(place)
                found += _command(f"{part} of {task.name}", command, files, required=True)
                if (
                    part == "ingestion_program"
                    and "$hidden" in (command or "")
                    and not task.ingestion_only_during_scoring
                ):
                    found.append(
                        failed(
                            "command",
                            f"$hidden of the {part} is not there in the prediction",
                            "Labels are the scoring's.",
                        )
                    )
                if task.ingestion_only_during_scoring and "$program" in (command or ""):
                    where = (
                        f"$program of the {part} of {task.name} becomes /app/ingestion_program, "
                        "which is not there"
                    )
                    found.append(
                        failed(
                            "command",
                            where,
                            "Say /app/program: the ingestion runs during scoring only.",
                        )
                    )
    return found


def of_rehearsal(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """What happened, and why CodaBench would show it as it does."""
    found = []
    for step in rehearsal.steps:
        used = f"{step.seconds:.1f} s of {step.limit} s"
        if rehearsal.timed_out and step is rehearsal.steps[-1]:
            found.append(
                failed(
                    f"{step.name} time", used, "Make it lighter; cbtool time tells where it goes."
                )
            )
        elif step.seconds > NEAR * step.limit:
            found.append(
                warning(f"{step.name} time", used, "The organiser's machine may be half as fast.")
            )
        else:
            found.append(passed(f"{step.name} time", used))
        for kind, code in step.exit_codes.items():
            if code and not (step.name == "scoring" and kind == "program"):
                hint = f"CodaBench does not look at this code and goes on; read {step.name}'s logs."
                found.append(
                    warning(f"{step.name} exit code", f"the {kind} ended with {code}", hint)
                )
    text = "".join(
        log.read_text(encoding="utf-8", errors="replace") for log in rehearsal.logs.values()
    )
    for module in sorted(set(re.findall("ModuleNotFoundError: No module named '(.+)'", text))):
        hint = (
            "If the competition's image has it, rehearse in docker or podman, or name a Python "
            "that has it: --python."
        )
        found.append(warning("module", f"{module} is missing where this ran", hint))
    outcome = {
        OUTPUT_METADATA: (
            "metadata",
            "Name that file otherwise: the worker writes its own metadata there.",
        ),
        NONZERO: (
            "scoring",
            "Read scoring_stderr: what it missed, the prediction should have written.",
        ),
        NO_SCORES_FILE: ("scores", "The scoring program has to write scores.json into $output."),
    }
    if rehearsal.status == "Failed":
        name, hint = outcome.get(rehearsal.details, ("outcome", "Read the logs."))
        if name != "outcome" or not rehearsal.timed_out:
            found.append(failed(name, rehearsal.details, hint))
    elif not rehearsal.scores:
        hint = "The organiser has to mend the scoring program."
        found.append(failed("scores", f"Finished with no score: {_why(rehearsal.posted)}", hint))
    found += _keys(rehearsal, bundle)
    if (
        bundle.enable_detailed_results
        and rehearsal.status == "Finished"
        and not rehearsal.detailed_result
    ):
        hint = "The scoring program should write detailed_results.html."
        found.append(
            warning("detailed results", "the competition shows them, and there are none", hint)
        )
    return found


def _keys(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """Score keys and leaderboard columns that have no counterpart."""
    if not isinstance(rehearsal.posted, dict):
        return []
    columns = [column for board in bundle.leaderboards for column in board.columns]
    unknown = sorted(
        str(key) for key in rehearsal.posted if key not in {column.key for column in columns}
    )
    empty = [
        column.key
        for column in columns
        if column.key not in rehearsal.posted and not column.computation
    ]
    found = []
    if unknown:
        found.append(
            warning(
                "score keys",
                f"no column is called {', '.join(unknown)}: dropped without a word",
                "Keys are columns' keys.",
            )
        )
    if rehearsal.scores and empty:
        found.append(
            warning(
                "columns",
                f"nothing was written for {', '.join(empty)}",
                "They stay empty on the leaderboard.",
            )
        )
    return found


def _why(posted: object) -> str:
    """Why none of what the scoring program wrote became a score."""
    if not isinstance(posted, dict):
        return f"the scores are a {type(posted).__name__}, not keys with numbers"
    bad = {key: value for key, value in posted.items() if not storable(value)}
    if bad:
        key, value = next(iter(bad.items()))
        return f"{key} is {value!r}, no number below 10^10, and that loses all of them"
    return "no key is a column of the leaderboard" if posted else "it wrote none"


def _nested(names: list[str]) -> Check:
    tops = {PurePosixPath(name).parts[0] for name in names}
    if names and len(tops) == 1 and all("/" in name for name in names):
        folder = tops.pop()
        return failed(
            "nested folder",
            f"everything lies in {folder}/, which CodaBench does not flatten",
            "Zip the files, not their folder: zip -j.",
        )
    return passed("nested folder", "files lie at the top")


def _command(name: str, command: str | None, files: set[str], required: bool) -> list[Check]:
    """What of a program's command the worker, which runs no shell, takes otherwise than it was
    meant."""
    if command is None:
        hint = (
            "Without one it is not run at all; add metadata.yaml with: command: python3 PROGRAM.py."
        )
        return [failed("command", f"the {name} has none", hint)] if required else []
    found = []
    words = command.split()
    known = "|".join(map(re.escape, variables(ingestion=False, scoring=False)))
    plain = re.sub(rf"({known})\b", "", command)
    if "$input_data" in command:
        found.append(
            failed(
                "command",
                f"$input_data of the {name} becomes /app/input_data_data",
                "Say $input, or /app/input_data.",
            )
        )
    elif "/app/ingestion_program" in command:
        where = f"/app/ingestion_program of the {name} is in the documentation, and nowhere else"
        found.append(failed("command", where, "Say $ingestion_program, or /app/program."))
    elif words[0] not in ("bash", "sh") and (match := SHELL.search(plain)):
        found.append(
            failed(
                "command",
                f"'{match[0]}' of the {name} reaches it as a word: there is no shell",
                "bash -c '...' is one.",
            )
        )
    if words[0].removeprefix("./") in files:
        where = f"{words[0]} of the {name} has no executable bit after unpacking"
        found.append(failed("command", where, f"Name its program: bash {words[0]}."))
    return found
