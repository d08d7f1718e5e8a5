"""`cbtool init`: describe a competition in competition.toml."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import click

from toolkit.core.contract import AN2DL2024, METRICS, NEED_PROBABILITIES, Returns, Style
from toolkit.core.errors import InputError
from tools import contracts, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import arrays, competition_file, damage

# What is asked on a terminal where no option says it.
QUESTIONS = {
    "name": "Name of the competition",
    "height": "Height of the images, pixels",
    "width": "Width of the images, pixels",
    "classes": "Number of classes",
    "style": "What model.py offers (class, function, fit)",
    "metric": f"Metric ({', '.join(METRICS)})",
    "returns": f"What predict returns ({', '.join(get_args(Returns))})",
    "corrupted": "Are the hidden images corrupted (noise, blur, colours)",
    "limit": "Time limit, seconds",
}
# Where nobody says otherwise.
DEFAULTS = {
    "channels": 3,
    "style": AN2DL2024.style,
    "returns": AN2DL2024.returns,
    "metric": AN2DL2024.metric,
    "corrupted": AN2DL2024.corrupted,
    "limit": AN2DL2024.time_limit,
}


@click.command()
@click.option("--name", help="The competition's name.")
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    metavar="FILE",
    help="The training file, an npz: says the images' size and the classes.",
)
@click.option("--height", type=int, metavar="PIXELS", help="Height of the images.")
@click.option("--width", type=int, metavar="PIXELS", help="Width of the images.")
@click.option("--channels", type=int, metavar="N", help="1 (grey), 3 (RGB) or 4. [default: 3]")
@click.option("--hidden", type=int, metavar="N", help="Number of hidden images, if known.")
@click.option("--classes", type=int, metavar="N", help="Number of classes.")
@click.option("--class-names", metavar="A,B,...", help="Their names, in the labels' order.")
@click.option(
    "--style",
    type=click.Choice(get_args(Style)),
    help="What model.py offers: a class, a function, or a class with fit. [default: class]",
)
@click.option("--class-name", metavar="NAME", help="The class. [default: Model]")
@click.option("--method", metavar="NAME", help="What predicts. [default: predict]")
@click.option(
    "--returns", type=click.Choice(get_args(Returns)), help="What it returns. [default: labels]"
)
@click.option("--csv-columns", metavar="ID,LABEL", help="Of --returns csv. [default: id,label]")
@click.option("--metric", type=click.Choice(METRICS), help="[default: accuracy]")
@click.option(
    "--corrupted/--not-corrupted",
    default=None,
    help="Whether the hidden images are noisy, blurred and so on. [default: they are]",
)
@click.option("--tensorflow", metavar="VERSION", help="The evaluator's TensorFlow, if known.")
@click.option("--keras", metavar="VERSION", help="The evaluator's Keras, if known.")
@click.option("--limit", type=float, metavar="SECONDS", help="Time limit. [default: 600]")
@click.option("--server", metavar="URL", help="The CodaBench server, if not codabench.org.")
@click.option("--id", "number", type=int, metavar="ID", help="The competition's number there.")
@click.option(
    "--out",
    type=options.PATH,
    default=contracts.FILE,
    show_default=True,
    metavar="FILE",
    help="A new file.",
)
def init(out: Path, data_file: Path | None, **given: Any) -> None:
    """Describe a competition in competition.toml.

    Every command that is called in its folder follows it: the images' channels, the classes, what
    model.py offers and returns, the metric, the limits, the evaluator's versions, the address. On a
    terminal, asks for what no option says.
    """
    if out.exists():
        raise InputError(f"{out} exists.", "Edit it; or give another name with --out.")
    known = {name: value for name, value in given.items() if value is not None}
    if data_file is not None:
        known = _look_into(data_file) | known
    if known.get("metric") in NEED_PROBABILITIES:
        known.setdefault("returns", "probabilities")
    if sys.stdin.isatty():
        _ask(known)
    for name in ("name", "height", "width", "classes"):
        if name not in known:
            raise click.UsageError(f"give --{name}{'' if name == 'name' else ', or --data FILE'}.")
    contract = competition_file.make_contract(_arrange(DEFAULTS | known), "what the options say")
    competition_file.write(contract, out)
    click.echo(out)
    output.hint("Next: cbtool train --data FILE, in this folder.")


def _look_into(path: Path) -> dict[str, Any]:
    """What the training file at `path` says of its competition."""
    hint = "Give the npz of the competition, with images and labels."
    with damage.guard(path, hint), arrays.open_arrays(path, hint) as archive:
        for key in ("images", "labels"):
            archive.require(key)
        shape = archive.read("images").shape
        found: dict[str, Any] = {}
        if len(shape) in (3, 4):
            found = {"height": shape[1], "width": shape[2]}
            found["channels"] = shape[3] if len(shape) == 4 else 1
        if "class_names" in archive.entries:
            names = [str(name) for name in archive.read("class_names").tolist()]
            found |= {"class_names": ",".join(names), "classes": len(names)}
        else:
            found["classes"] = int(archive.read("labels").max()) + 1
    return found


def _ask(known: dict[str, Any]) -> None:
    """Asks for what is not `known`, and adds it."""
    for name, question in QUESTIONS.items():
        if name in known:
            continue
        default = DEFAULTS.get(name)
        kind = int if name in ("height", "width", "classes") else type(default or "")
        known[name] = click.prompt(question, default=default, type=kind, err=True)
        if name == "metric" and known[name] in NEED_PROBABILITIES:
            known["returns"] = "probabilities"


def _arrange(known: dict[str, Any]) -> dict[str, Any]:
    """`known` as the tables of the file."""
    tables = {
        "images": ("height", "width", "channels", "hidden"),
        "classes": {"classes": "count"},
        "interface": ("style", "class_name", "method", "returns", "csv_columns"),
        "environment": ("tensorflow", "keras"),
        "limits": {"limit": "seconds"},
        "codabench": {"server": "server", "number": "competition"},
    }
    values = {key: known[key] for key in ("name", "metric", "corrupted")}
    for table, keys in tables.items():
        renamed = keys if isinstance(keys, dict) else {key: key for key in keys}
        values[table] = {new: known[key] for key, new in renamed.items() if key in known}
    if "csv_columns" in known:
        values["interface"]["csv_columns"] = known["csv_columns"].split(",")
    if "class_names" in known:
        values["classes"]["names"] = [name.strip() for name in known["class_names"].split(",")]
    return values
