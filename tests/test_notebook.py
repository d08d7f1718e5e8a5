"""examples/colab.ipynb runs as it stands, apart from what only Colab has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tools import cli

NOTEBOOK = ROOT / "examples" / "colab.ipynb"
# Of cells: setup needs Colab or a card; parameters are replaced by a test's own.
SETUP, PARAMETERS = "setup", "parameters"


def read_cells() -> list[tuple[str, list[str]]]:
    """The code of each cell, with its tags."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [
        ("".join(cell["source"]), cell["metadata"].get("tags", []))
        for cell in cells
        if cell["cell_type"] == "code"
    ]


def run_cell(source: str, names: dict, environment: dict[str, str]) -> str:
    """Runs a cell as IPython does, where a line that begins with ! is a command with names in
    braces; returns what the commands printed."""
    printed, lines = "", []
    for line in source.splitlines():
        if not line.startswith("!"):
            lines.append(line)
            continue
        exec("\n".join(lines), names)
        lines = []
        result = subprocess.run(
            line[1:].format(**names), shell=True, capture_output=True, text=True, env=environment
        )
        assert result.returncode == 0, result.stderr
        printed += result.stdout
    exec("\n".join(lines), names)
    return printed


def test_every_command_exists():
    commands = [
        line.split()[1]
        for source, _ in read_cells()
        for line in source.splitlines()
        if line.startswith("!cbtool")
    ]
    assert "{command}" in commands  # train, or what else there is to do
    assert {"evaluate", "build", "validate", "time"} == set(commands) - {"{command}"}
    assert set(commands) - {"{command}"} <= set(cli.COMMANDS)


@pytest.mark.slow
def test_it_trains_resumes_and_makes_a_checked_zip(training_file, tmp_path):
    """Processes, as in a notebook; with the preset tiny. Run again, the finished run is left alone;
    the training of an unfinished one goes on."""
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
    }
    names: dict = {}
    parameters, *cells = [(source, tags) for source, tags in read_cells() if SETUP not in tags]
    assert PARAMETERS in parameters[1]
    exec(parameters[0], names)
    names |= {"FOLDER": str(tmp_path), "DATA": str(training_file), "PRESET": "tiny"}
    train, *others = [source for source, _ in cells]
    run_cell(train, names, environment)
    run = names["RUN"]
    assert (run / "training.json").exists()
    assert "tiny" in run_cell(train, names, environment)
    # As a disconnect leaves it: prepared, and without a summary of the training.
    (run / "training.json").unlink()
    run_cell(train, names, environment)
    assert (run / "training.json").exists() and names["command"].startswith("train --resume")
    printed = "".join(run_cell(source, names, environment) for source in others)
    assert "projected for 3,421" in printed and (tmp_path / "submission.zip").exists()
