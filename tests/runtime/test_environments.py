"""Evaluators' environments: made once, named, and an end without half a folder when the network is
off."""

import os
import subprocess

import pytest

from tests.support.commands import assert_one_sentence, in_process
from tests.support.submissions import made
from toolkit.runtime import environments


@pytest.fixture
def zip_file(tmp_path):
    return made(tmp_path / "good.zip")


@pytest.mark.slow  # makes the environment where there is none: a minute or two, and the network
def test_the_competitions_environment_is_what_it_says(evaluator):
    python = environments.find_python("an2dl2024")
    code = "import tensorflow, keras; print(tensorflow.__version__, keras.__version__)"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2.17.0", "3.4.1"]
    assert environments.find_python("an2dl2024") == python


def test_unknown_evaluators_are_named(zip_file):
    assert_one_sentence(
        in_process("validate", zip_file, "--evaluator", "an2dl2042"), "no evaluator 'an2dl2042'"
    )


def test_two_interpreters_are_one_too_many(zip_file):
    result = in_process("validate", zip_file, "--evaluator", "latest", "--python", "python3")
    assert result.returncode == 2 and "not both" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["validate"],
        # Both ask for the interpreter in one place; each makes half an environment first.
        pytest.param(["time", "--images", "10"], marks=pytest.mark.slow),
    ],
)
def test_without_a_network_the_sentence_says_what_is_missing(command, zip_file, tmp_path):
    """pip is sent to a closed port on this machine."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "0",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
    }
    result = in_process(*command, zip_file, "--evaluator", "oldest", env=environment)
    assert_one_sentence(result, "the evaluator oldest is missing", "tensorflow")
    assert "--python PATH" in result.stderr
    assert not any(tmp_path.rglob("evaluators/*"))


def test_packages_that_a_file_names_are_not_built_here(monkeypatch, tmp_path):
    """Building a package runs its code."""
    commands = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(environments, "_run", lambda command, *_: commands.append(command))
    monkeypatch.setattr(environments.Path, "touch", lambda path: None)
    environments.find_python("mine", packages=("tensorflow==2.17.0", "pillow==11.0.0"))
    environments.find_python("oldest")
    _, described, _, known = commands
    assert described[-4:] == [
        "--only-binary",
        ":all:",
        f"{environments.TENSORFLOW}==2.17.0",
        "pillow==11.0.0",
    ]
    assert "--only-binary" not in known
