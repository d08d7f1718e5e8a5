"""Configuration: strict, with the nearest key named."""

import pytest

from tests.support.commands import ROOT, assert_one_sentence, in_process
from toolkit.core import config, config_docs
from toolkit.core.errors import InputError

DOCUMENT = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", config.preset_names())
def test_every_preset_survives_writing_and_reading(name, tmp_path):
    config.write(config.preset(name), tmp_path / "config.toml")
    assert config.read(tmp_path / "config.toml") == config.preset(name)


def test_settings_reach_into_lists_and_keep_their_types():
    changed = config.preset(
        "lite",
        (
            "train.phases.0.epochs=7",
            "model.head_units=[8, 4]",
            "model.weights=none",
            "train.phases.1.learning_rate=1",
        ),
    )
    assert changed.train.phases[0].epochs == 7
    assert changed.model.head_units == (8, 4)
    assert changed.model.weights == "none"
    assert changed.train.phases[1].learning_rate == 1.0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "train.phases.0.epoch=3",
            "unknown key train.phases.0.epoch in preset lite. Did you mean epochs?",
        ),
        ("modle.dropout=0.1", "Did you mean model?"),
        ("train.phases.0.epochs=0", "greater than or equal to 1"),
        ("train.batch_size=many", "or 'auto'"),
        ("train.batch_size=2.5", "a whole number from 1 on"),
        ("train.phases.9.epochs=1", "'9' does not exist"),
        ("train.phases.0.trainable=tail", "'head', 'all', the number of a layer"),
        ("train.phases.0.trainable=0", "the number of a layer"),
        ("train.phases.0.trainable=1.5", "a fraction of the layers"),
        ("train.phases.0.optimizer=adamx", "'adam', 'adamw', 'lion' or 'sgd'"),
        ("train.blocks.size=0", "greater than or equal to 1"),
        ("augment.0.rate=2", "less than or equal to 1"),
        ("model.dropout=1.5", "less than 1"),
        ("train.phases=[]", "at least 1 item"),
        ("dropout", "not of the form key=value"),
    ],
)
def test_wrong_settings_get_one_sentence(setting, words):
    with pytest.raises(InputError) as caught:
        config.preset("lite", (setting,))
    assert words in caught.value.sentence


def test_unknown_presets_name_the_nearest():
    with pytest.raises(InputError, match="Did you mean lite"):
        config.preset("light")


def test_every_key_is_documented_and_the_document_is_current():
    for kind in config_docs.TABLES.values():
        for name, field in kind.__pydantic_fields__.items():
            assert field.description and field.description.endswith("."), (kind, name)
            assert f"| `{name}` |" in DOCUMENT or name in ("phases", "blocks")
    assert config_docs.configuration_markdown() == DOCUMENT, "run: make docs-generated"


def test_broken_files_are_errors(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        config.read(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[model")
    with pytest.raises(InputError, match="not valid TOML"):
        config.read(tmp_path / "bad.toml")
    (tmp_path / "empty.toml").write_text("")
    with pytest.raises(InputError, match="lacks the key model"):
        config.read(tmp_path / "empty.toml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "augment.0.name=spin"], "is 'spin': no augmentation has that name"),
        (
            ["--set", "model.backbone=resnet"],
            "model.backbone in preset tiny is 'resnet': no backbone",
        ),
        (["--weights", "missing.h5"], "no weights file missing.h5"),
        (["--weights", "imagenet"], "no ImageNet weights for simple-cnn"),
    ],
)
def test_what_does_not_exist_is_said_before_anything_is_written(
    arguments, words, training_file, tmp_path
):
    folder = tmp_path / "run"
    result = in_process(
        "train", "--preset", "tiny", "--data", training_file, "--run", folder, *arguments
    )
    assert_one_sentence(result, words)
    assert not folder.exists()
