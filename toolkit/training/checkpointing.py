"""What training remembers: the history, the best weights, and all it takes to go on after being
killed."""

import csv
import json
import math
import time
import zipfile
from dataclasses import asdict, dataclass, field

import keras
import numpy as np
import tensorflow as tf

from toolkit.core.config import Config, Phase
from toolkit.core.errors import InputError
from toolkit.core.files import atomic, write_text
from toolkit.core.progress import Progress
from toolkit.models import pretrained
from toolkit.models.network import Network
from toolkit.training.run_folder import Run

MEASURES = ("loss", "accuracy", "val_loss", "val_accuracy", "val_shift_accuracy")
HISTORY = ("phase", "epoch", "seconds", "learning_rate", *MEASURES, "best")


@dataclass
class State:
    """Where training stands after an epoch.

    phase, epochs: the phase and its epochs done. stopped: its patience has run out. scale: of the
    learning rate, by the plateaus so far. best: the phase's best value of the monitored metric, as
    a loss; waited, plateaued: epochs since then, and since the learning rate last fell. best_row:
    the row of the history that is kept, of all phases.
    """

    phase: int = 0
    epochs: int = 0
    stopped: bool = False
    scale: float = 1.0
    best: float = math.inf
    waited: int = 0
    plateaued: int = 0
    best_row: dict | None = None
    rows: list[dict] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def note(self, value: float, phase: Phase) -> None:
        """Counts an epoch with this `value` (lower is better) of the monitored metric."""
        self.epochs += 1
        if value < self.best:
            self.best, self.waited, self.plateaued = value, 0, 0
            return
        self.waited += 1
        self.plateaued += 1
        if phase.plateau and self.plateaued >= phase.plateau:
            self.scale, self.plateaued = self.scale * phase.plateau_factor, 0
        self.stopped = bool(phase.patience) and self.waited >= phase.patience


class Keeper(keras.callbacks.Callback):
    """Sets the learning rate, keeps the best weights of all phases, and writes down every epoch.

    After each epoch the run folder holds whatever the next one follows from: weights, the
    optimiser's and the random layers' variables, and `State`. Keras' own BackupAndRestore forgets
    what plateau and patience have counted.
    """

    def __init__(self, run: Run, settings: Config, progress: Progress):
        super().__init__()
        self.run, self.settings, self.progress = run, settings, progress
        self.state = self._read_state()
        self._write_history()
        self.note = ""

    def begin_phase(
        self, number: int, phase: Phase, network: Network, steps: int, shifted: tf.data.Dataset
    ) -> None:
        """Tells of the phase that `fit` is about to run, or go on with.

        shifted: corrupted validation images in batches, as the model takes them: (pixels or
        features, labels, weights).
        """
        if number != self.state.phase:
            self.state = State(
                phase=number,
                best_row=self.state.best_row,
                rows=self.state.rows,
                seconds=self.state.seconds,
                cpu_seconds=self.state.cpu_seconds,
            )
        self.phase, self.network, self.steps = phase, network, steps
        model = self.model
        self.predict = tf.function(
            lambda inputs: tf.argmax(model(inputs, training=False), -1), reduce_retracing=True
        )
        self.shifted = shifted

    def restore(self) -> None:
        """Gives model and optimiser the values they had after the last epoch."""
        self.model.optimizer.build(self.model.trainable_variables)
        with np.load(self.run.state) as arrays:
            for number, variable in enumerate(self._variables()):
                variable.assign(arrays[f"variable_{number}"])

    def discard_state(self) -> None:
        """Drops what a finished run needs no more: it is three times as large as the network."""
        self.run.state.unlink(missing_ok=True)

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.started, self.started_cpu = time.perf_counter(), time.process_time()

    def on_train_batch_begin(self, batch: int, logs=None) -> None:
        epochs = self.state.epochs + batch / self.steps
        self.model.optimizer.learning_rate = (
            self.phase.learning_rate * self.state.scale * scheduled(self.phase, epochs)
        )

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        planned = sum(phase.epochs for phase in self.settings.train.phases)
        done = (
            sum(phase.epochs for phase in self.settings.train.phases[: self.state.phase])
            + self.state.epochs
        )
        self.progress(done * 1000 + 1000 * (batch + 1) // self.steps, planned * 1000, self.note)

    def on_test_end(self, logs=None) -> None:
        """Keeps the best weights now, while the averaged ones are in the model."""
        right = [
            self.predict(inputs) == tf.argmax(labels, -1) for inputs, labels, _ in self.shifted
        ]
        self.shift_accuracy = float(np.concatenate(right).mean())
        logs = {f"val_{key}": number for key, number in logs.items()}
        value = self._value(logs | {"val_shift_accuracy": self.shift_accuracy})
        best = self.state.best_row
        self.is_best = math.isfinite(value) and (best is None or value < self._value(best))
        if self.is_best:
            pretrained.save(self.network.model, self.run.checkpoint)

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        state = self.state
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            raise InputError(
                f"training diverged: the loss is no number after epoch {epoch + 1} of phase "
                f"{state.phase + 1}.",
                f"Lower its learning rate: --set train.phases.{state.phase}.learning_rate=...",
            )
        seconds = time.perf_counter() - self.started
        row = {"phase": state.phase, "epoch": epoch, "seconds": round(seconds, 1)}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row |= {key: float(logs[key]) for key in MEASURES if key in logs} | {
            "val_shift_accuracy": self.shift_accuracy
        }
        row["best"] = int(self.is_best)
        state.rows.append(row)
        state.best_row = row if self.is_best else state.best_row
        state.note(self._value(row), self.phase)
        state.seconds += seconds
        state.cpu_seconds += time.process_time() - self.started_cpu
        self._append(row)
        self._write_state()
        self.note = (
            f"phase {state.phase + 1}, validation accuracy {row['val_accuracy']:.3f}, shifted "
            f"{row['val_shift_accuracy']:.3f}"
        )
        self.model.stop_training = state.stopped

    def _value(self, row: dict) -> float:
        """The monitored metric as a loss."""
        value = row[self.settings.train.monitor]
        return value if self.settings.train.monitor.endswith("loss") else -value

    def _variables(self) -> list[keras.Variable]:
        """All that changes in training, in an order that is the same in every process."""
        return [*self.network.model.variables, *self.model.optimizer.variables]

    def _write_state(self) -> None:
        variables = {
            f"variable_{number}": variable.numpy()
            for number, variable in enumerate(self._variables())
        }
        with atomic(self.run.state) as temporary:
            np.savez(temporary, state=np.array(json.dumps(asdict(self.state))), **variables)

    def _read_state(self) -> State:
        if not self.run.state.exists():
            return State()
        try:
            with np.load(self.run.state, allow_pickle=False) as arrays:
                return State(**json.loads(str(arrays["state"])))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{self.run.state} is damaged: {error}.", "Train again into a new folder."
            ) from error

    def _write_history(self) -> None:
        """The history as far as the state goes: an epoch that was cut off before its state was
        written is run again."""
        lines = [
            ",".join(HISTORY),
            *(",".join(str(row[key]) for key in HISTORY) for row in self.state.rows),
        ]
        write_text(self.run.history, "".join(f"{line}\r\n" for line in lines))

    def _append(self, row: dict) -> None:
        with self.run.history.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, HISTORY).writerow(row)


def scheduled(phase: Phase, epochs: float) -> float:
    """The share of the phase's learning rate that its schedule gives after that many epochs."""
    if epochs < phase.warmup:
        return (epochs + 1e-2) / phase.warmup
    if phase.schedule == "cosine":
        return 0.5 * (
            1 + math.cos(math.pi * (epochs - phase.warmup) / max(phase.epochs - phase.warmup, 1e-9))
        )
    return (1 - phase.decay) ** epochs if phase.schedule == "exponential" else 1.0
