"""Training in phases: first the head on a frozen backbone, then more of the network."""

import csv
import json
import time

import keras
import numpy as np
import tensorflow as tf

from toolkit import models, weights
from toolkit.augment.chain import chain
from toolkit.config import Config, Phase
from toolkit.data import Samples
from toolkit.errors import InputError, LimitError
from toolkit.files import write_text
from toolkit.progress import Progress, silent
from toolkit.runs import Run
from toolkit.split import Split

HISTORY = ("phase", "epoch", "seconds", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "best")


def start(settings: Config, samples: Samples) -> models.Network:
    """The untrained network of `settings` for `samples`, seeded.

    Raises InputError for whatever in `settings` does not exist or does not fit, before anything is written.
    """
    keras.utils.set_random_seed(settings.train.seed)
    chain(settings.augment, settings.train.seed)
    return models.build(settings.model, samples.images.shape[1:], len(samples.class_names))


def train(
    network: models.Network, run: Run, samples: Samples, parts: Split, settings: Config, progress: Progress = silent
) -> list[dict]:
    """Trains `network` on the train part and keeps the epoch with the lowest validation loss.

    Each phase starts from the best weights so far, with a new optimiser (Adam). Writes history.csv line by
    line, the best weights, and at the end training.json. Returns the rows of the history.
    """
    training = batches(samples, parts.rows("train", samples), settings, augmented=True)
    validation = batches(samples, parts.rows("validation", samples), settings, augmented=False)
    started, started_cpu = time.perf_counter(), time.process_time()
    keeper = _Keeper(run, len(training), sum(phase.epochs for phase in settings.train.phases), progress)
    for number, phase in enumerate(settings.train.phases):
        keeper.phase = number
        if number > 0:
            weights.restore(network.model, run.checkpoint)
        _compile(network, phase)
        try:
            network.model.fit(
                training,
                validation_data=validation,
                epochs=phase.epochs,
                shuffle=False,  # the dataset shuffles itself
                verbose=0,
                callbacks=[*_schedule(phase), keeper],
            )
        except tf.errors.ResourceExhaustedError as error:
            half = max(1, settings.train.batch_size // 2)
            raise LimitError(
                "training ran out of memory.", f"Use smaller batches: --set train.batch_size={half}."
            ) from error
    summary = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "best": keeper.best_row,
    }
    write_text(run.finished, json.dumps(summary, indent=2) + "\n")
    return keeper.rows


def batches(samples: Samples, rows: np.ndarray, settings: Config, augmented: bool) -> tf.data.Dataset:
    """Batches of (images float32 [b, h, w, 3] in 0..255, labels one-hot float32 [b, classes]).

    With `augmented`, in a new order every epoch and through the chain of `settings.augment`. The order follows
    the seed; the pixels do not exactly, because tf.data runs the draws of a batch's images in parallel.
    """
    seed = settings.train.seed
    data = tf.data.Dataset.from_tensor_slices((samples.images[rows], samples.labels[rows]))
    if augmented:
        data = data.shuffle(len(rows), seed=seed, reshuffle_each_iteration=True)
    data = data.batch(settings.train.batch_size)
    augment = chain(settings.augment if augmented else (), seed)

    def ready(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(tf.cast(images, tf.float32)), tf.one_hot(labels, len(samples.class_names))

    return data.map(ready, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def _compile(network: models.Network, phase: Phase) -> None:
    for layer in network.model.layers:
        # A frozen batch norm also keeps its statistics: Keras runs it as in prediction.
        layer.trainable = phase.trainable == "all" or layer.name not in network.backbone
    network.model.compile(
        optimizer=keras.optimizers.Adam(phase.learning_rate),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _schedule(phase: Phase) -> list[keras.callbacks.Callback]:
    callbacks: list[keras.callbacks.Callback] = []
    if phase.plateau:
        callbacks.append(keras.callbacks.ReduceLROnPlateau("val_loss", phase.plateau_factor, phase.plateau))
    if phase.patience:
        callbacks.append(keras.callbacks.EarlyStopping("val_loss", patience=phase.patience))
    return callbacks


class _Keeper(keras.callbacks.Callback):
    """Keeps the best weights of all phases, appends to history.csv, and reports progress."""

    def __init__(self, run: Run, steps: int, epochs: int, progress: Progress):
        super().__init__()
        self.run, self.steps, self.epochs, self.progress = run, steps, epochs, progress
        self.phase = 0
        self.rows: list[dict] = []
        self.best_row: dict | None = None
        self.note = ""

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        done = len(self.rows) * self.steps + batch + 1
        self.progress(done, self.epochs * self.steps, self.note)

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        if not np.isfinite([logs["loss"], logs["val_loss"]]).all():
            raise InputError(
                f"training diverged: the loss is no number after epoch {epoch + 1} of phase {self.phase + 1}.",
                f"Lower its learning rate: --set train.phases.{self.phase}.learning_rate=...",
            )
        best = self.best_row is None or logs["val_loss"] < self.best_row["val_loss"]
        row = {"phase": self.phase, "epoch": epoch, "seconds": round(time.perf_counter() - self.started, 1)}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row |= {key: float(logs[key]) for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        row["best"] = int(best)
        if best:
            self.best_row = row
            weights.save(self.model, self.run.checkpoint)
        self.rows.append(row)
        self._append(row)
        self.note = f"phase {self.phase + 1}, validation accuracy {row['val_accuracy']:.3f}"

    def _append(self, row: dict) -> None:
        new = not self.run.history.exists()
        with self.run.history.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HISTORY)
            if new:
                writer.writeheader()
            writer.writerow(row)
