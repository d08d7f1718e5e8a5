"""A rehearsal: how long it took, how it ended, and what reached the leaderboard."""

import re
from collections.abc import Iterator

from toolkit.codabench.bundle import Bundle, BundleColumn
from toolkit.codabench.worker import (
    NO_SCORES_FILE,
    NONZERO,
    OUTPUT_METADATA,
    Rehearsal,
    Step,
    is_storable,
    read_log,
)
from toolkit.runtime.checks.check import Check, failed, passed, warning

SLOW_SHARE = 0.5  # share of the time limit beyond which a slower machine may exceed it
MISSING_MODULE = re.compile("ModuleNotFoundError: No module named '(.+)'")
# The check and the way out for each reason of a failure that is not the time.
FAILURES = {
    OUTPUT_METADATA: (
        "metadata",
        "Use another name for that file: the worker writes its own metadata there.",
    ),
    NONZERO: (
        "scoring",
        "Read scoring_stderr: often a file is missing that the prediction should have written.",
    ),
    NO_SCORES_FILE: ("scores", "The scoring program must write scores.json into $output."),
}


def check_times(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """Each step stays well below the time limit."""
    return [_check_time(rehearsal, step) for step in rehearsal.steps]


def check_exit_codes(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """The programs whose exit code CodaBench ignores end with 0, too."""
    found = []
    for step, kind, code in _list_ignored_exit_codes(rehearsal):
        if code:
            hint = f"CodaBench ignores this code and continues; read the logs of {step.name}."
            found.append(warning(f"{step.name} exit code", f"the {kind} ended with {code}", hint))
    return found


def check_links(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """The programs left files in their output, not links to files."""
    hint = "Copy the file itself: what a link leads to is not there in the next step."
    found = []
    for step in rehearsal.steps:
        if step.removed:
            detail = f"the {step.name} left links or the like in its output: "
            found.append(failed("links", detail + ", ".join(step.removed), hint))
    return found


def check_modules(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """Every module that a program imports is there."""
    # What is missing here may be in the competition's image: so it is a warning, not a failure.
    logs = [read_log(log) for log in rehearsal.logs.values()]
    hint = (
        "If the competition's image has it, rehearse in docker or podman, or give a Python that "
        "has it: --python PATH."
    )
    missing = sorted(set(MISSING_MODULE.findall("".join(logs))))
    return [warning("module", f"{name} is missing in this environment", hint) for name in missing]


def check_outcome(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """It finished with a score. A time limit that was exceeded is the matter of `check_times`."""
    if rehearsal.status == "Failed":
        if rehearsal.details in FAILURES:
            name, hint = FAILURES[rehearsal.details]
            return [failed(name, rehearsal.details, hint)]
        if rehearsal.hit_time_limit:
            return []
        return [failed("outcome", rehearsal.details, "Read the logs.")]
    if rehearsal.scores:
        return []
    return [
        failed(
            "scores",
            f"Finished with no score: {_why_unscored(rehearsal.posted)}",
            "The organiser must correct the scoring program.",
        )
    ]


def check_score_keys(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """Every score belongs to a column of the leaderboard."""
    if not isinstance(rehearsal.posted, dict):
        return []
    known = {column.key for column in _columns(bundle)}
    unknown = sorted(str(key) for key in rehearsal.posted if key not in known)
    if not unknown:
        return []
    return [
        warning(
            "score keys",
            f"the leaderboard has no column {', '.join(unknown)}: CodaBench drops it "
            "without a message",
            "Use the keys of the columns as the keys of the scores.",
        )
    ]


def check_columns(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """Every column of the leaderboard that the server does not compute has a score."""
    if not isinstance(rehearsal.posted, dict) or not rehearsal.scores:
        return []
    empty = []
    for column in _columns(bundle):
        if column.key not in rehearsal.posted and not column.computation:
            empty.append(column.key)
    if not empty:
        return []
    return [
        warning(
            "columns",
            f"the scoring program wrote no score for {', '.join(empty)}",
            "These columns stay empty on the leaderboard.",
        )
    ]


def check_detailed_results(rehearsal: Rehearsal, bundle: Bundle) -> list[Check]:
    """The page of detailed results exists where the competition shows one."""
    expected = bundle.enable_detailed_results and rehearsal.status == "Finished"
    if not expected or rehearsal.detailed_result:
        return []
    return [
        warning(
            "detailed results",
            "the competition shows detailed results, but the scoring program wrote none",
            "The scoring program should write detailed_results.html.",
        )
    ]


def _check_time(rehearsal: Rehearsal, step: Step) -> Check:
    name, used = f"{step.name} time", f"{step.seconds:.1f} s of {step.limit} s"
    if rehearsal.hit_time_limit and step is rehearsal.steps[-1]:
        return failed(
            name, used, "Use a smaller network or fewer views; cbtool time shows the times."
        )
    # The worker's machine is another than this one, and often the slower.
    if step.seconds > SLOW_SHARE * step.limit:
        return warning(name, used, "The organiser's machine may be half as fast.")
    return passed(name, used)


def _list_ignored_exit_codes(rehearsal: Rehearsal) -> Iterator[tuple[Step, str, int | None]]:
    """The step, the kind of program and the exit code of all programs but the scoring program."""
    for step in rehearsal.steps:
        for kind, code in step.exit_codes.items():
            if (step.name, kind) != ("scoring", "program"):
                yield step, kind, code


def _columns(bundle: Bundle) -> list[BundleColumn]:
    columns: list[BundleColumn] = []
    for board in bundle.leaderboards:
        columns += board.columns
    return columns


def _why_unscored(posted: object) -> str:
    """Why none of what the scoring program wrote became a score."""
    if not isinstance(posted, dict):
        return f"the scores are a {type(posted).__name__}, not keys with numbers"
    for key, value in posted.items():
        if not is_storable(value):
            return f"{key} is {value!r}, not a number below 10^10, so CodaBench stores no score"
    if not posted:
        return "it wrote none"
    return "no key is a column of the leaderboard"
