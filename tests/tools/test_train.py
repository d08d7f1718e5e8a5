"""What `train` prints at its end."""

import numpy as np

from tests.support.commands import OLD, assert_one_sentence, history_of, in_process
from toolkit.training.run_folder import Run
from tools import train


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
