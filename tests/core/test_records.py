"""JSON to dataclass and back, and what is said of a file that does not fit."""

from dataclasses import dataclass, field

import pytest

from toolkit.core import records
from toolkit.core.errors import InputError


@records.strict
@dataclass(frozen=True)
class Part:
    name: str
    ids: tuple[int, ...]


@records.strict
@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    score: float | None = None
    by_phase: dict[str, float] = field(default_factory=dict)


WHOLE = Whole((Part("train", (1, 2)), Part("test", ())), 0.5, {"Final": 1.0})


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "new" / "whole.json"
    records.write(WHOLE, path)
    assert records.read(Whole, path, "") == WHOLE
    records.write([WHOLE, WHOLE], path, list[Whole])
    assert records.read(list[Whole], path, "") == [WHOLE, WHOLE]


def test_defaults_fill_what_is_absent():
    assert records.parse(Whole, '{"parts": []}') == Whole(())


def test_values_are_plain_json():
    assert records.values(WHOLE) == {
        "parts": [{"name": "train", "ids": [1, 2]}, {"name": "test", "ids": []}],
        "score": 0.5,
        "by_phase": {"Final": 1.0},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid JSON"),
        ('{"parts": [', "invalid JSON"),
        ("[]", "object"),
        ("{}", "parts: field required"),
        ('{"parts": [{"name": 3, "ids": []}]}', "parts.0.name: input should be a valid string"),
        ('{"parts": [{"name": "a", "ids": ["3"]}]}', "parts.0.ids.0: input should be a valid int"),
        ('{"parts": [], "scores": 1}', "scores: "),
        ('{"parts": [], "score": "high"}', "score: input should be a valid number"),
    ],
)
def test_a_damaged_file_is_one_sentence_with_the_way_out(tmp_path, text, words):
    path = tmp_path / "whole.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        records.read(Whole, path, "Train the run again.")
    assert str(path) in caught.value.sentence and words in caught.value.sentence
    assert caught.value.hint == "Train the run again."


def test_bytes_that_are_no_text_are_one_sentence(tmp_path):
    path = tmp_path / "whole.json"
    path.write_bytes(b'{"parts": "\xff\xfe"}')
    with pytest.raises(InputError, match=r"whole\.json cannot be read"):
        records.read(Whole, path, "")


def test_the_sentence_holds_no_value_of_the_file(tmp_path):
    path = tmp_path / "whole.json"
    path.write_text('{"parts": [], "score": "secret-token", "by_phase": {"secret-token": "x"}}')
    with pytest.raises(InputError) as caught:
        records.read(Whole, path, "")
    assert "secret-token" not in caught.value.sentence


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*none\.json"):
        records.read(Whole, tmp_path / "none.json", "")
    with pytest.raises(InputError, match="is a folder"):
        records.read(Whole, tmp_path, "")


def test_a_text_of_many_values_is_refused_before_it_is_parsed(tmp_path):
    """Each of the values would have an error, of half a kilobyte."""
    path = tmp_path / "whole.json"
    path.write_text('{"parts": [' + "1," * 200_000 + "1]}")
    with pytest.raises(InputError, match="it has more than 200,000 values"):
        records.read(Whole, path, "")
    assert records.parse(list[int], "[1, 2]", values_limit=2) == [1, 2]
    with pytest.raises(ValueError, match="more than 2 values"):
        records.parse(list[int], "[1, 2, 3]", values_limit=2)
