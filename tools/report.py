"""`cbtool report`: the page of a run, and of several runs side by side."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.core.errors import InputError
from tools import live, options, output, recent
from tools.evaluate import load_data
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.report import comparison, contents, page
    from toolkit.training import run_folder


@click.command()
@options.run
@options.training_file
@click.option(
    "--compare",
    "folders",
    type=options.PATH,
    multiple=True,
    metavar="DIR",
    help="Runs to put side by side, two or more: --compare A --compare B.",
)
@click.option(
    "--out",
    type=options.PATH,
    metavar="FILE",
    help="The page. [default: report.html in the run folder; comparison.html for --compare]",
)
@options.quiet
def report(
    folder: Path | None, data_file: Path | None, folders: tuple[Path, ...], out: Path | None
) -> None:
    """Write a page about a run, or compare runs.

    One HTML file with all that is known of the run: scores and their intervals, corruptions,
    classes, the worst mistakes, confidence, training, augmentation, cleaning, zips, recipe.
    `evaluate` writes it, too. It needs no network and loads nothing.

    With --compare, a page of several runs: scores, paired differences from the first run, training
    curves, and the keys in which they differ.
    """
    if folders:
        if folder is not None or data_file is not None:
            raise click.UsageError("give either --compare or --run and --data.")
        if len(folders) < 2:
            raise click.UsageError("--compare needs two runs or more.")
        out = out or Path("comparison.html")
        runs = [run_folder.open_run(each) for each in folders]
        with live.stages() as stages, stages.stage("report"):
            comparison.write_page([contents.read(run) for run in runs], out)
    else:
        run = run_folder.open_run(recent.choose_run(folder))
        out = out or run.folder / page.FILE
        _write_page(run, data_file, out)
    click.echo(out)


def _write_page(run: run_folder.Run, data_file: Path | None, out: Path) -> None:
    """Writes the page of `run`; without pictures, which a person is told, where its training file
    is not there or is another one now. Raises InputError where `data_file` is named, and is not
    that of the run."""
    samples = None
    with live.stages() as stages, stages.stage("report") as progress:
        known = contents.read(run)
        try:
            samples = load_data(run, data_file)
            run_folder.require_data(run, samples)
        except InputError as error:
            samples = None
            if data_file is not None:
                raise
            output.hint(f"No pictures of images: {error.sentence} Name it with --data FILE.")
        page.write_run_page(known.with_samples(samples), out, progress)
