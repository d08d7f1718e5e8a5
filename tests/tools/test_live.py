"""What is shown while a command runs."""

import builtins
import sys
import time
from types import SimpleNamespace

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


def test_the_time_left_does_not_count_what_came_before_the_work(capsys, monkeypatch):
    """As where a graph is built for minutes before the first step: what is left goes at the speed
    of the steps."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(live.time, "monotonic", lambda: clock.now)
    monkeypatch.setattr(live, "SILENT_SECONDS", 4.0)
    stage = live.PlainStage("train")
    for clock.now, done in ((300.0, 1), (310.0, 11), (320.0, 21)):
        stage.report(done, 100)
    shown = capsys.readouterr().err.splitlines()
    assert shown == ["train: 1 %", "train: 11 %, about 89 s left", "train: 21 %, about 79 s left"]
    # It becomes slower: after a while the estimate says so.
    for step in range(1, 12):
        clock.now = 320.0 + 10 * step
        stage.report(20 + step, 100)
    assert capsys.readouterr().err.splitlines()[-1] == "train: 31 %, about 12 min left"


def test_a_line_of_the_work_is_no_silence(capsys, monkeypatch):
    monkeypatch.setattr(live, "SILENT_SECONDS", 1.0)
    with live.stages() as stages, stages.stage("train") as progress:
        for epoch in range(6):
            time.sleep(0.25)
            stages.line(f"epoch {epoch}")
            progress(epoch, 6, "")
    shown = capsys.readouterr().err.splitlines()
    assert shown[1:-1] == [f"epoch {epoch}" for epoch in range(6)]


def test_on_a_terminal_no_time_is_shown_as_left_that_is_not_known():
    """The time that has passed, without more, was followed by the word left."""
    column = live.terminal_bars.TimeLeft()
    clock = SimpleNamespace(now=0.0)
    bars = live.progress.Progress(get_time=lambda: clock.now)
    stage = bars.add_task("train", total=None)
    clock.now = 7.0
    assert column.render(bars.tasks[0]).plain == ""
    for clock.now in (8.0, 9.0, 10.0):
        bars.update(stage, total=100, advance=10)
    assert column.render(bars.tasks[0]).plain == "about 7 s left"
    bars.update(stage, completed=100)
    assert column.render(bars.tasks[0]).plain == ""


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_goes_on_after_a_package_has_replaced_the_import(is_terminal, monkeypatch, capsys):
    """As etils does, in all threads, while keras-cv is loaded: the thread that draws the bars ended
    with a traceback."""
    imports = builtins.__import__
    refused = 0

    def refuse(name, scope=None, names=None, found=(), level=0):
        nonlocal refused
        if level:
            refused += 1
            raise ValueError(f"Relative import statements not supported ({name}).")
        return imports(name, scope, names, found, level)

    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setattr(live.terminal_bars, "DRAW_SECONDS", 0.01)
    with live.stages() as stages, stages.stage("train") as progress:
        with monkeypatch.context() as context:
            context.setattr(builtins, "__import__", refuse)
            progress(1, 4, "")
            time.sleep(0.2)
        assert bool(refused) == is_terminal  # rich imports while it draws
        progress(2, 4, "half way")
        wait_for("half way", capsys)


def test_after_an_error_nothing_more_is_shown(capsys):
    with pytest.raises(ValueError), live.stages() as stages, stages.stage("train"):
        raise ValueError
    time.sleep(0.1)
    assert capsys.readouterr().err == "train ...\n"
