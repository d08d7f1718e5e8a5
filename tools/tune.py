"""`cbtool tune`: search for good settings within some hours."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from shlex import quote
from typing import Any

import click

from toolkit.core.contract import AN2DL2024
from toolkit.core.errors import InputError, LimitError
from tools import contracts, live, notify, options, output
from tools.lazy import lazy_imports
from tools.train import follow

with lazy_imports():
    from toolkit.core import config
    from toolkit.data import dataset
    from toolkit.training import prepare, tune_objective, tune_space, tune_study
    from toolkit.training import tune as tuning


@click.command()
@options.preset("The preset to improve. [default: lite]")
@click.option(
    "--config",
    "config_file",
    type=options.PATH,
    metavar="FILE",
    help="A TOML file instead of a preset; it needs --space.",
)
@click.option(
    "--space",
    "space_file",
    type=options.PATH,
    metavar="FILE",
    help="The keys to search, and their values. [default: the preset's]",
)
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    required=True,
    metavar="FILE",
    help="The competition's npz.",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    required=True,
    metavar="H",
    help="Time in which trials are trained, all calls for this study together.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), metavar="N", help="End after this number of trials."
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="The folder of the study; with a study in it, that one goes on. [default: tune/PRESET]",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    metavar="K",
    help="Keep the weights of the best K trials.",
)
@click.option(
    "--pruner",
    type=click.Choice(["median", "hyperband", "none"]),
    default="median",
    show_default=True,
    help="How bad trials are ended early.",
)
@click.option(
    "--storage",
    metavar="URL",
    help="A database for several machines, e.g. postgresql://HOST/NAME. [default: a file in --out]",
)
@options.settings
@options.json
@notify.notified("search")
@options.quiet
def tune(
    preset: str | None,
    config_file: Path | None,
    space_file: Path | None,
    data_file: Path,
    hours: float,
    trials: int | None,
    out: Path | None,
    keep: int,
    pruner: str,
    storage: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Search for good settings within some hours.

    Trains trials with values from a space of settings, each in a run folder of its own, and ends
    those early that are worse than others at the same epoch. All trials have one seed and one
    split. Writes best.toml, for `cbtool train --config`.

    The same command continues an interrupted study. Several processes of the same command share
    the work; with --storage, on several machines. Starts no trial that could not end in time. Needs
    Optuna: pip install 'cbtool[tune]'. Exits with 4 when no trial has ended in time.
    """
    if importlib.util.find_spec("optuna") is None:
        raise InputError("Optuna is not installed.", "pip install 'cbtool[tune]'.")
    if preset and config_file:
        raise click.UsageError("give --preset or --config, not both.")
    if config_file and not space_file:
        raise click.UsageError("--config needs --space FILE.")
    name = config_file.stem if config_file else preset or "lite"
    out = out or Path("tune") / name
    contract = contracts.current()

    def build(more: tuple[str, ...]) -> config.Config:
        both = (*settings, *more)
        if config_file:
            chosen = config.read(config_file, both)
        else:
            chosen = config.preset(preset or "lite", both)
        return chosen if contract == AN2DL2024 else follow(contract, chosen, both)

    base = build(())
    space = tune_space.read(space_file) if space_file else tune_space.of_preset(name)
    tune_space.require_valid(space, build)
    samples = dataset.load(data_file, base.data.classes, contract)
    dataset.require_trainable(samples, data_file)
    plan = tuning.Plan(
        folder=out,
        space=space,
        build=build,
        fingerprint=samples.fingerprint,
        hours=hours,
        trials=trials,
        keep=keep,
        pruner=pruner,
        storage=storage,
        command=_describe_command(name, config_file, space_file, data_file, hours, settings),
    )
    study = tuning.open_study(plan)
    try:
        with live.stages() as stages:
            with stages.stage("clean"):
                prepared = prepare.prepare(samples, base)
            with stages.stage("tune") as progress:
                objective = tune_objective.make_objective(prepared, data_file, contract)
                tuning.search(plan, study, objective, progress)
    except KeyboardInterrupt:
        output.hint("The trials are kept: the same command continues.")
        raise
    _show(study, out, base.train.monitor, as_json)


def _describe_command(
    preset: str,
    config_file: Path | None,
    space_file: Path | None,
    data_file: Path,
    hours: float,
    settings: tuple[str, ...],
) -> str:
    """The command with what decides its result; not --storage, which may hold a password."""
    parts = ["cbtool tune"]
    parts.append(f"--config {quote(str(config_file))}" if config_file else f"--preset {preset}")
    if space_file:
        parts.append(f"--space {quote(str(space_file))}")
    parts += [f"--data {quote(os.path.basename(data_file))}", f"--hours {hours:g}"]
    parts += [f"--set {quote(setting)}" for setting in settings]
    return " ".join(parts)


def _show(study: tune_study.Study, folder: Path, monitor: str, as_json: bool) -> None:
    rows = study.rows()
    ranked = study.rank()
    best = ranked[0].number if ranked else None
    path = folder / tuning.BEST
    if as_json:
        output.as_json(
            {
                "folder": str(folder),
                "monitor": monitor,
                "seconds": round(study.spent_seconds(), 1),
                "best": best,
                "config": str(path) if ranked else None,
                "trials": [vars(row) for row in rows],
            }
        )
    else:
        _print_table(rows, best, monitor, str(folder))
    if best is None:
        raise LimitError(
            f"no trial in {folder} has come to its end.",
            "Give more --hours: the same command continues; or train fewer epochs with --set.",
        )
    output.hint(
        f"Next, for a score that is not the best of many: cbtool train --config {path} "
        "--data FILE --set train.seed=1; then cbtool evaluate"
    )


def _print_table(rows: list[tune_study.Row], best: int | None, monitor: str, folder: str) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row.settings))
    cells: list[list[Any]] = []
    for row in rows:
        values = [_format(row.settings.get(key)) for key in keys]
        state = "best" if row.number == best else row.reason or row.state
        value = "" if row.value is None else row.value
        cells.append([row.number, value, row.epochs, round(row.seconds), *values, state])
    output.table(("trial", monitor, "epochs", "seconds", *keys, "state"), cells, title=folder)


def _format(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
