"""What strangers wrote is shown as text, and steers neither the terminal nor the tables."""

import sys

import click
import numpy as np
import pytest

from tests.support.commands import in_process
from toolkit.core.errors import InputError
from toolkit.core.files import file_name
from toolkit.data import dataset, synthetic
from tools import output


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
