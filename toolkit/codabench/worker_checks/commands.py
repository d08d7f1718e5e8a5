"""The command of a program, which the worker runs without a shell."""

import re
from dataclasses import dataclass
from typing import Literal

from toolkit.codabench.commands import command_variables
from toolkit.runtime.checks.check import Check, failed, passed

SHELL_SYNTAX = re.compile(r"&&|\|\||[|<>;*?`]|\$\w+|\$\(")
SHELLS = ("bash", "sh")
NOTHING_WRONG = passed("command", "no errors")


@dataclass(frozen=True)
class Command:
    """The command of a program. name: the program's, for people. text: None where it has none.
    files: names of the program's files. during_scoring: whether the task's ingestion runs during
    scoring only."""

    part: Literal["submission", "ingestion_program", "scoring_program"]
    name: str
    text: str | None
    files: set[str]
    during_scoring: bool = False

    @property
    def program(self) -> str:
        """The first word, which is what is run; "" without a command."""
        words = (self.text or "").split()
        return words[0] if words else ""


def check_presence(command: Command) -> Check:
    """There is a command: a program without one is not run. A submission needs none."""
    if command.text is None and command.part != "submission":
        return failed(
            "command",
            f"the {command.name} has no command",
            "CodaBench does not run a program without a command; add metadata.yaml with: command: "
            "python3 PROGRAM.py.",
        )
    return NOTHING_WRONG


def check_words(command: Command) -> Check:
    """Each word means what it seems to: command_variables, documented folders, no shell syntax."""
    text = command.text or ""
    if "$input_data" in text:
        return failed(
            "command",
            f"$input_data of the {command.name} becomes /app/input_data_data",
            "Use $input, or /app/input_data.",
        )
    if "/app/ingestion_program" in text:
        return failed(
            "command",
            f"/app/ingestion_program of the {command.name} is in the documentation, but does not "
            "exist",
            "Use $ingestion_program, or /app/program.",
        )
    # The worker's own variables, which begin like a shell's, are taken out before the search.
    known = "|".join(map(re.escape, command_variables(ingestion=False, scoring=False)))
    match = SHELL_SYNTAX.search(re.sub(rf"({known})\b", "", text))
    if match and command.program not in SHELLS:
        return failed(
            "command",
            f"'{match[0]}' of the {command.name} is passed as an argument: there is no shell",
            "Use a shell: bash -c '...'.",
        )
    return NOTHING_WRONG


def check_executable_bit(command: Command) -> Check:
    """It does not run one of the program's own files, which lose their modes in unpacking."""
    if command.program.removeprefix("./") in command.files:
        return failed(
            "command",
            f"{command.program} of the {command.name} has no executable bit after unpacking",
            f"Name the interpreter: bash {command.program}.",
        )
    return NOTHING_WRONG


def check_input_folder(command: Command) -> Check:
    """A submission does not say $input: that folder exists during scoring only."""
    if command.part == "submission" and re.search(r"\$input\b", command.text or ""):
        return failed(
            "command",
            "the submission's $input is /app/input, which does not exist when it runs",
            "Use /app/input_data.",
        )
    return NOTHING_WRONG


def check_hidden_labels(command: Command) -> Check:
    """An ingestion program does not say $hidden, unless it runs during scoring."""
    if (
        command.part == "ingestion_program"
        and "$hidden" in (command.text or "")
        and not command.during_scoring
    ):
        return failed(
            "command",
            f"$hidden of the {command.part} does not exist during the prediction",
            "Labels exist during scoring only.",
        )
    return NOTHING_WRONG


def check_program_folder(command: Command) -> Check:
    """No program says $program where the ingestion runs during scoring: the worker replaces it by a
    folder that does not exist."""
    if command.during_scoring and "$program" in (command.text or ""):
        return failed(
            "command",
            f"$program of the {command.name} becomes /app/ingestion_program, which does not exist",
            "Use /app/program: the ingestion runs during scoring only.",
        )
    return NOTHING_WRONG
