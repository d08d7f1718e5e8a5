"""Options that several commands share."""

import sys
from pathlib import Path

import click

PATH = click.Path(path_type=Path)  # existence is checked where the file is read: one sentence for all ways in

python = click.option(
    "--python",
    default=sys.executable,
    metavar="PATH",
    help="Interpreter to run the zip with, e.g. .evaluator/bin/python for the competition's TensorFlow. [default: this one]",
)
limit = click.option(
    "--limit",
    type=click.FloatRange(min=1),
    default=1200.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop the zip after this.",
)
json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
classes = click.option(
    "--classes",
    type=click.IntRange(2, 256),
    default=8,
    show_default=True,
    help="How many classes there are, if the file does not name them.",
)
run = click.option("--run", "folder", type=PATH, required=True, metavar="DIR", help="The run folder.")
settings = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one value, e.g. train.phases.0.epochs=3. May be repeated.",
)
