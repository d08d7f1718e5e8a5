"""What `train` prints at its end."""

from tests.support.commands import OLD, history_of
from toolkit.training.run_folder import Run
from tools import train


def test_the_history_shows_the_measure_that_decides_the_best_epoch(capsys):
    run = Run(OLD / "runs" / "run")
    train.print_history(run)
    text = capsys.readouterr().out
    assert "val_shift_accuracy" in text
    for row in history_of(run):
        assert f"{float(row['val_shift_accuracy']):.4f}" in text
