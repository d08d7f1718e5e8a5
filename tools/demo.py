"""`cbtool demo`: all stages on synthetic cells, in about a minute."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from toolkit.core.contract import AN2DL2024
from toolkit.core.errors import InputError
from tools import live, options, output, score, train
from tools import time as timing_command
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import config
    from toolkit.data import dataset, synthetic
    from toolkit.evaluation import evaluate as evaluation
    from toolkit.export import package
    from toolkit.report import page, plots
    from toolkit.runtime import checks, timing

PER_CLASS = 80  # drawn cells a class
SIDE = 32  # pixels of the drawn cells: small, so that a CPU trains in seconds
HELD_OUT_SEED = 1  # the final score's cells are drawn apart from the training's


@click.command()
@click.option(
    "--out",
    type=options.PATH,
    default=Path("demo"),
    show_default=True,
    metavar="DIR",
    help="A new folder for all files.",
)
@options.quiet
def demo(out: Path) -> int:
    """Run all stages on synthetic cells.

    The stages are clean, train, evaluate, build, validate, time and score. The command needs no
    data and no download: it draws the cells. The score says nothing about real cells.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is not an empty folder.", "Remove it, or choose another folder with --out."
        )
    data_file, zip_file = out / "training_set.npz", out / "submission.zip"
    with live.stages() as stages:
        with stages.stage("draw"):
            samples = synthetic.draw(PER_CLASS, side=SIDE)
            unseen = synthetic.draw(PER_CLASS // 3, HELD_OUT_SEED, SIDE)
            is_cell = unseen.ids < len(synthetic.KINDS) * (PER_CLASS // 3)  # pictures come after
            cells = unseen.take(is_cell.nonzero()[0])
            dataset.save(samples, data_file)
        run, cleaning = train.train_run(
            out / "run", config.preset("demo"), samples, data_file, stages
        )
        with stages.stage("evaluate") as progress:
            evaluated = evaluation.evaluate(run, samples, progress=progress)
            plots.confusion_pictures(evaluated.confusions, samples.class_names, run.folder)
            result = evaluated.parts["validation"].result
        with stages.stage("build"):
            package.build([run], zip_file)
        with stages.stage("report"):
            page.write_report(run, samples)
        with stages.stage("validate"):
            found = checks.validate(zip_file)
        with stages.stage("time"):
            assert AN2DL2024.hidden_images is not None
            measured = timing.measure(zip_file, AN2DL2024.hidden_images)
        with stages.stage("score"):
            limit = AN2DL2024.time_limit
            labels = score.predict(zip_file, {"cells": cells}, sys.executable, limit)["cells"]
    times = timing_command.rows(measured, limit)
    failed = [check.name for check in found if check.status == "failed"]
    output.table(
        ("stage", "result"),
        [
            ("clean", f"{int((~cleaning.kept).sum())} of {len(samples):,} images dropped"),
            ("train", f"{len(run.history.read_text().splitlines()) - 1} epochs"),
            (
                "evaluate",
                f"accuracy {result.clean.value:.3f} on held-out cells, {result.shift.value:.3f} "
                "under corruptions",
            ),
            ("build", f"{zip_file} ({zip_file.stat().st_size / 1e6:.1f} MB)"),
            (
                "validate",
                f"failed: {', '.join(failed)}" if failed else f"{len(found)} checks passed",
            ),
            *[(f"time: {name}", text) for name, text in times],
            (
                "score",
                f"accuracy {(labels == cells.labels).mean():.3f} on {len(cells)} new "
                "synthetic cells",
            ),
        ],
        title="All stages, on synthetic cells",
    )
    click.echo(f"Submission: {zip_file.resolve()}")
    click.echo(f"Report: {(run.folder / page.FILE).resolve()}, a page to open in a browser")
    output.hint(
        "Next, with real data: cbtool train --preset lite --data training_set.npz --run runs/first"
    )
    return 1 if failed else 0
