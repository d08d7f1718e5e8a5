"""What a command is about where a person does not name it: the latest run, the last zip."""

from __future__ import annotations

from pathlib import Path

from tools import output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.export import zip_ledger
    from toolkit.training import run_folder

RUNS = Path("runs")


def choose_run(folder: Path | None) -> Path:
    """`folder`, or else the latest complete run in RUNS, which a person is told. Raises InputError
    when there is none."""
    if folder is not None:
        return folder
    run = run_folder.find_latest(RUNS)
    output.hint(f"Run: {run.folder}, the latest complete one (--run names another).")
    return run.folder


def has_no_runs() -> bool:
    """Whether nothing was trained in RUNS, not even in part."""
    return not any(RUNS.glob("*/config.toml"))


def choose_zip(file: Path | None, folder: Path = RUNS) -> Path:
    """`file`, or else the last zip that was built from the runs in `folder`, which a person is
    told. Raises InputError when there is none, or when it has gone or was changed."""
    if file is not None:
        return file
    found = zip_ledger.find_last(folder)
    output.hint(f"Zip: {found}, the last one that was built (an argument names another).")
    return found
