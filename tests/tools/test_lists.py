"""The lists of what a configuration may name, and the values that a shell completes from them."""

import json
import re

import pytest
from click.shell_completion import ShellComplete

from tests.support.commands import assert_one_sentence, in_process
from toolkit.augment.registry import OPERATIONS
from toolkit.core import catalogue, config, presets
from tools import cli


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("presets", config.preset_names()),
        ("backbones", list(catalogue.BACKBONES)),
        ("augmentations", list(catalogue.AUGMENTATIONS)),
    ],
)
def test_everything_is_listed(command, names):
    shown = in_process(command).stdout
    assert all(name in shown for name in names)
    report = json.loads(in_process(command, "--json").stdout)
    assert [entry["name"] for entry in report[command]] == names


def test_a_preset_is_printed_as_its_file():
    result = in_process("presets", "tiny")
    assert result.stdout == config.preset_text("tiny")
    assert_one_sentence(in_process("presets", "tini"), "Did you mean tiny?")


def test_every_preset_says_what_it_is_and_how_to_train_it():
    for head in presets.list_heads():
        assert head.summary.endswith(".")
        command = re.sub(
            r" --weights \S+", "", head.command
        )  # of a preset that goes on from another
        assert command in (
            f"cbtool train --preset {head.name} --data training_set.npz",
            f"cbtool {head.name}",
        )
        assert "Command:" not in head.summary + head.cost + head.measured


def test_the_catalogue_has_every_augmentation():
    assert list(catalogue.AUGMENTATIONS) == list(OPERATIONS)


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        ([], "augm", ["augmentations"]),
        (["presets"], "lite-c", ["lite-clean"]),
        (["train", "--preset"], "tin", ["tiny"]),
        (["tune", "--preset"], "tin", ["tiny"]),
        (["bench", "predict", "--backbone"], "vgg", ["vgg16", "vgg19"]),
        (["validate", "--evaluator"], "", ["an2dl2024", "oldest", "latest", "none"]),
        (["train", "--set"], "split.s", ["split.seed="]),
        (["train", "--set"], "train.phases", []),
    ],
)
def test_values_are_completed(words, incomplete, expected):
    completer = ShellComplete(cli.cli, {}, "cbtool", "_CBTOOL_COMPLETE")
    found = [item.value for item in completer.get_completions(words, incomplete)]
    assert found == expected
