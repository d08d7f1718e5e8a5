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
        ("9" * 5000, "Exceeds the limit"),
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


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = 1\na = 2", "a = " + "9" * 5000])
def test_toml_that_bites(text):
    with pytest.raises(InputError, match=r"x\.toml is not valid TOML"):
        documents.parse_toml(text, "x.toml")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"9" * 5000, b"\xff\xfe", b"", b'{"a": '])
def test_json_that_bites(content, tmp_path):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json cannot be read"):
        documents.read_json(tmp_path / "x.json", "")
