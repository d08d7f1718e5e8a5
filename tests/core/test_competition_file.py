"""competition.toml: read, written, and refused with the key that is wrong."""

import dataclasses
from dataclasses import replace

import pytest

from tests.support.commands import ROOT
from toolkit.core import competition_file
from toolkit.core.contract import AN2DL2024
from toolkit.core.errors import InputError

DIGITS = """name = "Digits"
metric = "log-loss"
corrupted = false
[images]
height = 8
width = 8
channels = 1
[classes]
count = 10
[interface]
style = "function"
returns = "probabilities"
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "competition.toml"
    path.write_text(DIGITS)
    return path


def test_what_is_left_out_has_defaults(path):
    found = competition_file.read(path)
    assert found.image_shape == (8, 8, 1) and found.classes == 10 and not found.corrupted
    assert (found.style, found.method, found.returns) == ("function", "predict", "probabilities")
    assert found.time_limit == 600 and found.evaluator is None and found.packages == ()


@pytest.mark.parametrize(
    "contract",
    [
        AN2DL2024,
        replace(AN2DL2024, name="Other", metric="macro-f1", memory_limit=10**9, competition=3),
        replace(AN2DL2024, style="fit", class_name="Classifier", method="infer", returns="logits"),
    ],
)
def test_what_is_written_is_read_again(contract, path):
    competition_file.write(contract, path)
    assert competition_file.read(path) == contract


def test_an_environment_has_a_name_of_its_own(path):
    versions = (
        '[environment]\ntensorflow = "2.18.0"\nkeras = "3.6.0"\npackages = ["pillow==11.0.0"]'
    )
    path.write_text(DIGITS + versions)
    found = competition_file.read(path)
    assert found.packages == ("tensorflow==2.18.0", "pillow==11.0.0", "keras==3.6.0")
    assert found.evaluator.startswith("tensorflow-2.18.0-") and found.newest_keras == (3, 6)
    path.write_text(DIGITS + versions.replace("pillow", "scipy"))
    assert competition_file.read(path).evaluator != found.evaluator
    competition_file.write(found, path)
    assert competition_file.read(path) == found


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "Digits"', "", "lacks the key name"),
        ("height = 8", "heigth = 8", "unknown key images.heigth .* Did you mean height"),
        ("height = 8", "height = 100000", "images.height in .* is 100000"),
        ("channels = 1", "channels = 2", "images have 1, 3 or 4 channels"),
        ("count = 10", 'count = 3\nnames = ["a"]', "3 classes need 3 names, not 1"),
        ("count = 10", 'count = 2\nnames = ["a", "a"]', "two classes have one name"),
        ("log-loss", "rmse", "metric in .* is 'rmse'"),
        ('returns = "probabilities"', "", "log-loss needs interface.returns"),
        ('style = "function"', 'method = "import os"', "interface.method in"),
        (
            "[interface]",
            '[environment]\npackages = ["x"]\n[interface]',
            "its version of tensorflow",
        ),
        (
            "[interface]",
            '[environment]\ntensorflow = "2.17.0"\npackages = ["--index-url=x"]\n[interface]',
            "environment.packages.0 in",
        ),
        ("[interface]", '[codabench]\nserver = "file:///x"\n[interface]', "codabench.server in"),
        ("[images]", "[images", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(old, new, words, path):
    assert old in DIGITS
    path.write_text(DIGITS.replace(old, new))
    with pytest.raises(InputError, match=words):
        competition_file.read(path)


def test_every_key_is_documented():
    text = (ROOT / "docs" / "competition.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(competition_file.Description):
        if not dataclasses.is_dataclass(field.type):
            assert f"| `{field.name}` |" in text
            continue
        for key in dataclasses.fields(field.type):
            assert f"`{field.name}.{key.name}`" in text
