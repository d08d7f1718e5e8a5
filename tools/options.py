"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from tools import output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import address
    from toolkit.runtime import environments

# Existence is checked where the file is read, so that Python callers get the same sentence.
PATH = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., object] | click.Command)


def parse_competition(text: str) -> address.CompetitionAddress:
    """A parameter that is a competition's number or its web address."""
    return address.parse_address(text)


def competition(help_text: str) -> Callable[[Command], Command]:
    """--competition: a competition's number or web address, as `address`."""
    return click.option(
        "--competition", "address", type=parse_competition, metavar="ID|URL", help=help_text
    )


def part(help_text: str) -> Callable[[Command], Command]:
    """--split: the held-out part a command is about."""
    choice = click.Choice(["validation", "test"])
    return click.option(
        "--split", "part", type=choice, default="validation", show_default=True, help=help_text
    )


def interpreter(command: Command) -> Command:
    """Adds --evaluator and --python, of which `choose_python` makes one interpreter."""
    evaluator = click.option(
        "--evaluator",
        metavar="NAME",
        help=(
            "Run the zip in this evaluator's environment: an2dl2024, oldest or latest. It is "
            "installed on first use."
        ),
    )
    python = click.option(
        "--python",
        metavar="PATH",
        help="Run the zip with this interpreter. [default: cbtool's own]",
    )
    return evaluator(python(command))


def choose_python(stages: output.Stages, evaluator: str | None, python: str | None) -> str:
    """The interpreter that --evaluator or --python names, cbtool's own without either.

    Installs the evaluator's environment where it is missing. Raises UsageError when both are given.
    """
    if evaluator and python:
        raise click.UsageError("give --evaluator or --python, not both.")
    if not evaluator:
        return python or sys.executable
    with stages.stage("evaluator") as progress:
        return environments.find_python(evaluator, progress)


limit = click.option(
    "--limit",
    type=click.FloatRange(min=1),
    default=1200.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the zip after this time.",
)
runs_folder = click.option(
    "--runs",
    "folder",
    type=PATH,
    default="runs",
    show_default=True,
    metavar="DIR",
    help="The folder of the runs; its submissions ledger records the results of their zips.",
)
stored_part = part(
    "The part whose predictions to use; `test` exists after `evaluate --split test`."
)
json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
classes = click.option(
    "--classes",
    type=click.IntRange(2, 256),
    default=8,
    show_default=True,
    help="Number of classes, if the file has no class names.",
)
run = click.option(
    "--run", "folder", type=PATH, required=True, metavar="DIR", help="The run folder."
)
training_file = click.option(
    "--data",
    "data_file",
    type=PATH,
    metavar="FILE",
    help="The run's training file. [default: the path that `train` used]",
)
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value, e.g. train.phases.0.epochs=3. May be repeated.",
)
