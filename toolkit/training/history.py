"""The history of a run: a row for each epoch."""

import csv
import math
from dataclasses import dataclass

from toolkit.core.errors import InputError
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class Epoch:
    """One epoch. phase, epoch: from 0, the second within the phase. Accuracies are shares in 0..1.
    monitored: the value of what `train.monitor` names. best: whether its weights were kept."""

    phase: int
    epoch: int
    seconds: float
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_shift_accuracy: float
    monitored: float
    best: bool


def read_history(run: Run) -> list[Epoch]:
    """The epochs of `run` so far. Raises InputError when the file is missing or damaged."""
    try:
        with run.history.open(newline="", encoding="utf-8") as file:
            return [_make_epoch(row) for row in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{run.history} is missing or damaged.", "Train the run again.") from error


def _make_epoch(row: dict[str, str]) -> Epoch:
    def read(name: str) -> float:
        return float(row[name])

    return Epoch(
        phase=int(row["phase"]),
        epoch=int(row["epoch"]),
        seconds=read("seconds"),
        learning_rate=read("learning_rate"),
        loss=read("loss"),
        accuracy=read("accuracy"),
        val_loss=read("val_loss"),
        val_accuracy=read("val_accuracy"),
        val_shift_accuracy=read("val_shift_accuracy"),
        # Runs of version 0.1 were selected by the one metric there was.
        monitored=float(row.get("monitored") or math.nan),
        best=row["best"] == "1",
    )
