"""`cbtool build`: from a run to the zip that CodaBench takes."""

from pathlib import Path

import click

from tools import options, output


@click.command()
@options.run
@click.option(
    "--out",
    type=options.PATH,
    default=Path("submission.zip"),
    show_default=True,
    metavar="FILE",
    help="The zip to write.",
)
def build(folder: Path, out: Path) -> None:
    """Write a run's submission.zip.

    It holds model.py, manifest.json and weights.h5, flat and stored. The same run gives the same bytes.
    """
    from toolkit import runs

    run = runs.open_finished(folder)
    with output.quiet_tensorflow():
        from toolkit import package
    with output.stages() as stages, stages.stage("build"):
        digest = package.write_zip(package.export_run(run), out)
    output.table(("", ""), [("zip", str(out)), ("bytes", out.stat().st_size), ("sha256", digest)])
    output.hint(f"Next: cbtool validate {out}")
