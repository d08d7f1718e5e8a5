"""What commands take where neither run nor zip is named; each stops at the next mistake, so that
nothing is trained or run."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support.commands import OLD, assert_one_sentence, in_process
from toolkit.core import locks
from toolkit.export import zip_ledger
from toolkit.training.run_folder import Run


def add_run(folder: Path, name: str, ended: int | None) -> Run:
    """A run whose training ended at that time, in seconds since 1970, or never; without its
    training file."""
    run = Run(folder / "runs" / name)
    shutil.copytree(OLD / "runs" / "run", run.folder)
    if ended is None:
        run.finished.unlink()
    else:
        os.utime(run.finished, (ended, ended))
    return run


def add_zip(folder: Path, name: str) -> Path:
    """A zip in the ledger that no reader takes, and that is told apart by its content."""
    path = folder / name
    path.write_bytes(f"no zip, {name}".encode())
    zip_ledger.note_build([Run(folder / "runs" / "run")], path, zip_ledger.digest(path))
    return path


ZIP_COMMANDS = (
    ("validate",),
    ("time", "--images", 10),
    ("score", "--data", OLD / "cells.npz"),
    ("upload", "--competition", 1),
)


@pytest.mark.parametrize("command", ["evaluate", "build"])
def test_the_latest_complete_run_is_taken_and_named(command, tmp_path):
    add_run(tmp_path, "a-last", 3000)
    add_run(tmp_path, "b-first", 1000)
    add_run(tmp_path, "c-interrupted", None)
    live = add_run(tmp_path, "d-live", 4000)
    missing = tmp_path / "missing.npz"
    with locks.hold(live.lock, "is training", "Wait."):
        result = in_process(command, "--data", missing, cwd=tmp_path)
        assert "Run: runs/a-last, the latest complete one" in result.stderr
        assert_one_sentence(result, "missing.npz")
    named = in_process(command, "--run", "runs/b-first", "--data", missing, cwd=tmp_path)
    assert "latest complete one" not in named.stderr


def test_without_a_complete_run_the_error_says_which_one_is_live(tmp_path):
    assert_one_sentence(in_process("evaluate", cwd=tmp_path), "there is no complete run in runs.")
    live = add_run(tmp_path, "live", None)
    with locks.hold(live.lock, "is training", "Wait."):
        result = in_process("build", cwd=tmp_path)
    assert_one_sentence(result, "runs/live is still training")


@pytest.mark.parametrize("command", ZIP_COMMANDS, ids=lambda command: command[0])
def test_the_last_zip_is_taken_and_named(command, tmp_path):
    add_zip(tmp_path, "a.zip")
    add_zip(tmp_path, "b.zip")
    (tmp_path / "home").mkdir()
    env = os.environ | {"HOME": str(tmp_path / "home")}  # nobody is logged in
    result = in_process(*command, cwd=tmp_path, env=env)
    assert "Zip: b.zip, the last one that was built" in result.stderr
    assert result.returncode != 0  # it is no zip
    elsewhere = in_process(*command, "a.zip", cwd=tmp_path, env=env)
    assert "last one" not in elsewhere.stderr


def test_rehearse_takes_it_too(tmp_path):
    add_zip(tmp_path, "a.zip")
    result = in_process("rehearse", "--bundle", tmp_path / "none", cwd=tmp_path)
    assert "Zip: a.zip" in result.stderr and result.returncode == 2


def test_a_zip_that_has_gone_or_was_changed_is_not_taken(tmp_path):
    assert_one_sentence(in_process("validate", cwd=tmp_path), "no zip was built from runs in runs")
    path = add_zip(tmp_path, "a.zip")
    path.write_bytes(b"another")
    assert_one_sentence(in_process("validate", cwd=tmp_path), "a.zip, was changed since")
    path.unlink()
    assert_one_sentence(in_process("validate", cwd=tmp_path), "a.zip, is not there any more")


def test_a_bare_upload_without_a_competition_is_wrong_use(tmp_path):
    result = in_process("upload", cwd=tmp_path)
    assert result.returncode == 2 and "give ZIP and --competition ID" in result.stderr
