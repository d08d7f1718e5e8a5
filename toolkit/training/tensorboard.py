"""The history of a training for TensorBoard, as it grows. TensorBoard itself is not needed."""

import time
from pathlib import Path
from typing import Any

import tensorflow as tf

from toolkit.core.damage import describe
from toolkit.core.errors import InputError

FOLDER = "tensorboard"  # in the run folder
VERSION = "brain.Event:2"  # of the files' format, which the first record states
# The history's columns, by the names that TensorBoard groups them under.
TAGS = {
    "loss": "loss/training",
    "val_loss": "loss/validation",
    "accuracy": "accuracy/training",
    "val_accuracy": "accuracy/validation",
    "val_shift_accuracy": "accuracy/validation, corrupted",
    "learning_rate": "learning rate",
    "seconds": "seconds",
}

Event, Summary = tf.compat.v1.Event, tf.compat.v1.Summary


class TensorBoardWriter:
    """Writes an event file into `folder`, to which each call adds a row of the history, or raises
    InputError where it cannot be written.

    phase_starts: how many epochs are planned before each phase, by which steps are numbered.
    """

    def __init__(self, folder: Path, phase_starts: tuple[int, ...]):
        self.folder, self.phase_starts = folder, phase_starts
        self.file: tf.io.TFRecordWriter | None = None

    def __call__(self, row: dict[str, Any]) -> None:
        try:
            self._write_row(row)
        except (OSError, tf.errors.OpError) as error:
            raise InputError(
                f"{self.folder} cannot be written: {describe(error)}.", "Check the disk."
            ) from error

    def _write_row(self, row: dict[str, Any]) -> None:
        now = time.time()
        if self.file is None:  # the run folder exists once an epoch has ended
            self.folder.mkdir(exist_ok=True)
            # TensorBoard reads files with this word in their names, in the order of the names.
            self.file = tf.io.TFRecordWriter(str(self.folder / f"events.out.tfevents.{now:.3f}"))
            self._write(Event(wall_time=now, file_version=VERSION))
        values = [Summary.Value(tag=tag, simple_value=row[column]) for column, tag in TAGS.items()]
        step = self.phase_starts[row["phase"]] + row["epoch"]
        self._write(Event(wall_time=now, step=step, summary=Summary(value=values)))

    def _write(self, event: Any) -> None:
        assert self.file is not None
        self.file.write(event.SerializeToString())
        self.file.flush()  # it is read while the training goes on
