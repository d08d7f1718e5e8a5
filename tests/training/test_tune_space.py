"""Spaces of settings: what they hold, and what is wrong with a file of one."""

import pytest

from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.training import tune_space

RATE = "train.phases.1.learning_rate"


def build(settings=()):
    return config.preset("tiny", settings)


def write(tmp_path, text):
    path = tmp_path / "space.toml"
    path.write_text(text)
    return path


class Highest:
    """A trial that takes the last of all values."""

    def suggest_float(self, name, low, high, *, log=False):
        return high

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        return choices[-1]


def test_each_kind_of_values_becomes_a_setting(tmp_path):
    text = f"""
    ["{RATE}"]
    low = 1e-4
    high = 1e-2
    log = true
    [train.phases.1.epochs]
    low = 2
    high = 5
    [model]
    head_units.choices = [[], [64, 32]]
    dropout = {{low = 0, high = 0.5}}
    """
    space = tune_space.read(write(tmp_path, text))
    tune_space.require_valid(space, build)
    chosen = build(tune_space.suggest(space, Highest()))
    assert chosen.train.phases[1].learning_rate == 1e-2
    assert chosen.train.phases[1].epochs == 5
    assert chosen.model.head_units == (64, 32)
    assert chosen.model.dropout == 0.5
    assert build(tune_space.list_largest(space)).train.phases[1].epochs == 5


@pytest.mark.parametrize("name", tune_space.space_names())
def test_each_space_beside_the_presets_fits_and_holds_its_preset(name):
    space = tune_space.of_preset(name)
    tune_space.require_valid(space, lambda settings: config.preset(name, settings))
    base = tune_space.find_base(space, config.preset(name))
    assert base is not None and set(base) == set(space.parameters)


def test_a_preset_outside_of_the_space_is_not_a_trial(tmp_path):
    space = tune_space.read(write(tmp_path, f'["{RATE}"]\nlow = 0.5\nhigh = 0.6'))
    assert tune_space.find_base(space, build()) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no key"),
        ("low = 1", "both low and high"),
        ("[model.dropout]", "must have low and high, or choices"),
        ("[model.dropout]\nlow = 0.1", "both low and high"),
        ("[model.dropout]\nlow = 0.5\nhigh = 0.5", "the range from 0.5 to 0.5 is empty"),
        ("[model.dropout]\nlow = 0.0\nhigh = 0.5\nlog = true", "must begin above 0"),
        ("[model.dropout]\nlow = 0.0\nhigh = inf", "finite"),
        ("[model.dropout]\nlow = 0.0\nhihg = 0.5", "Did you mean high?"),
        ("[model.dropout]\nlow = true\nhigh = 0.5", "low"),
        ("[model.dropout]\nchoices = [0.1]", "two or more"),
        ("[model.dropout]\nchoices = [0.1, 0.1]", "twice"),
        ("[model.dropout]\nchoices = [0.1, 2024-01-01]", "must be a text"),
        ("[model.dropout]\nchoices = [0.1, 0.2]\nlow = 0.1", "must have low and high, or choices"),
        ("[model.droput]\nlow = 0.0\nhigh = 0.5", "Did you mean dropout?"),
        ("[model.dropout]\nlow = 0.0\nhigh = 1.5", "model.dropout"),
        ('["train.phases.7.epochs"]\nlow = 1\nhigh = 5', "does not exist"),
        ("[train.seed]\nlow = 0\nhigh = 5", "the same in all trials"),
        ("[model.dropout", "not valid TOML"),
    ],
)
def test_a_wrong_space_is_one_sentence(text, words, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        tune_space.require_valid(tune_space.read(path), build)
    assert str(path) in caught.value.sentence and "\n" not in caught.value.sentence
    assert words in caught.value.sentence
    assert caught.value.hint


def test_a_preset_without_a_space_names_those_that_have_one():
    with pytest.raises(InputError) as caught:
        tune_space.of_preset("demo")
    assert "tiny" in caught.value.hint


def test_a_key_of_what_the_preset_does_without_is_not_in_its_first_trial(tmp_path):
    space = tune_space.read(write(tmp_path, "[train.blocks.copies]\nlow = 1\nhigh = 4"))
    tune_space.require_valid(space, build)
    assert tune_space.find_base(space, build()) is None
