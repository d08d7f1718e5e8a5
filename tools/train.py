"""`cbtool train`: from a training file to a trained run folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

import click

from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import CbtoolError, DivergenceError, InputError
from tools import contracts, live, notify, options, output, strategies
from tools.lazy import lazy_imports, quiet_tensorflow

with lazy_imports():
    from toolkit.core import config, records
    from toolkit.data import cleaning, dataset
    from toolkit.models import backend as keras_backend
    from toolkit.training import (
        batch_size,
        checkpointing,
        fit,
        history,
        prepare,
        run_folder,
        trainer,
    )
    from toolkit.training import tensorboard as boards


@dataclass(frozen=True)
class CallOptions:
    """What a call says that the configuration of a run does not hold: how its runs are trained, and
    what is printed of them. strategy: one of strategies.NAMES."""

    strategy: str
    tensorboard: bool
    as_json: bool


@click.command()
@options.preset("A named configuration; see the list above, or cbtool presets. [default: lite]")
@click.option(
    "--config",
    "config_file",
    type=options.PATH,
    metavar="FILE",
    help="A TOML file instead of a preset.",
)
@click.option(
    "--data", "data_file", type=options.PATH, metavar="FILE", help="The competition's npz."
)
@click.option(
    "--run",
    "folder",
    type=options.PATH,
    metavar="DIR",
    help="A new folder. [default: a new one in runs/]",
)
@click.option("--weights", metavar="imagenet|none|PATH", help="Initial weights of the backbone.")
@options.classes
@options.settings
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    help="Train this number of runs: DIR-seed0, DIR-seed1, ...",
)
@options.keras_backend("What Keras runs on; also by the variable KERAS_BACKEND.", "KERAS_BACKEND")
@click.option("--resume", type=options.PATH, metavar="DIR", help="Continue an interrupted run.")
@click.option(
    "--strategy",
    type=click.Choice(strategies.NAMES),
    default=strategies.NAMES[0],
    show_default=True,
    help=(
        "mirrored: every batch is split over all GPUs of this machine; multiworker: over those of "
        "all processes that run this command, on one host or several (JAX only)."
    ),
)
@click.option(
    "--tensorboard",
    is_flag=True,
    help="Write each epoch for TensorBoard, too: tensorboard --logdir DIR.",
)
@options.json
@notify.notified("training")
@options.quiet
def train(
    preset: str | None,
    config_file: Path | None,
    data_file: Path | None,
    folder: Path | None,
    weights: str | None,
    classes: int | None,
    settings: tuple[str, ...],
    seeds: int | None,
    backend: str,
    resume: Path | None,
    strategy: str,
    tensorboard: bool,
    as_json: bool,
) -> None:
    """Clean, split and train.

    Presets: lite (EfficientNet-Lite0 from ImageNet, for CPUs); champion-cpu (the same for 30
    epochs), champion-cpu-128 (10 more at 128 pixels, from its weights on), champion-cpu-lite2
    (EfficientNet-Lite2 at 128 pixels) and champion-cpu-lite2-160 (6 more at 160, from its weights
    on); lite-clean, lite-report and lite-winner (lite without augmentation, with the report's, and
    with the winners'); winner-convnext-xlarge (the winning recipe, for a GPU); tiny and demo (a
    small CNN, for first experiments); and the report's seven rows: report-base-unclean, report-vgg,
    report-convnext-base, report-convnext-large, report-convnext-xlarge-plain,
    report-convnext-xlarge, report-block-convnext-xlarge.

    --resume DIR continues an interrupted run after its last complete epoch. With
    train.deterministic=true, the weights are bit for bit those of a run without the interruption.
    """
    options.use_keras_backend(backend)
    call = CallOptions(strategy, tensorboard, as_json)
    if resume:
        if preset or config_file or folder or weights or classes or settings or seeds:
            raise click.UsageError(
                "--resume takes all that describes a run from its folder, but for --data."
            )
        resumed = _resume(resume, data_file, call)
        _report([resumed] if resumed else [], as_json)
        return
    if data_file is None:
        raise click.UsageError("Missing option '--data'.")
    if preset and config_file:
        raise click.UsageError("give --preset or --config, not both.")
    name = config_file.stem if config_file else preset or "lite"
    folder = folder or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    if weights is not None:
        settings = (*settings, f"model.weights={weights}")
    if classes is not None:
        settings = (*settings, f"data.classes={classes}")
    if seeds is None:
        trained = [_train(folder, preset, config_file, settings, data_file, call)]
    else:
        trained = []
        for number in range(seeds):
            seeded = folder.with_name(f"{folder.name}-seed{number}")
            one = (*settings, f"train.seed={number}")
            trained.append(_train(seeded, preset, config_file, one, data_file, call))
    _report([run for run in trained if run], as_json)


def _train(
    folder: Path,
    preset: str | None,
    config_file: Path | None,
    settings: tuple[str, ...],
    data_file: Path,
    call: CallOptions,
) -> run_folder.Run | None:
    """Trains into `folder`. Returns the run, or None where another process has it."""
    # What needs no import of Keras comes first. Of several processes, none makes the folder before
    # all have come as far as `strategies.distribute`.
    run_folder.require_new(folder)
    contract = contracts.current()
    if config_file:
        chosen = config.read(config_file, settings)
    else:
        chosen = config.preset(preset or "lite", settings)
    if contract != AN2DL2024:
        chosen = follow(contract, chosen, settings)
    samples = dataset.load(data_file, chosen.data.classes, contract)
    dataset.require_trainable(samples, data_file)
    with (
        strategies.distribute(call.strategy, chosen, folder, samples.fingerprint) as own_folder,
        resumable(folder) if own_folder == folder else nullcontext(),
        live.stages() as stages,
    ):
        run, found = train_run(
            own_folder, chosen, samples, data_file, stages, contract, call.tensorboard
        )
    if own_folder != folder:
        return None
    if not call.as_json:
        output.table(("what", "images"), cleaning.list_counts(found.reasons), title="Cleaning")
    return run


def follow(contract: Contract, chosen: config.Config, settings: tuple[str, ...]) -> config.Config:
    """`chosen` with the classes and the metric of `contract`, where `settings` and the preset say
    nothing of them."""
    data, training = chosen.data, chosen.train
    if not any(setting.startswith("data.classes=") for setting in settings):
        data = replace(data, classes=contract.classes)
    usual = checkpointing.MONITORS["accuracy"]
    named = any(setting.startswith("train.monitor=") for setting in settings)
    if training.monitor == usual and not named:
        training = replace(training, monitor=checkpointing.choose_monitor(contract))
    return replace(chosen, data=data, train=training)


def _resume(folder: Path, data_file: Path | None, call: CallOptions) -> run_folder.Run | None:
    """Continues the run in `folder`. Returns it, or None where another process has it."""
    run = run_folder.open_unfinished(folder)
    chosen = config.read(run.config)
    contract = run_folder.read_contract(run)
    path = data_file or run_folder.training_file(run)
    samples = dataset.load(path, chosen.data.classes, contract)
    state = checkpointing.read_state(run.state)
    description = f"{samples.fingerprint} {state.phase} {state.epochs}"
    with (
        strategies.distribute(call.strategy, chosen, folder, description) as own_folder,
        resumable(folder) if own_folder == folder else nullcontext(),
        live.stages() as stages,
        stages.stage("train") as progress,
    ):
        if own_folder != folder:
            # Before the first one goes on: its next epoch needs this process.
            shutil.copytree(folder, own_folder, ignore=shutil.ignore_patterns(".*", "*.lock*"))
        report = report_epochs(stages, chosen, own_folder if call.tensorboard else None)
        fit.resume(run_folder.Run(own_folder), samples, progress, report)
    return run if own_folder == folder else None


@contextmanager
def resumable(folder: Path, command: str | None = None) -> Iterator[None]:
    """Says how to go on where the training into `folder` ends before its time: by a signal, on a
    full disk, out of memory. command: what continues it; by default, `cbtool train --resume`."""
    keras_name = os.environ.get("KERAS_BACKEND", "tensorflow")
    where = "" if keras_name == "tensorflow" else f" --backend {keras_name}"
    command = command or f"cbtool train{where} --resume {folder}"
    began_here = not folder.exists()
    try:
        yield
    except DivergenceError:  # it would diverge again
        raise
    except (KeyboardInterrupt, CbtoolError, OSError):
        run = run_folder.Run(folder)
        # Not where the folder was refused because another run is in it.
        if run.split.exists() and (began_here or run.state.exists()):
            output.hint(f"To continue after the last whole epoch: {command}")
        raise


def train_run(
    folder: Path,
    chosen: config.Config,
    samples: dataset.Samples,
    data_file: Path,
    stages: live.Stages,
    contract: Contract = AN2DL2024,
    tensorboard: bool = False,
) -> tuple[run_folder.Run, cleaning.Cleaning]:
    """Cleans, splits and trains, a stage at a time. Returns the run and what cleaning found."""
    # First what fails at once: cleaning a large file takes a minute.
    run_folder.require_new(folder)
    if chosen.train.batch_size == "auto":
        with stages.stage("batch size") as progress:
            chosen = batch_size.settle(chosen, samples, progress)
        stages.line(f"Batches of {chosen.train.batch_size} images fit into memory.")
    with stages.stage("clean"):
        keras_backend.require(os.environ["KERAS_BACKEND"])
        with quiet_tensorflow():
            network = trainer.build_seeded_network(chosen, samples)
        prepared = prepare.prepare(samples, chosen)
    with stages.stage("train") as progress:
        report = report_epochs(stages, chosen, folder if tensorboard else None)
        run = fit.fit(prepared, chosen, folder, data_file, network, progress, contract, report)
    return run, prepared.cleaning


def report_epochs(
    stages: live.Stages, chosen: config.Config, folder: Path | None = None
) -> Callable[[dict[str, Any]], None]:
    """What prints a line for each epoch of a training by `chosen`. folder: of the run, where it is
    to be written for TensorBoard, too."""
    writer = None
    if folder is not None:
        starts = tuple(accumulate((phase.epochs for phase in chosen.train.phases), initial=0))
        writer = boards.TensorBoardWriter(folder / boards.FOLDER, starts)

    def report(row: dict[str, Any]) -> None:
        nonlocal writer
        stages.line(describe_epoch(row, chosen))
        try:
            if writer:
                writer(row)
        except InputError as error:  # the training is worth more than its copy in another form
            stages.line(f"No more for TensorBoard: {error.sentence}")
            writer = None

    return report


def describe_epoch(row: dict[str, Any], chosen: config.Config) -> str:
    """The `row` of the history on a line: where the training stands, what it measured, and how long
    it will go on if no phase ends early."""
    phases = chosen.train.phases
    phase = phases[row["phase"]]
    left = phase.epochs - row["epoch"] - 1
    left += sum(later.epochs for later in phases[row["phase"] + 1 :])
    measured = (
        f"phase {row['phase'] + 1} of {len(phases)}, epoch {row['epoch'] + 1} of {phase.epochs}: "
        f"loss {row['loss']:.4f}, validation {row['val_accuracy']:.4f}, corrupted "
        f"{row['val_shift_accuracy']:.4f}"
    )
    if chosen.train.monitor not in ("val_accuracy", "val_shift_accuracy"):
        measured += f", {chosen.train.monitor} {row['monitored']:.4f}"
    kept = ", kept" if row["best"] else ""
    rate = f"{row['learning_rate']:.1e}"
    time = output.duration(row["seconds"])
    if left:
        time += f", about {output.duration(left * row['seconds'])} left"
    return f"{measured}{kept}; learning rate {rate}; {time}"


def _report(runs: list[run_folder.Run], as_json: bool) -> None:
    """Prints what the trainings of `runs` came to; nothing where other processes have them."""
    if not runs:
        return
    if as_json:
        output.as_json({"runs": [_describe(run) for run in runs]})
        return
    for run in runs:
        print_history(run)
        click.echo(run.folder)
    output.hint(f"Next: cbtool evaluate --run {runs[-1].folder}")


def _describe(run: run_folder.Run) -> dict[str, Any]:
    """A trained run, ready for JSON: its summary, and its history."""
    epochs = [vars(epoch) for epoch in history.read_history(run)]
    summary_of_training = records.read(dict[str, Any], run.finished, "Train the run again.")
    return {"run": str(run.folder), **summary_of_training, "history": epochs}


def print_history(run: run_folder.Run) -> None:
    """Prints the history of `run`, one line per epoch."""
    measures = ("loss", "accuracy", "val_loss", "val_accuracy", "val_shift_accuracy")
    lines = [
        (
            row.phase + 1,
            row.epoch + 1,
            round(row.seconds),
            *(getattr(row, measure) for measure in measures),
            "best" if row.best else "",
        )
        for row in history.read_history(run)
    ]
    output.table(
        ("phase", "epoch", "seconds", *measures, "kept"),
        lines,
        title="Training",
        spare=("seconds", "accuracy", "val_loss", "loss"),
    )
