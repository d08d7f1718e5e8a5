"""`train.batch_size = "auto"`, and what is said where memory runs out.

In process, TensorFlow's own error is raised where the step is taken; slowly, a real limit is set.
"""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import ROOT, assert_one_sentence, in_process
from toolkit.core import config
from toolkit.core.errors import InputError, LimitError
from toolkit.training import batch_size, batch_trial, fit
from toolkit.training.prepare import prepare

AUTO = ("train.batch_size=auto", "split.validation=0.2", "split.test=0.2")


@pytest.fixture(scope="module")
def small(cells):
    """The drawn cells at a third of their resolution."""
    return cells.with_images(np.ascontiguousarray(cells.images[:, ::3, ::3]))


@pytest.fixture
def steps(monkeypatch):
    """Lets a step of more than `limit` images run out of memory; the sizes of those that ran."""
    original = keras.Model.train_on_batch

    class Steps(list):
        limit = 0

    taken = Steps()

    def step(model, images, labels):
        if len(images) > taken.limit:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        taken.append(len(images))
        return original(model, images, labels)

    monkeypatch.setattr(keras.Model, "train_on_batch", step)
    return taken


def test_batches_are_halved_until_a_step_fits_and_the_update_keeps_its_images(small, steps):
    steps.limit = 8
    chosen = config.preset("tiny", (*AUTO, "train.phases.0.accumulate=3"))
    settled = batch_size.settle(chosen, small, fits=batch_trial.take_steps)
    assert settled.train.batch_size == 8
    assert [phase.accumulate for phase in settled.train.phases] == [
        8 * phase.accumulate for phase in chosen.train.phases
    ]
    # Only of the size that fits, in each phase, with its sums of gradients.
    assert steps == [8] * 4 * len(chosen.train.phases)
    back = dataclasses.replace(settled.train, phases=chosen.train.phases, batch_size="auto")
    assert dataclasses.replace(settled, train=back) == chosen


def test_a_number_stays_as_it_is(small):
    chosen = config.preset("tiny")
    assert batch_size.settle(chosen, small, fits=None) is chosen


def test_an_image_that_does_not_fit_is_out_of_memory(small, steps):
    chosen = config.preset("tiny", (*AUTO, "train.effective_batch=4"))
    with pytest.raises(LimitError, match="one image does not fit") as caught:
        batch_size.settle(chosen, small, fits=batch_trial.take_steps)
    assert caught.value.exit_code == 4 and "input_size" in caught.value.hint


@pytest.fixture
def training_runs_out(monkeypatch):
    def run_out(*arguments, **options):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", run_out)


def test_the_runs_configuration_has_the_number(small, training_runs_out, monkeypatch, tmp_path):
    def fits(request):
        return request.settings.train.batch_size <= 16

    monkeypatch.setattr(batch_size, "run_trial", fits)
    chosen = config.preset("tiny", AUTO)
    with pytest.raises(LimitError, match="batches of 16"):  # ends it once the run is begun
        fit.fit(prepare(small, chosen), chosen, tmp_path / "run")
    written = config.read(tmp_path / "run" / "config.toml").train
    assert (written.batch_size, written.phases[0].accumulate) == (16, 4)


@pytest.mark.parametrize(
    "size, sentence, hint",
    [
        (16, "ran out of memory with batches of 16", "--set train.batch_size=8"),
        (1, "one image does not fit into memory", "a machine with more memory"),
    ],
)
def test_a_training_that_runs_out_of_memory_names_the_way_out(
    size, sentence, hint, training_file, training_runs_out, tmp_path
):
    settings = ("--set", f"train.batch_size={size}", "--set", "clean.enabled=false")
    result = in_process(
        *("train", "--preset", "tiny", *settings, "--data", training_file),
        *("--run", tmp_path / "run"),
    )
    assert result.returncode == 4
    assert sentence in result.stderr and hint in result.stderr


def test_several_devices_need_a_number(training_file, tmp_path):
    result = in_process(
        *("train", "--preset", "tiny", "--set", "train.batch_size=auto", "--data", training_file),
        *("--run", tmp_path / "run", "--strategy", "mirrored"),
    )
    assert_one_sentence(result, "mirrored and train.batch_size=auto do not go together")


@pytest.mark.parametrize(
    "setting, words",
    [
        ("train.batch_size=0", "a whole number from 1 on, or 'auto'"),
        ("train.effective_batch=48", "a power of two"),
    ],
)
def test_a_batch_has_a_size(setting, words):
    with pytest.raises(InputError, match=words):
        config.preset("tiny", (setting,))


LIMITED = """
from toolkit.core import config
from toolkit.training import batch_size
for size in (4096, 16):
    settings = config.preset("tiny", (f"train.batch_size={size}",))
    request = batch_size.TrialRequest(settings, (96, 96, 3), 8)
    print(size, batch_size.run_trial(request))
"""


@pytest.mark.slow
def test_a_process_with_little_memory_takes_small_steps_only():
    """Starts processes whose address space is limited: TensorFlow takes 4 GB of it for itself."""
    command = f"ulimit -v 6000000; exec \"{sys.executable}\" -c '{LIMITED}'"
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert result.stdout.split() == ["4096", "False", "16", "True"], result.stderr


@pytest.mark.slow
def test_a_trial_tells_what_is_wrong_with_the_settings():
    """Starts a process, as each trial does."""
    chosen = config.preset("lite", ("train.batch_size=2", "train.phases.1.trainable=9999"))
    with pytest.raises(InputError, match="trains from layer 9999 on"):
        batch_size.run_trial(batch_size.TrialRequest(chosen, (96, 96, 3), 8))
