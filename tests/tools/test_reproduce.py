"""`reproduce`, on a run that is trained already; training itself has tests of its own."""

import json
import shutil

import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core import config, presets
from toolkit.training import fit, run_folder


@pytest.fixture
def trained(small_run, tmp_path, monkeypatch):
    """A copy of `small_run`, which is of the preset that its configuration takes the place of."""
    folder = tmp_path / "run"
    shutil.copytree(small_run, folder)
    settings = config.read(folder / "config.toml")
    monkeypatch.setattr(config, "preset", lambda name, changes=(): settings)
    return folder


def reproduce(folder, data, *arguments):
    return in_process("reproduce", "lite", "--data", data, "--out", folder, *arguments)


def state(monkeypatch, **scores):
    monkeypatch.setattr(presets, "read_scores", lambda head: scores)


def test_a_score_in_the_interval_agrees_and_another_differs(trained, small_data, monkeypatch):
    metrics = json.loads((trained / "metrics.json").read_text())["validation"]
    state(monkeypatch, clean=metrics["clean"], estimated=metrics["estimated_score"])
    result = reproduce(trained, small_data)
    assert result.returncode == 0, result.stderr
    assert (trained / "submission.zip").exists()
    assert "agrees" in result.stdout and "DIFFERS" not in result.stdout
    state(monkeypatch, clean=metrics["clean"], shift=0.999)
    result = reproduce(trained, small_data, "--json")
    assert result.returncode == 1
    report = json.loads(result.stdout)
    assert [row["agrees"] for row in report["scores"]] == [True, False]
    assert report["scores"][1]["measured"] == metrics["shift"]


def test_a_run_of_another_configuration_is_left_alone(trained, small_data, monkeypatch):
    monkeypatch.undo()
    before = (trained / "config.toml").read_bytes()
    assert_one_sentence(reproduce(trained, small_data), "holds a run of another configuration")
    assert (trained / "config.toml").read_bytes() == before


def test_an_interrupted_training_says_how_to_go_on(trained, small_data, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    run = run_folder.Run(trained)
    run.finished.rename(run.state)  # as if it had not come to its end
    monkeypatch.setattr(fit, "resume", interrupt)
    state(monkeypatch, clean=0.5)
    result = reproduce(trained, small_data)
    assert result.returncode == 130
    assert "To continue after the last whole epoch: the same command" in result.stderr


def test_the_initial_weights_are_part_of_the_configuration(trained, small_data, monkeypatch):
    monkeypatch.undo()
    settings = config.preset("lite", ("model.weights=first.npz",))
    config.write(settings, trained / "config.toml")
    state(monkeypatch, clean=0.5)
    other = reproduce(trained, small_data, "--weights", "other.npz")
    assert_one_sentence(other, "holds a run of another configuration")
    same = reproduce(trained, small_data, "--weights", "first.npz")
    assert "another configuration" not in same.stderr


def test_a_preset_that_states_no_scores_is_refused(small_data):
    result = in_process("reproduce", "tiny", "--data", small_data)
    assert_one_sentence(result, "states no measured scores")


def test_the_scores_are_read_from_the_heads():
    found = {head.name: presets.read_scores(head) for head in presets.list_heads()}
    assert found["champion-cpu"] == {"clean": 0.987, "shift": 0.888, "estimated": 0.847}
    assert found["champion-cpu-128"] == {"clean": 0.987, "shift": 0.898, "estimated": 0.867}
    assert found["champion-cpu-lite2"] == {"clean": 0.987, "shift": 0.910, "estimated": 0.879}
    assert found["champion-cpu-lite2-160"] == {"clean": 0.990, "shift": 0.913, "estimated": 0.880}
    assert found["winner-convnext-xlarge"] == {}
    for head in presets.list_heads():
        if "validation images" in head.measured:
            assert {"clean", "shift"} <= found[head.name].keys()
