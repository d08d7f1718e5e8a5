"""The examples run as they stand."""

import os
import subprocess
import sys

from tests.support.commands import ROOT


def test_the_six_calls_make_a_checked_zip_from_a_file(tmp_path):
    """In a process of its own, because that is what the reader of an example does with it: nothing
    that the tests import or set may be needed."""
    command = [sys.executable, ROOT / "examples" / "train_from_python.py", tmp_path]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=400
    )
    assert result.returncode == 0, result.stderr
    kept, accuracy, checks = result.stdout.splitlines()
    assert kept == "kept 160 of 187 images"
    assert accuracy.startswith("accuracy 0.") and "under corruptions" in accuracy
    assert (tmp_path / "submission.zip").exists() and (tmp_path / "run" / "training.json").exists()
    done, total = checks.split(": ")[1].split(" checks")[0].split(" of ")
    assert done == total
