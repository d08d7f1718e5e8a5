"""Training in phases: first the head on a frozen backbone, then more of the network."""

import functools
import json
import time
import zlib
from typing import Any

import keras

from toolkit.core.config import Config, Phase
from toolkit.core.errors import InputError, LimitError
from toolkit.core.files import write_text
from toolkit.core.progress import Progress, silent
from toolkit.data import shift
from toolkit.data.dataset import Samples
from toolkit.data.splitting import Split
from toolkit.models import backend, devices, precision, pretrained
from toolkit.models.network import Network
from toolkit.models.network import build as build_network
from toolkit.training.batch_size import TOO_LARGE
from toolkit.training.callbacks import (
    DivergenceCheck,
    EpochReporter,
    HistoryWriter,
    LearningRateSchedule,
    PlateauAndPatience,
    ProgressReporter,
    ReportEpoch,
    begin_history,
)
from toolkit.training.checkpointing import (
    BestWeights,
    Checkpointer,
    State,
    read_state,
    restore_network,
    restore_variables,
)
from toolkit.training.feed import Feed, make_feed
from toolkit.training.run_folder import Run
from toolkit.training.schedule import CompiledSchedule

MOMENTUM = 0.9  # of plain gradient descent
# Of the shift benchmark's chains. Others than those that `evaluate` scores: an epoch that was
# selected on some chains would score too high on the same ones.
MONITORED_SEEDS = (1000, 1001)

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    # Chen et al., arXiv:2302.06675; its rates are a tenth of Adam's
    "lion": keras.optimizers.Lion,
    "sgd": functools.partial(keras.optimizers.SGD, momentum=MOMENTUM, nesterov=True),
}


class Accuracy(keras.metrics.CategoricalAccuracy):
    """The share of right images, of all whose weight is not 0: those fill a batch up."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        counted = None if sample_weight is None else sample_weight > 0
        return super().update_state(y_true, y_pred, counted)


def build_seeded_network(settings: Config, samples: Samples) -> Network:
    """Sets the process's seeds and determinism, and builds the untrained network of `settings` for
    `samples`.

    Raises InputError for whatever in `settings` does not exist or does not fit, before anything is
    written.
    """
    return build_seeded_shape(settings, samples.images.shape[1:], len(samples.class_names))


def build_seeded_shape(settings: Config, shape: tuple[int, int, int], classes: int) -> Network:
    """The same for images of `shape`, (height, width, channels), of that many `classes`."""
    if settings.train.deterministic:
        backend.make_deterministic()
    keras.utils.set_random_seed(settings.train.seed)
    policy = precision.policy(settings.train.precision)
    network = build_network(settings.model, shape, classes, policy, settings.train.remat)
    # For its errors only: the layers of a later phase are checked before the first one trains.
    for number, phase in enumerate(settings.train.phases):
        _first_trainable(network, phase, number)
    return network


def train(
    network: Network,
    run: Run,
    samples: Samples,
    parts: Split,
    settings: Config,
    progress: Progress = silent,
    report_epoch: ReportEpoch | None = None,
) -> list[dict[str, Any]]:
    """Trains `network` on the train part and keeps the best epoch by the monitored metric.

    Each phase starts from the best weights so far, with a new optimiser. Resumes after the last
    epoch that `run` holds, if it holds any. Writes history.csv line by line, the best weights and
    what resuming needs after each epoch, and at the end training.json. report_epoch: is called with
    the row of each. Returns the rows of the history. Raises InputError when training diverges,
    LimitError when memory runs out, WorkerError when another process of the training ends.
    """
    state = read_state(run.state)
    begin_history(run.history, state.rows)
    # As if the epochs before an interruption had run just now.
    started = time.perf_counter() - state.seconds
    started_cpu = time.process_time() - state.cpu_seconds
    training = _Training(network, run, samples, parts, settings, state, progress, report_epoch)
    try:
        for number, phase in enumerate(settings.train.phases):
            if number >= state.phase:
                training.run_phase(number, phase)
    except Exception as error:
        if loss := devices.explain_loss(error):
            raise loss from error
        if not backend.is_out_of_memory(error):
            raise
        size = settings.train.images_per_step
        if size == 1:
            raise LimitError(*TOO_LARGE) from error
        raise LimitError(
            f"training ran out of memory with batches of {size}.",
            f"Use smaller batches: --set train.batch_size={size // 2}; or the largest that fit, "
            "--set train.batch_size=auto.",
        ) from error
    summary = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
        "devices": backend.list_devices(),
        "best": state.best_row,
    }
    write_text(run.finished, json.dumps(summary, indent=2) + "\n")
    # Three times as large as the network, and needed no more.
    run.state.unlink(missing_ok=True)
    return state.rows


class _Training:
    """What the phases of one training share."""

    def __init__(
        self,
        network: Network,
        run: Run,
        samples: Samples,
        parts: Split,
        settings: Config,
        state: State,
        progress: Progress,
        report_epoch: ReportEpoch | None,
    ):
        self.network, self.run, self.samples = network, run, samples
        self.settings, self.state, self.progress = settings, state, progress
        self.report_epoch = report_epoch
        self.train_rows = parts.rows("train", samples)
        self.validation_rows = parts.rows("validation", samples)
        held_out = samples.take(self.validation_rows)
        chosen = self.train_rows.tobytes() + self.validation_rows.tobytes()
        devices.require_same(zlib.crc32(chosen), "the same results of cleaning")
        self.corrupted = shift.mixtures(held_out, MONITORED_SEEDS)

    def run_phase(self, number: int, phase: Phase) -> None:
        """Runs phase `number`, or what is left of it."""
        state = self.state
        resumed = number == state.phase and state.epochs > 0
        if resumed and (state.stopped or state.epochs >= phase.epochs):
            # It is done, but the next one goes on from all that it left, not from its best weights
            # alone: its random layers have drawn numbers.
            restore_network(self.run.state, self.network)
            return
        # A resumed phase takes the weights of its last epoch below, not the best ones.
        if number > 0 and not resumed:
            pretrained.restore(self.network.model, self.run.checkpoint)
        state.begin_phase(number)
        feed = make_feed(
            self.network,
            self.samples,
            self.train_rows,
            self.validation_rows,
            self.corrupted,
            phase,
            self.settings,
            first_epoch=len(state.rows),
        )
        begin_phase(self.network, feed.model, number, phase, self.settings, feed.steps)
        if resumed:
            # After compiling, because the optimiser's variables are restored too.
            restore_variables(self.run.state, self.network, feed.model)
        feed.model.fit(
            feed.training,
            validation_data=feed.validation,
            epochs=phase.epochs,
            initial_epoch=state.epochs,
            steps_per_epoch=feed.steps,
            shuffle=False,  # the stream shuffles itself
            verbose=0,
            callbacks=self._callbacks(phase, feed),
        )

    def _callbacks(self, phase: Phase, feed: Feed) -> list[keras.callbacks.Callback]:
        run, state, train = self.run, self.state, self.settings.train
        best = BestWeights(
            run.checkpoint, self.network, feed.model, feed.shifted, state, train.monitor
        )
        ordered: list[keras.callbacks.Callback] = [
            # Before anything is saved.
            DivergenceCheck(state.phase, len(self.samples.class_names)),
            best,
            HistoryWriter(run.history, state, best),
            PlateauAndPatience(phase, train.monitor, state),
            # After all that changes the state. An epoch whose row was written and whose state was
            # not is run again.
            Checkpointer(run.state, self.network, state),
            ProgressReporter(self.progress, train.phases, feed.steps, state),
        ]
        if not _compiles_schedule(phase):
            ordered.insert(0, LearningRateSchedule(phase, feed.steps, state))
        if self.report_epoch:
            # After the epoch's state is saved: what is reported is done for good.
            ordered.append(EpochReporter(self.report_epoch, state))
        if train.ema:
            # Last: the best weights are saved while the averages are still in the model.
            ordered.append(keras.callbacks.SwapEMAWeights())
        return ordered


def begin_phase(
    network: Network,
    model: keras.Model,
    number: int,
    phase: Phase,
    settings: Config,
    steps: int = 1,
) -> None:
    """Has `model`, the whole of `network` or its head, train as `phase` says, the one at
    `number`. steps: in an epoch."""
    _freeze(network, phase, number)
    # After freezing, as Keras requires. The new optimiser has no moments of the phase before, which
    # trained other layers at another rate.
    _compile(model, phase, settings, steps)


def _compiles_schedule(phase: Phase) -> bool:
    """Whether the learning rates of `phase` are a part of its step: on JAX, where setting one
    between two steps takes longer than the step of a small network."""
    return backend.name() == "jax" and not phase.plateau


def _first_trainable(network: Network, phase: Phase, number: int) -> int:
    """The number of the backbone's first layer that `phase`, the one at `number`, trains.

    Raises InputError where the backbone has no such layer.
    """
    layers = len(network.trunk.layers)
    if isinstance(phase.trainable, str):
        return layers if phase.trainable == "head" else 0
    if isinstance(phase.trainable, float):
        # A share is of the layers nearest to the output.
        return round(layers * (1 - phase.trainable))
    if phase.trainable >= layers:
        raise InputError(
            f"phase {number + 1} trains from layer {phase.trainable} on, but {network.trunk.name} "
            f"has only {layers} layers.",
            f"Use an earlier layer: --set train.phases.{number}.trainable={layers // 2}.",
        )
    return phase.trainable


def _freeze(network: Network, phase: Phase, number: int) -> None:
    first = _first_trainable(network, phase, number)
    for position, layer in enumerate(network.trunk.layers):
        # A frozen batch norm also keeps its statistics: Keras runs it as in prediction.
        frozen_norm = phase.frozen_norm and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = position >= first and not frozen_norm


def _compile(model: keras.Model, phase: Phase, settings: Config, steps: int) -> None:
    smoothing = settings.train.label_smoothing
    if settings.train.focal:
        loss = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=settings.train.focal, from_logits=True, label_smoothing=smoothing
        )
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    options: dict[str, Any] = {"learning_rate": phase.learning_rate}
    if _compiles_schedule(phase):
        options["learning_rate"] = CompiledSchedule(phase, steps)
    # 0 leaves the optimiser's own weight decay, which AdamW has and the others do not.
    if phase.weight_decay:
        options["weight_decay"] = phase.weight_decay
    if settings.train.ema:
        options |= {"use_ema": True, "ema_momentum": settings.train.ema}
    if phase.accumulate > 1:
        options["gradient_accumulation_steps"] = phase.accumulate
    model.compile(
        optimizer=OPTIMIZERS[phase.optimizer](**options),
        loss=loss,
        weighted_metrics=[Accuracy(name="accuracy")],
    )
