"""Options that several commands share."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from toolkit.core.contract import Contract
from toolkit.core.errors import InputError
from tools import completion, live, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.codabench import address
    from toolkit.core import catalogue
    from toolkit.runtime import environments
    from toolkit.runtime import isolation as isolations
    from toolkit.runtime.checks import environment

# Existence is checked where the file is read, so that Python callers get the same sentence.
PATH = click.Path(path_type=Path)
BACKENDS = ("tensorflow", "jax")
Command = TypeVar("Command", bound=Callable[..., object] | click.Command)


def parse_competition(text: str) -> address.CompetitionAddress:
    """A parameter that is a competition's number or its web address."""
    return address.parse_address(text)


def competition(help_text: str) -> Callable[[Command], Command]:
    """--competition: a competition's number or web address, as `address`."""
    return click.option(
        "--competition", "address", type=parse_competition, metavar="ID|URL", help=help_text
    )


def preset(
    help_text: str, required: bool = False, multiple: bool = False
) -> Callable[[Command], Command]:
    """--preset: the name of a configuration that comes with cbtool; with `multiple`, several."""
    return click.option(
        "--preset",
        required=required,
        multiple=multiple,
        metavar="NAME",
        shell_complete=completion.presets,
        help=help_text,
    )


def parse_backbone(text: str) -> str:
    """A parameter that is the name of a backbone. Raises InputError when none has it."""
    try:
        return catalogue.require_backbone(text)
    except ValueError as error:
        raise InputError(f"--backbone is '{text}': {error}.", "Use one of that list.") from error


def backbone(help_text: str, required: bool = False) -> Callable[[Command], Command]:
    """--backbone: the name of a network without its head."""
    return click.option(
        "--backbone",
        type=parse_backbone,
        required=required,
        metavar="NAME",
        shell_complete=completion.backbones,
        help=help_text,
    )


def keras_backend(help_text: str, variable: str | None = None) -> Callable[[Command], Command]:
    """--backend: what Keras runs on; `variable` of the environment says it, too. See
    `use_keras_backend`."""
    return click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        envvar=variable,
        default=BACKENDS[0],
        show_default=True,
        help=help_text,
    )


def use_keras_backend(name: str) -> None:
    """Has Keras run on the backend `name`, if it is not imported yet (see
    `toolkit.models.backend.require`). Raises InputError when it is not installed."""
    if importlib.util.find_spec(name) is None:
        raise InputError(
            f"the backend {name} is not installed.",
            f"pip install 'cbtool[{name}]'; with an NVIDIA GPU, 'cbtool[{name}-cuda]'.",
        )
    os.environ["KERAS_BACKEND"] = name


def part(help_text: str) -> Callable[[Command], Command]:
    """--split: the held-out part a command is about."""
    choice = click.Choice(["validation", "test"])
    return click.option(
        "--split", "part", type=choice, default="validation", show_default=True, help=help_text
    )


def interpreter(command: Command) -> Command:
    """Adds --evaluator and --python, of which `choose_python` makes one interpreter."""
    return _add_interpreter(command, "[default: cbtool's own Python]")


def checked_interpreter(command: Command) -> Command:
    """The same, where the default is the competition's environment."""
    return _add_interpreter(command, "none: cbtool's own Python. [default: the competition's]")


def _add_interpreter(command: Command, default: str) -> Command:
    evaluator = click.option(
        "--evaluator",
        metavar="NAME",
        shell_complete=completion.evaluators,
        help=(
            "Run the zip in this evaluator's environment: an2dl2024, oldest or latest. It is "
            f"installed on first use. {default}"
        ),
    )
    python = click.option("--python", metavar="PATH", help="Run the zip with this interpreter.")
    return evaluator(python(command))


def choose_python(stages: live.Stages, evaluator: str | None, python: str | None) -> str:
    """The interpreter that --evaluator or --python names, cbtool's own without either.

    Installs the evaluator's environment where it is missing. Raises UsageError when both are given.
    """
    _require_one(evaluator, python)
    if not evaluator or evaluator == environments.NONE:
        return python or sys.executable
    with stages.stage("evaluator") as progress:
        return environments.find_python(evaluator, progress)


def choose_isolation(backend: isolations.EngineName | None) -> isolations.Isolation:
    """The engine that --backend names, by default the best that works here; tells a person where
    that does not isolate. Raises InputError when the one that is wanted does not work."""
    isolation = isolations.choose_isolation(backend)
    if not isolation.isolated:
        output.hint(isolation.statement)
    return isolation


def choose_place(
    stages: live.Stages,
    file: Path,
    evaluator: str | None,
    python: str | None,
    contract: Contract,
) -> environment.Place:
    """Where the zip `file` is checked: as the options say, by default in the competition's
    environment. Raises UsageError when both are given."""
    _require_one(evaluator, python)
    with stages.stage("evaluator") as progress:
        return environment.choose_place(file, evaluator, python, contract, progress)


def _require_one(evaluator: str | None, python: str | None) -> None:
    if evaluator and python:
        raise click.UsageError("give --evaluator or --python, not both.")


backend = click.option(
    "--backend",
    type=click.Choice(["bubblewrap", "processes"]),
    help=(
        "The engine that runs the zip; in plain processes it is not isolated. [default: "
        "bubblewrap where it works]"
    ),
)
limit = click.option(
    "--limit",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="The time limit, after which the zip is stopped. [default: the competition's]",
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
quiet = live.quiet_option
classes = click.option(
    "--classes",
    type=click.IntRange(2, 256),
    help="Number of classes, if the file has no names of them. [default: the competition's]",
)
run = click.option(
    "--run",
    "folder",
    type=PATH,
    metavar="DIR",
    help="The run folder. [default: the latest complete one in runs/]",
)
# `tools.recent` chooses where it is left out.
zip_file = click.argument("file", metavar="[ZIP]", type=PATH, required=False)
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
    shell_complete=completion.setting_keys,
    help="Change one value, e.g. train.phases.0.epochs=3. May be repeated.",
)
