"""Training in phases: first the head on a frozen backbone, then more of the network."""

import json
import time

import keras
import numpy as np
import tensorflow as tf

from toolkit.augment import chain, pipeline
from toolkit.core.config import Config, Phase
from toolkit.core.errors import InputError, LimitError
from toolkit.core.files import write_text
from toolkit.core.progress import Progress, silent
from toolkit.data import shift
from toolkit.data.dataset import Samples
from toolkit.data.splitting import Split
from toolkit.models import precision, pretrained
from toolkit.models.network import Network
from toolkit.models.network import build as build_network
from toolkit.training.checkpointing import Keeper
from toolkit.training.run_folder import Run

MOMENTUM = 0.9  # of plain gradient descent
# Of the shift benchmark's chains; never those that `evaluate` scores, so that what was selected on
# is not scored again.
MONITORED_SEEDS = (1000, 1001)

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    # Chen et al., arXiv:2302.06675; its rates are a tenth of Adam's
    "lion": keras.optimizers.Lion,
    "sgd": lambda **options: keras.optimizers.SGD(momentum=MOMENTUM, nesterov=True, **options),
}


def start(settings: Config, samples: Samples) -> Network:
    """The untrained network of `settings` for `samples`, seeded.

    Raises InputError for whatever in `settings` does not exist or does not fit, before anything is
    written.
    """
    if settings.train.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(settings.train.seed)
    chain.check(settings.augment)
    policy = precision.policy(settings.train.precision)
    network = build_network(
        settings.model, samples.images.shape[1:], len(samples.class_names), policy
    )
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
) -> list[dict]:
    """Trains `network` on the train part and keeps the best epoch by the monitored metric.

    Each phase starts from the best weights so far, with a new optimiser. Goes on after the last
    epoch that `run` holds, if it holds any. Writes history.csv line by line, the best weights and
    what it takes to go on after each epoch, and at the end training.json. Returns the rows of the
    history.
    """
    keeper = Keeper(run, settings, progress)
    # As if the part before an interruption had run just now.
    started, started_cpu = (
        time.perf_counter() - keeper.state.seconds,
        time.process_time() - keeper.state.cpu_seconds,
    )
    try:
        for number, phase in enumerate(settings.train.phases):
            if number >= keeper.state.phase:
                _train_phase(network, keeper, number, phase, samples, parts, settings)
    except tf.errors.ResourceExhaustedError as error:
        half = max(1, settings.train.batch_size // 2)
        raise LimitError(
            "training ran out of memory.", f"Use smaller batches: --set train.batch_size={half}."
        ) from error
    summary = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - started_cpu, 1),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        "best": keeper.state.best_row,
    }
    write_text(run.finished, json.dumps(summary, indent=2) + "\n")
    keeper.discard_state()
    return keeper.state.rows


def _train_phase(
    network: Network,
    keeper: Keeper,
    number: int,
    phase: Phase,
    samples: Samples,
    parts: Split,
    settings: Config,
) -> None:
    resumed = number == keeper.state.phase and keeper.state.epochs > 0
    if resumed and (keeper.state.stopped or keeper.state.epochs >= phase.epochs):
        return
    if number > 0 and not resumed:
        pretrained.restore(network.model, keeper.run.checkpoint)
    _freeze(network, phase, number)
    epoch = len(keeper.state.rows)
    train_rows, validation_rows = (parts.rows(part, samples) for part in ("train", "validation"))
    augmented = phase.augment and bool(settings.augment)
    validation = pipeline.fixed(
        samples, validation_rows, settings, settings.train.augmented_validation
    )
    shifted = _shifted(samples.take(validation_rows), settings.train.batch_size)
    if phase.trainable == "head" and not augmented:
        model = network.head
        shown = pipeline.balanced(samples, train_rows, settings)
        features = _features(network.trunk, pipeline.fixed(samples, shown, settings, False))
        training, steps = pipeline.reordered(features, settings, epoch)
        validation = tf.data.Dataset.from_tensor_slices(_features(network.trunk, validation)).batch(
            256
        )
        shifted = tf.data.Dataset.from_tensor_slices(_features(network.trunk, shifted)).batch(256)
    else:
        model = network.model
        training, steps = pipeline.stream(samples, train_rows, settings, augmented, epoch)
    _compile(model, phase, settings)
    keeper.set_model(model)
    keeper.begin_phase(number, phase, network, steps, shifted)
    if resumed:
        keeper.restore()
    averages = [keras.callbacks.SwapEMAWeights()] if settings.train.ema else []
    model.fit(
        training,
        validation_data=validation,
        epochs=phase.epochs,
        initial_epoch=keeper.state.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # the stream shuffles itself
        verbose=0,
        # The keeper first: it keeps the best weights while the averages are still swapped in.
        callbacks=[keeper, *averages],
    )


def _shifted(held_out: Samples, batch_size: int) -> tf.data.Dataset:
    """Corrupted copies of `held_out` in batches as `pipeline.fixed`'s, each of weight 1."""
    copies = shift.mixtures(held_out, MONITORED_SEEDS)
    labels = tf.one_hot(copies.labels, len(copies.class_names))
    batches = tf.data.Dataset.from_tensor_slices(
        (copies.images, labels, np.ones(len(copies), np.float32))
    )
    return batches.batch(batch_size).map(lambda images, *rest: (tf.cast(images, tf.float32), *rest))


def _first_trainable(network: Network, phase: Phase, number: int) -> int:
    """The place in the backbone's layers from which on `phase` trains. Raises InputError beyond its
    end."""
    layers = len(network.trunk.layers)
    if phase.trainable == "head":
        return layers
    if phase.trainable == "all":
        return 0
    if isinstance(phase.trainable, float):
        return round(layers * (1 - phase.trainable))
    if phase.trainable >= layers:
        raise InputError(
            f"phase {number} trains from layer {phase.trainable} on, and {network.trunk.name} has "
            f"only {layers} layers.",
            f"Name an earlier one: --set train.phases.{number}.trainable={layers // 2}.",
        )
    return phase.trainable


def _freeze(network: Network, phase: Phase, number: int) -> None:
    first = _first_trainable(network, phase, number)
    for place, layer in enumerate(network.trunk.layers):
        # A frozen batch norm also keeps its statistics: Keras runs it as in prediction.
        norm = phase.frozen_norm and isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = place >= first and not norm


def _compile(model: keras.Model, phase: Phase, settings: Config) -> None:
    smoothing = settings.train.label_smoothing
    if settings.train.focal:
        loss = keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=settings.train.focal, from_logits=True, label_smoothing=smoothing
        )
    else:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    options: dict = {"learning_rate": phase.learning_rate}
    if phase.weight_decay:
        options["weight_decay"] = phase.weight_decay
    if settings.train.ema:
        options |= {"use_ema": True, "ema_momentum": settings.train.ema}
    if phase.accumulate > 1:
        options["gradient_accumulation_steps"] = phase.accumulate
    model.compile(
        optimizer=OPTIMIZERS[phase.optimizer](**options),
        loss=loss,
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _features(
    trunk: keras.Model, batches: tf.data.Dataset
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the backbone makes of `batches`, once: features [n, width], labels [n, classes], weights
    [n]."""
    run = tf.function(lambda images: trunk(images, training=False), reduce_retracing=True)
    parts = [
        (run(images).numpy(), labels.numpy(), shares.numpy()) for images, labels, shares in batches
    ]
    return tuple(np.concatenate(part) for part in zip(*parts))
