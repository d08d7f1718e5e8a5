"""Options that several commands share."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

PATH = click.Path(
    path_type=Path
)  # existence is checked where the file is read: one sentence for all ways in


def part(help_text: str) -> Callable:
    """--split: the held-out part a command is about."""
    choice = click.Choice(["validation", "test"])
    return click.option(
        "--split", "part", type=choice, default="validation", show_default=True, help=help_text
    )


def interpreter(command: Callable) -> Callable:
    """Adds --evaluator and --python: what to run the zip with, which `chosen_python` makes one
    interpreter of."""
    evaluator = click.option(
        "--evaluator",
        metavar="NAME",
        help=(
            "Run the zip in this evaluator's environment: an2dl2024, oldest or latest. Made on "
            "first use."
        ),
    )
    python = click.option(
        "--python",
        metavar="PATH",
        help="Run the zip with this interpreter. [default: cbtool's own]",
    )
    return evaluator(python(command))


def chosen_python(stages, evaluator: str | None, python: str | None) -> str:
    """The interpreter that --evaluator or --python names; the evaluator's environment is made where
    there is none."""
    if evaluator and python:
        raise click.UsageError("--evaluator and --python name two interpreters; give one.")
    if not evaluator:
        return python or sys.executable
    from toolkit.runtime import environments

    with stages.stage("evaluator") as progress:
        return environments.python(evaluator, progress)


limit = click.option(
    "--limit",
    type=click.FloatRange(min=1),
    default=1200.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the zip after this.",
)
runs_folder = click.option(
    "--runs",
    "folder",
    type=PATH,
    default="runs",
    show_default=True,
    metavar="DIR",
    help="The folder of the runs, whose ledger notes what is found of a zip it knows.",
)
stored_part = part(
    "Which part's predictions; those of `test` are there after evaluate --split test."
)
json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
classes = click.option(
    "--classes",
    type=click.IntRange(2, 256),
    default=8,
    show_default=True,
    help="How many classes there are, if the file does not name them.",
)
run = click.option(
    "--run", "folder", type=PATH, required=True, metavar="DIR", help="The run folder."
)
training_file = click.option(
    "--data",
    "data_file",
    type=PATH,
    metavar="FILE",
    help="The run's training file. [default: where it was]",
)
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value, e.g. train.phases.0.epochs=3. May be repeated.",
)
