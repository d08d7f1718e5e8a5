"""What strangers wrote is shown as text, and steers neither the terminal nor the tables."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress

import click
import numpy as np
import pytest

from tests.support.commands import ROOT, in_process
from toolkit.core.errors import InputError
from toolkit.core.files import digest, file_name
from toolkit.data import dataset, synthetic
from tools import live, output


def test_words_in_brackets_are_no_markup(capsys):
    rows = [("expected [batch, 96, 96, 3]", "[/device:CPU:0]"), ("[red]x[/red]", 1)]
    output.table(("[bold]", "b"), rows, title="[dim]t")
    shown = capsys.readouterr().out
    for words in ("expected [batch, 96, 96, 3]", "[/device:CPU:0]", "[red]x[/red]", "[bold]"):
        assert words in shown
    assert "[dim]t" in shown


def test_control_characters_are_written_out(capsys):
    clear, back = "\x1b[2J", "\u202e"
    output.table(("a",), [(f"x{clear}",)])
    output.log("log", f"line{clear}\rother\nsecond{back}\ttab")
    output.error(InputError(f"bad {clear}name.", f"hint{back}"))
    output.hint(f"hint{clear}")
    shown = capsys.readouterr()
    text = shown.out + shown.err
    assert "\x1b" not in text and back not in text
    for words in (
        r"x\x1b[2J",
        "line\\x1b[2J\\rother\nsecond\\u202e\ttab",
        r"bad \x1b[2Jname.",
        r"hint\x1b[2J",
    ):
        assert words in text


@pytest.mark.parametrize("terminal", [True, False])
def test_notes_of_progress_are_text(terminal, capsys, monkeypatch):
    """The name of a file or a class may be no closing tag to rich, and no title to a terminal."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(live, "SILENT_SECONDS", 0)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    hostile = "a[/red]\x1b]0;title\x07"
    with live.stages() as stages, stages.stage("convert") as progress:
        progress(1, 2, hostile)
    with live.status() as tell:
        tell(hostile)
        shown = capsys.readouterr().err
    shown += capsys.readouterr().err
    assert r"a[/red]\x1b]0;title\x07" in shown and "\x1b]0;" not in shown


@pytest.mark.parametrize(("width", "shown"), [(120, 4), (60, 3), (40, 2)])
def test_a_narrow_terminal_gets_fewer_columns_and_whole_numbers(width, shown, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    columns = ("run", "accuracy on all images", "seconds of training", "remark")
    rows = [("first", 0.123456, 1234567, "x" * 12), ("second", 0.5, 2, "")]
    output.table(columns, rows, spare=("remark", "seconds of training"))
    printed = capsys.readouterr()
    text = click.unstyle(printed.out)
    assert "0.1235" in text and sum(name in text for name in columns) == shown
    assert max(map(len, text.splitlines())) <= width
    assert ("terminal is narrow: remark" in printed.err) == (shown < 4)


def test_sentences_end_their_lines_between_words_on_a_terminal(capsys, monkeypatch):
    text = "Worst classes under corruptions, by recall: white-cell 0.031, lymphocyte\x1b 0.214."
    output.sentence(text)
    assert capsys.readouterr().out == text.replace("\x1b", r"\x1b") + "\n"
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.sentence(text)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Worst classes under corruptions, by recall:"
    assert second == r"white-cell 0.031, lymphocyte\x1b 0.214."


def test_errors_are_broken_between_words_and_commands_are_not(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    command = "Run: cbtool data convert pictures --out training_set.npz --size 96"
    problem = InputError("images have the shape (n, 96, 96, 4), not (n, height, width).", command)
    output.error(problem)
    assert capsys.readouterr().err.splitlines() == [
        "Error: images have the shape (n, 96, 96, 4), not",
        "(n, height, width).",
        f"Hint: {command}",
    ]


def test_a_class_name_is_no_path(tmp_path):
    assert file_name("../../../evil") == "-evil" and len(file_name("x" * 999)) == 60
    drawn = synthetic.draw(2, side=32)
    names = ("../../../evil", "a/b", *drawn.class_names[2:])
    samples = dataset.Samples(drawn.images, drawn.labels, np.arange(len(drawn)), names)
    dataset.save(samples, tmp_path / "cells.npz")
    out = tmp_path / "deep" / "er" / "out"
    result = in_process("data", "inspect", tmp_path / "cells.npz", "--out", out)
    assert result.returncode == 0, result.stderr
    assert not [path for path in tmp_path.rglob("*.png") if path.parent != out]
    assert (out / "0--evil.png").exists()
    assert f"Next: cbtool data clean {tmp_path / 'cells.npz'}" in result.stderr
    assert "7, of 18 different pictures; the most frequent one occurs 8 times" in result.stdout


def test_colours_are_for_terminals_and_for_those_who_want_them(monkeypatch):
    """On a pseudo-terminal: what a program writes depends on where it writes to."""
    command = [sys.executable, "-m", "tools", "presets", "tini"]

    def run(**variables):
        main, other = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", **variables}
        subprocess.run(command, stderr=other, stdout=other, cwd=ROOT, env=environment)
        os.close(other)
        with suppress(OSError):  # the other end is closed
            return os.read(main, 10_000).decode()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31m\x1b[1mError:\x1b[0m there is no preset 'tini'" in run()
    assert "\x1b" not in run(NO_COLOR="1")


def test_quiet_shows_no_progress_and_json_is_alone_on_stdout(training_file, tmp_path):
    loud = in_process("data", "clean", training_file, "--out", tmp_path)
    assert "clean: done in" in loud.stderr
    quiet = in_process("--quiet", "data", "clean", training_file, "--out", tmp_path)
    assert quiet.stdout == loud.stdout
    assert "clean ..." not in quiet.stderr and "clean: " not in quiet.stderr
    after = in_process("data", "clean", training_file, "--out", tmp_path, "--quiet")
    assert (after.stdout, after.stderr) == (quiet.stdout, quiet.stderr)
    found = json.loads(
        in_process("data", "clean", training_file, "--out", tmp_path, "--json").stdout
    )
    assert found["kept"] > 100 and found["dropped"]["outlier"] > 0


def test_a_run_is_built_and_told_as_json(small_run, tmp_path):
    out = tmp_path / "x.zip"
    result = in_process("build", "--run", small_run, "--out", out, "--json")
    found = json.loads(result.stdout)
    assert found["sha256"] == digest(out) and found["bytes"] == out.stat().st_size
    assert found["networks"][0]["views"][0] == "identity"
    (steps,) = found["comparisons"].values()
    assert steps[0]["rewrite"] == "plain operations" and steps[0]["label_agreement"] == 1
