"""What a training keeps after each epoch: the best weights, and all that resuming needs."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from toolkit.core import metrics, records
from toolkit.core.arrays import open_arrays
from toolkit.core.config import Phase
from toolkit.core.config_schema import Monitor
from toolkit.core.contract import Contract, MetricName
from toolkit.core.damage import guard
from toolkit.core.files import atomic
from toolkit.models import backend, pretrained
from toolkit.models.network import Network

NEW_HINT = "Train again, in a new folder."
# What `train.monitor` calls each metric on corrupted validation images.
MONITORS: dict[MetricName, Monitor] = {
    "accuracy": "val_shift_accuracy",
    "macro-f1": "val_shift_macro_f1",
    "balanced-accuracy": "val_shift_balanced_accuracy",
    "quadratic-kappa": "val_shift_quadratic_kappa",
    "log-loss": "val_shift_log_loss",
}


def choose_monitor(contract: Contract) -> Monitor:
    """What decides on the best epoch for the score of `contract`."""
    if contract.corrupted:
        return MONITORS[contract.metric]
    return "val_accuracy" if contract.metric == "accuracy" else "val_loss"


@records.strict
@dataclass
class State:
    """Where training stands after an epoch. The callbacks of a training share one.

    phase, epochs: the phase and its epochs done. stopped: its patience has run out. scale: of the
    learning rate, by the plateaus so far. best: the phase's best value of the monitored metric, as
    a loss; waited, plateaued: epochs since then, and since the learning rate last fell. best_row:
    the row of the history whose weights are kept, of all phases. rows: the whole history. seconds,
    cpu_seconds: of all epochs so far.
    """

    phase: int = 0
    epochs: int = 0
    stopped: bool = False
    scale: float = 1.0
    best: float = math.inf
    waited: int = 0
    plateaued: int = 0
    best_row: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def begin_phase(self, number: int) -> None:
        """Starts the counts of a phase anew; does nothing where phase `number` is under way."""
        if number != self.phase:
            self.phase, self.epochs, self.stopped, self.scale = number, 0, False, 1.0
            self.best, self.waited, self.plateaued = math.inf, 0, 0

    def count_epoch(self, value: float, phase: Phase) -> None:
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


def compute_monitored_loss(row: Mapping[str, float], monitor: str) -> float:
    """The metric `monitor` of an epoch as a number that is better when lower."""
    value = row.get("monitored", row.get(monitor, math.nan))  # version 0.1 had its name alone
    return value if monitor.endswith("loss") else -value


class BestWeights(keras.callbacks.Callback):
    """Measures accuracy on corrupted validation images, and saves the best weights of all phases.

    shifted: corrupted validation images in batches, as `model` takes them: (pixels or features,
    labels, weights). monitor: a metric of the epoch, or val_shift_ and one of
    `toolkit.core.metrics`. shift_accuracy, monitored, is_best: of the latest epoch, for the
    callbacks after this.
    """

    def __init__(
        self,
        path: Path,
        network: Network,
        model: keras.Model,
        shifted: tf.data.Dataset,
        state: State,
        monitor: str,
    ):
        super().__init__()
        self.path, self.network = path, network
        self.shifted, self.state, self.monitor = shifted, state, monitor
        self.shift_accuracy = self.monitored = math.nan
        self.is_best = False
        self.predict = backend.compile_prediction(model)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        # Here and not at the epoch's end, because averaged weights (train.ema) are in the model
        # during validation only.
        found = [
            (self.predict(inputs), labels.numpy().argmax(-1)) for inputs, labels, _ in self.shifted
        ]
        scores, labels = (np.concatenate(arrays) for arrays in zip(*found))
        probabilities = softmax(scores.astype(np.float32), axis=-1)
        self.shift_accuracy = metrics.compute("accuracy", labels, probabilities)
        row = {f"val_{name}": value for name, value in (logs or {}).items()}
        row["val_shift_accuracy"] = self.shift_accuracy
        for metric, name in MONITORS.items():
            if self.monitor == name:
                row[name] = metrics.compute(metric, labels, probabilities)
        self.monitored = row["monitored"] = row[self.monitor]
        value, best = compute_monitored_loss(row, self.monitor), self.state.best_row
        better = best is None or value < compute_monitored_loss(best, self.monitor)
        # The first epoch is better than none even where its loss is NaN: never save that.
        self.is_best = better and math.isfinite(value)
        if self.is_best:
            pretrained.save(self.network.model, self.path)


class Checkpointer(keras.callbacks.Callback):
    """Saves after each epoch whatever the next one follows from.

    That is the weights, the optimiser's and the random layers' variables, and `State`. Keras' own
    BackupAndRestore loses what plateau and patience have counted.
    """

    def __init__(self, path: Path, network: Network, state: State):
        super().__init__()
        self.path, self.network, self.state = path, network, state

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        arrays = {
            f"variable_{number}": variable.numpy()
            for number, variable in enumerate(_list_variables(self.network, self.model))
        }
        with atomic(self.path) as temporary:
            np.savez(temporary, state=np.array(json.dumps(asdict(self.state))), **arrays)


def read_state(path: Path) -> State:
    """The state that `Checkpointer` saved, or a new one where there is none.

    Raises InputError when the file is damaged.
    """
    if not path.exists():
        return State()
    # Without pickles: a run folder can come from somebody else, and pickles run code.
    with guard(path, NEW_HINT), open_arrays(path, NEW_HINT) as arrays:
        return records.parse(State, str(arrays.read("state")))


def restore_network(path: Path, network: Network) -> None:
    """Gives `network` the values after the last saved epoch: its weights, and the states of its
    random layers, which the best checkpoint does not hold.

    Raises InputError when the file is damaged or another network's.
    """
    _assign(path, network.model.variables)


def restore_variables(path: Path, network: Network, model: keras.Model) -> None:
    """The same, and gives the optimiser of `model` its values, too.

    model: `network`'s whole model or head, compiled.
    """
    # An optimiser has no variables before its first step, unless it is built.
    model.optimizer.build(model.trainable_variables)
    _assign(path, _list_variables(network, model))


def _assign(path: Path, variables: list[keras.Variable]) -> None:
    """Gives `variables`, all that were saved or the first of them, their saved values."""
    with guard(path, NEW_HINT), open_arrays(path, NEW_HINT) as arrays:
        for number, variable in enumerate(variables):
            variable.assign(arrays.read(f"variable_{number}"))


def _list_variables(network: Network, model: keras.Model) -> list[keras.Variable]:
    """All that changes in training, in an order that is the same in every process; the network's
    own come first."""
    return [*network.model.variables, *model.optimizer.variables]
