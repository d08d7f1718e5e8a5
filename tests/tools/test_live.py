"""What is shown while a command runs."""

import time

import pytest

from tools import live


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(live, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.01)


def wait_for(text, capsys):
    """What is shown until `text` is."""
    shown = ""
    deadline = time.monotonic() + 20
    while text not in shown:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        shown += capsys.readouterr().err
    return shown


def test_work_that_reports_nothing_is_no_silence(capsys):
    with live.stages() as stages, stages.stage("clean"):
        assert wait_for("clean: 0 s so far", capsys).startswith("clean ...\n")
    time.sleep(0.1)
    assert capsys.readouterr().err.splitlines()[-1].startswith("clean: done in ")


def test_work_that_reports_seldom_is_no_silence(capsys):
    with live.stages() as stages, stages.stage("train") as progress:
        progress(0, 4, "")
        progress(1, 4, "phase 1")
        shown = wait_for("left, phase 1\n", capsys)
        assert wait_for("left, phase 1\n", capsys) and "train: 25 %, about 0 s left" in shown


def test_after_an_error_nothing_more_is_shown(capsys):
    with pytest.raises(ValueError), live.stages() as stages, stages.stage("train"):
        raise ValueError
    time.sleep(0.1)
    assert capsys.readouterr().err == "train ...\n"
