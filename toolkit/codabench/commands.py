"""The command in a program's metadata, and the variables that CodaBench's worker replaces in it."""

from pathlib import Path

from toolkit.core import documents
from toolkit.runtime.engines import APP

METADATA = ("metadata.yaml", "metadata")  # the names of the file, in the worker's order


def find_metadata(program: Path) -> Path | None:
    """The metadata file in the folder `program`; None where there is none."""
    for name in METADATA:
        if (program / name).is_file():
            return program / name
    return None


def read_command(program: Path) -> str | None:
    """The command in a program's metadata; None without a file, a readable one, or a command in
    it."""
    file = find_metadata(program)
    if file is None:
        return None
    # What is longer than a text may be is refused there.
    with file.open("rb") as text:
        content = text.read(documents.YAML_LIMIT + 1)
    return parse_command(content.decode("utf-8", "replace"))


def parse_command(metadata: str) -> str | None:
    """The command in the text of a metadata file; None where there is none to be read."""
    try:
        values = documents.parse_yaml(metadata)
    except ValueError:
        return None
    if not isinstance(values, dict) or not values.get("command"):
        return None
    return str(values["command"])


def substitute_variables(
    command: str, ingestion: bool, scoring: bool, only_during_scoring: bool = False
) -> str:
    """`command` with the worker's variables replaced: as plain text, one after the other, so that
    "$input_data" becomes /app/input_data_data."""
    for name, value in command_variables(ingestion, scoring, only_during_scoring).items():
        command = command.replace(name, value)
    return command


def command_variables(
    ingestion: bool, scoring: bool, only_during_scoring: bool = False
) -> dict[str, str]:
    """The variables in commands and their values, in the order of the worker.

    ingestion: of an ingestion program. scoring: in the scoring step. only_during_scoring: where the
    task's ingestion runs during scoring only.
    """
    inputs, predictions, program = f"{APP}/input", f"{APP}/output", f"{APP}/program"
    if ingestion:
        inputs = f"{APP}/input_data"
    if scoring:
        predictions = f"{APP}/input/res"
    if only_during_scoring and scoring:
        program = f"{APP}/ingestion_program"  # the worker never mounts it
    # "$input" comes first, as it does there, and so spoils names that begin with it. For a
    # submission's own command it is /app/input, which no prediction step mounts: such a command has
    # to say /app/input_data.
    return {
        "$input": inputs,
        "$output": f"{APP}/output",
        "$program": program,
        "$ingestion_program": f"{APP}/program",
        "$hidden": f"{APP}/input/ref",
        "$shared": f"{APP}/shared",
        "$submission_program": f"{APP}/ingested_program",
        "$tmp": f"{APP}/output",
        "$predictions": predictions,
    }
