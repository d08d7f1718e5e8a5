"""JSON, TOML and YAML of strangers: bounded, and one sentence for whatever is wrong."""

import time

import pytest

from toolkit.core import documents
from toolkit.core.errors import InputError

LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, "more than 20,000 values"),
        ("a: &a [*a]", "part of"),
        ("[" * 1000, "nested more than 50 deep"),
        ("- " * 60, "nested more than 50 deep"),
        ("- 1\n" * 30_000, "more than 20,000 values"),
        ("x" * 200_001, "more than 200,000 characters"),
        ("9" * 5000, "more than 100 characters"),
        ("0x" + "f" * 101, "more than 100 characters"),
        ("1" + ":59" * 60_000, "more than 100 characters"),
        ("1" + ":59" * 60_000 + ".5", "more than 100 characters"),
        ("date: 2024-13-45", "month must be"),
        ("? [1]\n: 2", "unhashable"),
        ("a: [", "line 1"),
        ("\x00", "not allowed"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
    ],
)
def test_yaml_that_bites(text, words):
    started = time.monotonic()
    with pytest.raises(ValueError, match=words):
        documents.parse_yaml(text)
    assert time.monotonic() - started < 5


def test_yaml_with_anchors_is_read():
    assert documents.parse_yaml("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}
    assert documents.parse_yaml("") is None


def test_numbers_of_all_notations_are_read():
    assert documents.parse_yaml("[0x10, 0b11, 1:30, 1_000, 1:30.5]") == [16, 3, 90, 1000, 90.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "is not valid TOML"),
        ("a = 1\na = 2", "is not valid TOML"),
        ("a = " + "9" * 5000, "is not valid TOML"),
        ("a = {b = [0x" + "f" * 17 + "]}", "more than 64 bits"),
        # A key of 25,000 parts took 2.4 GB and 12 seconds.
        (".".join("a" * 25_000) + " = 1", "line 1 has more than 200 points"),
        ('"=" = 1\n[' + ".".join("a" * 300) + "]", "line 2 has more than 200 points"),
        ("a = 1\n" * 20_000, "is too large"),
    ],
)
def test_toml_that_bites(text, words):
    started = time.monotonic()
    with pytest.raises(InputError, match=words):
        documents.parse_toml(text, "x.toml")
    assert time.monotonic() - started < 5


def test_the_worst_toml_within_the_limits_is_fast():
    line = ".".join("a" * 100)
    keys = "\n".join(f"{line}.b{number} = 1" for number in range(450))
    started = time.monotonic()
    documents.parse_toml(f"[{line}]\n{keys}", "x.toml")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b"9" * 5000, b"\xff\xfe", b"", b'{"a": ', b"[" + b"[]," * 200_000 + b"[]]"],
)
def test_json_that_bites(content, tmp_path):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json cannot be read"):
        documents.read_json(tmp_path / "x.json", "")


def test_integers_of_many_digits_are_refused():
    """Python reads them, and then cannot write them."""
    with pytest.raises(ValueError, match="more than 100 characters"):
        documents.parse_json("[" + "9" * 101 + "]")
    assert documents.parse_json("[-12, 1.5, 1e3]") == [-12, 1.5, 1000.0]
