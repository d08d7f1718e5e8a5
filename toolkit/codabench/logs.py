"""Which of a submission's logs explain why it failed, and which of their lines are noise."""

import re

# In the order of the run: the prediction's two programs, then the scoring's.
LOGS = (
    "prediction_stdout",
    "prediction_stderr",
    "prediction_ingestion_stdout",
    "prediction_ingestion_stderr",
    "scoring_stdout",
    "scoring_stderr",
    "scoring_ingestion_stdout",
    "scoring_ingestion_stderr",
)
TRACEBACK = "Traceback (most recent call last)"
# What sound programs write to stderr, too: TensorFlow's start, Python's warnings, and the line in
# which submissions built by cbtool say how fast they were.
NOISE = re.compile(
    r"^\s*$"
    r"|^[IWE]\d{4} "
    r"|^\d{4}-\d\d-\d\d [\d:.]+: [IWE] "
    r"|^WARNING: All log messages before absl"
    r"|^To enable the following instructions"
    r"|^Fontconfig error: "
    r"|Warning: |^\s+warnings\.warn\("
    r"|^TensorFlow [\d.]+, \w+: \d+ images in ",
)


def find_failure_logs(logs: dict[str, str]) -> list[str]:
    """The names of the logs that explain a failure, in the order of the run.

    logs: texts by the names in LOGS, or names that end so. That is the first with a traceback: a
    scoring without predictions only repeats the failure of the prediction. Without any, all that
    were written to stderr: CodaBench does not say which step failed first. Else what was printed
    last; nothing where all are empty.
    """
    filled = [name for name, text in _in_order(logs).items() if text.strip()]
    for name in filled:
        if TRACEBACK in logs[name]:
            return [name]
    errors = [name for name in filled if name.endswith("stderr") and _says_more(logs[name])]
    return errors or filled[-1:]


def drop_noise(text: str) -> str:
    """The lines of a log that are not NOISE: `text` itself where none is."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not line.strip() or not NOISE.search(line)]
    return text if len(kept) == len(lines) else "".join(kept)


def _in_order(logs: dict[str, str]) -> dict[str, str]:
    places = {name: place for place, name in enumerate(LOGS)}
    return dict(sorted(logs.items(), key=lambda item: places.get(item[0], len(LOGS))))


def _says_more(text: str) -> bool:
    """Whether a line of a log is not NOISE."""
    return any(not NOISE.search(line) for line in text.splitlines())
