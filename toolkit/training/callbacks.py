"""What happens around each epoch, one callback a concern; `fit` calls them in the list's order."""

import csv
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from toolkit.core.config import Phase
from toolkit.core.errors import DivergenceError
from toolkit.core.files import write_text
from toolkit.core.progress import Progress
from toolkit.models import backend
from toolkit.training import schedule
from toolkit.training.checkpointing import BestWeights, State, compute_monitored_loss

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy", "val_shift_accuracy")
HISTORY_COLUMNS = ("phase", "epoch", "seconds", "learning_rate", *METRICS, "monitored", "best")

# Times the loss of a network that guesses. Sound trainings rise to a few times that value in their
# first steps, and fall; a learning rate that is far too high passes it by orders of magnitude.
EXPLODED = 100.0

Logs = dict[str, Any] | None
# Is called with the row of the history of each epoch, as `HISTORY_COLUMNS` name its values.
ReportEpoch = Callable[[dict[str, Any]], None]


class LearningRateSchedule(keras.callbacks.Callback):
    """Sets the learning rate of every step: the schedule's, times what plateaus have left of it."""

    def __init__(self, phase: Phase, steps: int, state: State):
        super().__init__()
        self.phase, self.steps, self.state = phase, steps, state

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        # By step, not by epoch: an epoch of many steps would warm up in one jump.
        factor = schedule.compute_factor(self.phase, self.state.epochs + batch / self.steps)
        if backend.name() == "jax" and batch:
            # While an epoch runs, JAX has all values apart from the variables. Slow: every value is
            # put back, which `schedule.CompiledSchedule` spares phases without plateaus.
            self.model.jax_state_sync()
        self.model.optimizer.learning_rate = self.phase.learning_rate * self.state.scale * factor


class DivergenceCheck(keras.callbacks.Callback):
    """Raises DivergenceError when a loss is no number, or that of training EXPLODED times that of
    guessing.

    number: of the phase. classes: guessing evenly among them has a loss of ln(classes).
    """

    def __init__(self, number: int, classes: int):
        super().__init__()
        self.number = number
        self.highest = EXPLODED * math.log(classes)
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        # The mean since the epoch's beginning, which a single step can make infinite.
        place = f"step {batch + 1} of epoch {self.epoch + 1}"
        self._check((logs or {})["loss"], self.highest, place)

    def on_test_end(self, logs: Logs = None) -> None:
        # However high: until batch norms have gathered their statistics, a sound network's may be.
        place = f"the validation of epoch {self.epoch + 1}"
        self._check((logs or {})["loss"], math.inf, place)

    def _check(self, loss: float, highest: float, place: str) -> None:
        if math.isfinite(loss) and loss < highest:
            return
        found = f"{loss:.3g}" if math.isfinite(loss) else "not a finite number"
        raise DivergenceError(
            f"training diverged: the loss is {found} after {place} of phase {self.number + 1}.",
            f"Use a lower learning rate: --set train.phases.{self.number}.learning_rate=... The "
            "best weights before are kept.",
        )


class HistoryWriter(keras.callbacks.Callback):
    """Appends a row to `state` and to the history's CSV file after each epoch."""

    def __init__(self, path: Path, state: State, best: BestWeights):
        super().__init__()
        self.path, self.state, self.best = path, state, best
        self.started = self.started_cpu = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.started, self.started_cpu = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        seconds = time.perf_counter() - self.started
        row: dict[str, int | float] = {"phase": self.state.phase, "epoch": epoch}
        row["seconds"] = round(seconds, 1)
        rate = self.model.optimizer.learning_rate  # on several devices, a copy on each
        row["learning_rate"] = float(keras.ops.convert_to_numpy(rate))
        # The accuracy on corrupted images is no metric of Keras: `BestWeights` measured it.
        values = {**(logs or {}), "val_shift_accuracy": self.best.shift_accuracy}
        row |= {name: float(values[name]) for name in METRICS}
        row["monitored"] = float(self.best.monitored)
        row["best"] = int(self.best.is_best)
        self.state.rows.append(row)
        if self.best.is_best:
            self.state.best_row = row
        self.state.seconds += seconds
        self.state.cpu_seconds += time.process_time() - self.started_cpu
        # Appended at once, so that an interrupted training leaves every whole epoch.
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, HISTORY_COLUMNS).writerow(row)


class EpochReporter(keras.callbacks.Callback):
    """Passes the row of the history that an epoch has added to `report`."""

    def __init__(self, report: ReportEpoch, state: State):
        super().__init__()
        self.report, self.state = report, state

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.report(self.state.rows[-1])


class PlateauAndPatience(keras.callbacks.Callback):
    """Counts epochs without a better one, and ends the phase when its patience has run out."""

    def __init__(self, phase: Phase, monitor: str, state: State):
        super().__init__()
        self.phase, self.monitor, self.state = phase, monitor, state

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.state.count_epoch(
            compute_monitored_loss(self.state.rows[-1], self.monitor), self.phase
        )
        self.model.stop_training = self.state.stopped


class ProgressReporter(keras.callbacks.Callback):
    """Reports after each step which share of all planned epochs is done, with the last accuracies.

    phases: all of the training. steps: in an epoch of the present one.
    """

    def __init__(self, report: Progress, phases: tuple[Phase, ...], steps: int, state: State):
        super().__init__()
        self.report, self.steps, self.state = report, steps, state
        self.planned = sum(phase.epochs for phase in phases)
        self.before = sum(phase.epochs for phase in phases[: state.phase])

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        # Of epochs, not steps: an epoch in blocks has more steps than one on stored features.
        thousandths = 1000 * (self.before + self.state.epochs) + 1000 * (batch + 1) // self.steps
        self.report(thousandths, 1000 * self.planned, self._note())

    def _note(self) -> str:
        if not self.state.rows:
            return ""
        row = self.state.rows[-1]
        return (
            f"phase {row['phase'] + 1}, validation accuracy {row['val_accuracy']:.3f}, shifted "
            f"{row['val_shift_accuracy']:.3f}"
        )


def begin_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """Writes the header and `rows`, those of a training that is resumed.

    An epoch that the file holds and the saved state does not is dropped: it is run again.
    """
    # Version 0.1 did not write all columns.
    lines = [HISTORY_COLUMNS, *([row.get(name, "") for name in HISTORY_COLUMNS] for row in rows)]
    write_text(path, "".join(",".join(map(str, line)) + "\r\n" for line in lines))
