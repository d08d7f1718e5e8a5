"""Studies: their budget, pruning, resuming and workers, on trials that train nothing; and at the
end a real one."""

import json
import math
import subprocess
import sys
import time

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.support import tune_worker
from tests.support.commands import ROOT, assert_one_sentence, in_process
from tests.support.tune_worker import list_epochs, make_plan, score_dropout, search
from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.training import tune
from toolkit.training.tune_space import Parameter, Space
from toolkit.training.tune_study import Epoch


@pytest.fixture(autouse=True)
def hasty_databases():
    """No test has to survive a power cut, and waiting for the disk takes most of a study's time."""

    def hasten(connection, record):
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hasten)
    yield
    event.remove(Engine, "connect", hasten)


def states(study):
    return [row.state for row in study.rows()]


def test_the_first_trial_is_the_preset_and_the_best_is_a_preset_again(tmp_path):
    plan = make_plan(tmp_path, trials=4, command="cbtool tune --preset tiny")
    study = search(plan)
    assert states(study) == ["complete"] * 4
    dropouts = [row.settings["model.dropout"] for row in study.rows()]
    assert dropouts[0] == config.preset("tiny").model.dropout
    assert len(set(dropouts)) == 4
    best = config.read(tmp_path / "best.toml")
    assert best.model.dropout == min(dropouts)
    lines = (tmp_path / "best.toml").read_text().splitlines()
    assert lines[1] == "# Command:  cbtool tune --preset tiny"
    assert lines[2].startswith("# Cost: ")
    assert f"val_shift_accuracy {1 - min(dropouts):.4f} (seed 0)" in lines[3]


def test_the_same_study_draws_the_same_values(tmp_path):
    first, second = (search(make_plan(tmp_path / name, trials=2)) for name in "ab")
    assert [row.settings for row in first.rows()] == [row.settings for row in second.rows()]


def test_only_the_best_keep_their_weights(tmp_path):
    study = search(make_plan(tmp_path, trials=4, keep=2))
    kept = {trial.number for trial in study.rank()[:2]}
    found = {number for number in range(4) if study.run(number).checkpoint.exists()}
    assert found == kept
    assert all(study.run(number).folder.exists() for number in range(4))


def test_a_loss_is_searched_for_its_lowest_value(tmp_path):
    def build(settings):
        return config.preset("tiny", ("train.monitor=val_loss", *settings))

    study = search(make_plan(tmp_path, trials=2, build=build))
    assert study.rank()[0].value == min(row.value for row in study.rows())


def test_a_worse_trial_is_pruned_at_the_epoch_where_it_is_worse(tmp_path):
    def score(settings, folder, watch):
        value = 0.1 if watch.trial.number == 4 else 0.5
        for epochs in range(1, 4):
            watch.report(list_epochs([value] * epochs))

    study = search(make_plan(tmp_path, trials=5, pruner="median"), score)
    assert states(study) == ["complete"] * 4 + ["pruned"]
    assert study.rows()[4].epochs == 2  # the first one after the phase of the head


def test_no_trial_starts_that_cannot_end_in_time(tmp_path):
    """An epoch takes 30 seconds, a trial 270: none fits into what is left of 4 minutes."""

    def score(settings, folder, watch):
        watch.report(list_epochs([0.5] * 2, seconds=30.0))

    study = search(make_plan(tmp_path, hours=4 / 60), score)
    assert states(study) == ["complete"]
    search(make_plan(tmp_path, hours=5 / 60, trials=2), score)
    assert states(study) == ["complete"] * 2


def test_the_longest_trial_of_the_space_has_to_fit(tmp_path):
    """Nine epochs of a second fit into a minute, a hundred do not."""
    space = Space("s", {"train.phases.1.epochs": Parameter(low=8, high=100)})

    def score(settings, folder, watch):
        watch.report(list_epochs([0.5] * 2, seconds=1.0))

    study = search(make_plan(tmp_path, space=space, hours=1 / 60), score)
    assert states(study) == ["complete"]


def test_a_trial_stops_when_the_time_is_over_and_goes_on_with_more(tmp_path):
    def score(settings, folder, watch):
        watch.report(list_epochs([0.5] * 3, seconds=0.01))
        time.sleep(0.05)
        watch.check()
        watch.report(list_epochs([0.5] * 3 + [0.7]))

    study = search(make_plan(tmp_path, hours=0.05 / 3600), score)
    assert states(study) == ["interrupted"]
    assert not (tmp_path / "best.toml").exists()
    study = search(make_plan(tmp_path, trials=1), score)
    (row,) = study.rows()
    assert (row.state, row.epochs, row.value) == ("complete", 4, 0.7)
    assert row.seconds >= 0.1  # both times


def test_the_hours_hold_for_all_calls_together(tmp_path):
    def score(settings, folder, watch):
        time.sleep(0.2)
        score_dropout(settings, folder, watch)

    study = search(make_plan(tmp_path, trials=1), score)
    search(make_plan(tmp_path, hours=0.2 / 3600), score)
    assert len(study.trials()) == 1


def test_an_interrupted_trial_goes_on_in_its_folder(tmp_path):
    folders = []

    def interrupt(settings, folder, watch):
        folders.append(folder)
        watch.report(list_epochs([0.5]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(make_plan(tmp_path, trials=2), interrupt)

    def go_on(settings, folder, watch):
        folders.append(folder)
        watch.report(list_epochs([0.5, 0.6]))

    study = search(make_plan(tmp_path, trials=2), go_on)
    assert folders[0] == folders[1] != folders[2]
    assert states(study) == ["complete"] * 2


def test_two_workers_share_a_study(tmp_path):
    """The second is a process: locks are between processes."""
    command = [sys.executable, "-m", "tests.support.tune_worker", str(tmp_path), "30"]
    with subprocess.Popen(command, cwd=ROOT) as other:
        deadline = time.monotonic() + 60
        while not (tmp_path / "trial-0000").exists():
            assert other.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        own = []

        def score(settings, folder, watch):
            own.append(watch.trial.number)
            tune_worker.score_slowly(settings, folder, watch)
            if len(own) == 3:
                raise KeyboardInterrupt  # enough; the trial is left to the other

        with pytest.raises(KeyboardInterrupt):
            search(make_plan(tmp_path), score)
        other.terminate()
    study = tune.open_study(make_plan(tmp_path))
    numbers = [row.number for row in study.rows() if row.state == "complete"]
    assert set(own[:2]) < set(numbers)  # and others, of the other process
    dropouts = [row.settings["model.dropout"] for row in study.rows() if row.settings]
    assert len(set(dropouts)) == len(dropouts)


def test_a_trial_that_ends_while_another_worker_looks_is_not_continued(tmp_path, monkeypatch):
    """It was running when its state was read, and not held any more when its lock was tried."""
    study = tune.open_study(make_plan(tmp_path))
    trial = study.optuna.ask()
    trial.set_user_attr("worker", study.worker)

    def end_then_find(lock):
        study.optuna.tell(trial, 0.5)

    monkeypatch.setattr("toolkit.training.tune_study.locks.find_holder", end_then_find)
    assert not study.has_interrupted()
    with study.take(None) as taken:
        assert taken.number == trial.number + 1


def test_trials_that_fail_are_told_and_end_the_study_when_all_do(tmp_path):
    def fail(settings, folder, watch):
        if watch.trial.number != 1:
            raise InputError("the disk is full.", "Free some space.")
        score_dropout(settings, folder, watch)

    with pytest.raises(InputError, match="the disk is full"):
        search(make_plan(tmp_path), fail)
    rows = tune.open_study(make_plan(tmp_path)).rows()
    assert [row.state for row in rows] == ["failed", "complete", "failed", "failed", "failed"]
    assert rows[0].reason == "the disk is full."


def test_a_training_without_a_finite_value_has_failed(tmp_path):
    def score(settings, folder, watch):
        watch.report([Epoch(0, math.nan, 0.0)])

    with pytest.raises(InputError, match="finite"):
        search(make_plan(tmp_path), score)


def test_another_study_in_the_folder_is_refused(tmp_path):
    search(make_plan(tmp_path, trials=1))
    with pytest.raises(InputError, match="begun with another training file"):
        tune.open_study(make_plan(tmp_path, fingerprint="g"))
    other = Space("s", {"model.dropout": Parameter(low=0.0, high=0.5)})
    with pytest.raises(InputError, match="begun with another space"):
        tune.open_study(make_plan(tmp_path, space=other))


@pytest.mark.parametrize(
    "storage", ["nonsense", "sqlite:////nowhere/at/all.db", "nosuch://u:secret@host/db"]
)
def test_a_storage_that_does_not_work_is_one_sentence_without_a_password(storage, tmp_path):
    with pytest.raises(InputError) as caught:
        tune.open_study(make_plan(tmp_path, storage=storage))
    assert "\n" not in caught.value.sentence and caught.value.hint
    assert "secret" not in caught.value.sentence + caught.value.hint


def test_a_damaged_database_is_one_sentence(tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match=r"study\.db, cannot be used: file is not a database"):
        tune.open_study(make_plan(tmp_path))


def test_a_database_that_breaks_during_the_study_is_one_sentence(tmp_path):
    def damage(settings, folder, watch):
        for name in ("study.db", "study.db-journal", "study.db-wal"):
            (tmp_path / name).write_bytes(b"no database" * 1000)
        score_dropout(settings, folder, watch)

    with pytest.raises(InputError, match="cannot be used"):
        search(make_plan(tmp_path), damage)


def test_without_optuna_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.tune.importlib.util.find_spec", lambda name: None)
    result = in_process("tune", "--data", tmp_path / "x.npz", "--hours", 1)
    assert_one_sentence(result, "Optuna is not installed")
    assert "pip install 'cbtool[tune]'" in result.stderr


def test_a_wrong_space_is_refused_before_the_data_is_read(tmp_path):
    (tmp_path / "space.toml").write_text("[model.droput]\nlow = 0.1\nhigh = 0.5\n")
    result = in_process(
        *("tune", "--preset", "tiny", "--space", tmp_path / "space.toml"),
        *("--data", tmp_path / "none.npz", "--hours", 1),
    )
    assert_one_sentence(result, "Did you mean dropout?")


@pytest.mark.slow
def test_a_real_study_trains_prunes_nothing_and_is_continued(small_data, tmp_path):
    """Two trainings, then a third in a second call; seconds each, but TensorFlow's."""
    out = tmp_path / "study"
    arguments = (
        *("tune", "--preset", "tiny", "--data", small_data, "--out", out, "--hours", 1),
        *("--set", "train.phases.1.epochs=2", "--set", "split.validation=0.2", "--json"),
        *("--keep", 1, "--trials"),
    )
    first = in_process(*arguments, 2)
    assert first.returncode == 0, first.stderr
    report = json.loads(in_process(*arguments, 3).stdout)
    assert [trial["state"] for trial in report["trials"]] == ["complete"] * 3
    assert [trial["epochs"] for trial in report["trials"]] == [3] * 3
    assert report["trials"][:2] == json.loads(first.stdout)["trials"]
    best = report["trials"][report["best"]]
    assert best["value"] == max(trial["value"] for trial in report["trials"])
    assert len(list(out.glob("trial-*/checkpoints/best.npz"))) == 1
    run = tmp_path / "run"
    again = in_process("train", "--config", out / "best.toml", "--data", small_data, "--run", run)
    assert again.returncode == 0, again.stderr
