"""What `train` prints at its end."""

import numpy as np

from tests.support.commands import OLD, assert_one_sentence, history_of, in_process
from toolkit.core import config
from toolkit.training.run_folder import Run
from tools import output, train


def test_the_history_shows_the_measure_that_decides_the_best_epoch(capsys):
    run = Run(OLD / "runs" / "run")
    train.print_history(run)
    text = capsys.readouterr().out
    assert "val_shift_accuracy" in text
    for row in history_of(run):
        assert f"{float(row['val_shift_accuracy']):.4f}" in text


def test_a_folder_in_use_is_refused_before_the_data_is_read(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    result = in_process("train", "--data", tmp_path / "none.npz", "--run", tmp_path / "run")
    assert_one_sentence(result, "run is not empty")


def test_the_number_of_classes_may_be_given(tmp_path):
    images = np.zeros((6, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(6) % 3)
    arguments = ("train", "--data", tmp_path / "x.npz", "--run", tmp_path / "run")
    assert_one_sentence(in_process(*arguments, "--classes", 2), "label 2 of image 2", "0 to 1")
    assert_one_sentence(in_process(*arguments, "--classes", 4), "no image of class 3")


def test_an_epoch_is_one_line_with_the_time_that_is_left():
    chosen = config.preset("tiny", ("train.phases.0.epochs=2", "train.phases.1.epochs=10"))
    row = {"phase": 0, "epoch": 1, "seconds": 30.0, "learning_rate": 1e-3, "loss": 0.5, "best": 1}
    row |= {"val_accuracy": 0.75, "val_shift_accuracy": 0.5, "monitored": 0.5}
    assert train.describe_epoch(row, chosen) == (
        "phase 1 of 2, epoch 2 of 2: loss 0.5000, validation 0.7500, corrupted 0.5000, kept; "
        "learning rate 1.0e-03; 30 s, about 5 min left"
    )
    last = row | {"phase": 1, "epoch": 9}
    assert train.describe_epoch(last, chosen).endswith("learning rate 1.0e-03; 30 s")
    other = config.preset("tiny", ("train.monitor=val_shift_log_loss",))
    assert "val_shift_log_loss 0.5000, kept" in train.describe_epoch(row, other)


def test_durations_are_in_the_unit_that_fits():
    assert [output.duration(seconds) for seconds in (0.4, 99, 100, 5940, 12_000)] == [
        "0 s",
        "99 s",
        "2 min",
        "99 min",
        "3 h 20 min",
    ]
