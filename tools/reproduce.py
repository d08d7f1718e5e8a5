"""`cbtool reproduce`: train a preset again, and compare its scores with those that it states."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.core.contract import Contract
from toolkit.core.errors import InputError
from tools import completion, contracts, live, notify, options, output, train
from tools.evaluate import print_headline
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.core import presets as heads
    from toolkit.data import dataset
    from toolkit.evaluation import evaluate as evaluation
    from toolkit.evaluation import metrics, shift_benchmark
    from toolkit.export import package
    from toolkit.report import page, plots
    from toolkit.training import fit, run_folder


@click.command()
@click.argument("name", metavar="PRESET", shell_complete=completion.presets)
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    required=True,
    metavar="FILE",
    help="The competition's npz, on which the stated scores were measured.",
)
@click.option(
    "--weights",
    metavar="imagenet|none|PATH",
    help="Initial weights of the backbone, where the preset's command names some.",
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="DIR",
    help="The folder of the run. [default: runs/PRESET]",
)
@options.json
@notify.notified("training")
@options.quiet
def reproduce(
    name: str, data_file: Path, weights: str | None, out: Path | None, as_json: bool
) -> int:
    """Train a preset again; compare its scores.

    Trains PRESET, evaluates it, writes DIR/submission.zip, and compares the scores with those that
    the preset's file states (cbtool presets PRESET). The same command continues an interrupted
    training. Exits with 1 when a stated score lies outside of the 95 % interval of the measured
    one.
    """
    chosen = config.preset(name, () if weights is None else (f"model.weights={weights}",))
    stated = _read_stated(name)
    out = out or Path("runs") / name
    contract = contracts.current()
    samples = dataset.load(data_file, chosen.data.classes, contract)
    dataset.require_trainable(samples, data_file)
    with live.stages() as stages:
        with train.resumable(out, "the same command"):
            run = _train(out, chosen, samples, data_file, stages, contract)
        with stages.stage("evaluate") as progress:
            evaluated = evaluation.evaluate(run, samples, progress=progress)
            plots.confusion_pictures(evaluated.confusions, samples.class_names, run.folder)
        with stages.stage("build"):
            package.build([run], out / "submission.zip", contract=contract)
        with stages.stage("report"):
            page.write_report(run, samples)
    result = evaluated.parts["validation"].result
    measured = _take_measured(result)
    rows = [
        {
            "score": score,
            "stated": value,
            "measured": measured[score].value,
            "low": measured[score].low,
            "high": measured[score].high,
            "agrees": measured[score].low <= value <= measured[score].high,
        }
        for score, value in stated.items()
    ]
    agree = all(row["agrees"] for row in rows)
    if as_json:
        output.as_json({"preset": name, "run": str(run.folder), "scores": rows, "agree": agree})
        return 0 if agree else 1
    print_headline("validation part", result, samples.class_names)
    output.table(
        (result.metric, "stated", "measured", "95 % interval", ""),
        [
            (
                row["score"],
                row["stated"],
                row["measured"],
                f"{row['low']:.4f} to {row['high']:.4f}",
                "agrees" if row["agrees"] else "DIFFERS",
            )
            for row in rows
        ],
        title=f"{name}, as its file states it and as it was trained here",
    )
    output.hint(f"Next: cbtool validate {out / 'submission.zip'}")
    return 0 if agree else 1


def _read_stated(name: str) -> dict[str, float]:
    """The scores that the file of the preset `name` states. Raises InputError where it has none."""
    (head,) = (each for each in heads.list_heads() if each.name == name)
    stated = heads.read_scores(head)
    if not stated:
        raise InputError(
            f"the preset {name} states no measured scores.",
            f"Train it without a comparison: cbtool train --preset {name} --data FILE.",
        )
    return stated


def _train(
    folder: Path,
    chosen: config.Config,
    samples: dataset.Samples,
    data_file: Path,
    stages: live.Stages,
    contract: Contract,
) -> run_folder.Run:
    """The run in `folder`: trained now, or continued, or as it is where it is trained to its end.
    Raises InputError where another configuration was trained there."""
    run = run_folder.Run(folder)
    if not run.config.exists():
        return train.train_run(folder, chosen, samples, data_file, stages, contract)[0]
    if config.read(run.config) != chosen:
        raise InputError(
            f"{folder} holds a run of another configuration.",
            "Choose another folder with --out, or remove that one.",
        )
    if run.finished.exists():
        return run_folder.open_finished(folder)
    unfinished = run_folder.open_unfinished(folder)
    with stages.stage("train") as progress:
        fit.resume(unfinished, samples, progress, train.report_epochs(stages, chosen))
    return unfinished


def _take_measured(result: shift_benchmark.BenchmarkResult) -> dict[str, metrics.Estimate]:
    """The three scores of `result`, by the names that presets state them under."""
    return {"clean": result.clean, "shift": result.shift, "estimated": result.estimate.score}
