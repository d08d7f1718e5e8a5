"""`cbtool runs`: the experiments side by side."""

from pathlib import Path

import click

from tools import options, output


@click.command()
@click.argument("folder", type=options.PATH, default="runs")
@click.option("--csv", "csv_file", type=options.PATH, metavar="FILE", help="Write the table as CSV, too.")
@options.json
def runs(folder: Path, csv_file: Path | None, as_json: bool) -> None:
    """Compare the runs in FOLDER.

    The columns of the report's Table 1: backbone, augmentation, fine-tuning, and the scores of the test part, with
    the accuracy on its shifted copy; a run that is not evaluated yet shows none. [default FOLDER: runs]
    """
    from toolkit import ledger
    from toolkit.files import write_text

    table = ledger.rows(folder)
    if csv_file:
        write_text(csv_file, ledger.as_csv(table))
    if as_json:
        output.as_json({"runs": [vars(row) for row in table]})
        return
    cells = [["" if value is None else value for value in vars(row).values()] for row in table]
    output.table(tuple(column.replace("_", "-") for column in ledger.COLUMNS), cells, title=str(folder))
