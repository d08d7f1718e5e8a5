"""What a phase of a training reads: batches of images, or of stored features."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from toolkit.augment import pipeline
from toolkit.augment.parts import Part
from toolkit.core.config import Config, Phase
from toolkit.data.dataset import Samples
from toolkit.models import backend, devices
from toolkit.models.network import Network
from toolkit.training.features import compute_features

FEATURE_BATCH = 256  # stored features are small


@dataclass(frozen=True)
class Feed:
    """What `fit` trains in a phase and on what: batches of (pixels or features, labels, weights).

    model: the whole network, or its head. steps: batches of `training`, which is endless, in an
    epoch. shifted: the corrupted validation images. Of several processes, each has its part of the
    batches for training and validation, and all of `shifted`.
    """

    model: keras.Model
    training: tf.data.Dataset
    steps: int
    validation: tf.data.Dataset
    shifted: tf.data.Dataset


def make_feed(
    network: Network,
    samples: Samples,
    train_rows: np.ndarray,
    validation_rows: np.ndarray,
    corrupted: Samples,
    phase: Phase,
    settings: Config,
    first_epoch: int,
) -> Feed:
    """What `phase` trains, and on which batches.

    train_rows, validation_rows: positions in `samples`. corrupted: copies of the validation images.
    first_epoch: the number of epochs that are done, of all phases.
    """
    part = _find_part()
    size = settings.train.images_per_step
    augmented = phase.augment and bool(settings.augment)
    validation = pipeline.make_fixed_batches(
        samples, validation_rows, settings, settings.train.augmented_validation
    )
    shifted = _batch_samples(corrupted, size)
    if phase.trainable != "head" or augmented:
        training, steps = pipeline.stream(
            samples, train_rows, settings, augmented, first_epoch, part
        )
        held_out = _cut_once(validation, part, size, len(validation_rows))
        return Feed(network.model, training, steps, held_out, shifted)
    # The backbone gives the same features in every epoch: it runs once, and the head trains on
    # what it gave.
    rows = pipeline.oversample(samples, train_rows, settings)
    batches = pipeline.make_fixed_batches(samples, rows, settings, False)
    features = compute_features(network.trunk, batches)
    training, steps = pipeline.make_feature_batches(features, settings, first_epoch, part)
    # A multiple of what a step takes, which all devices divide.
    size *= -(-FEATURE_BATCH // size)
    held_out = _batch_features(network.trunk, validation, size)
    return Feed(
        network.head,
        training,
        steps,
        _cut_once(held_out, part, size, len(validation_rows)),
        _batch_features(network.trunk, shifted, size),
    )


def _find_part() -> Part:
    """The part of each batch that this process trains on. On JAX all batches are of one size:
    another one is compiled anew, and devices share only batches that their number divides."""
    processes, process = devices.count_processes()
    return Part(process, processes, full=backend.name() == "jax")


def _cut_once(batches: tf.data.Dataset, part: Part, size: int, images: int) -> tf.data.Dataset:
    """`part` of the finite `batches` of `images` in all. All images weigh the same, and such that
    the mean of the batches' losses is that of the images'."""
    weight = float(batches.cardinality()) * size / images
    return pipeline.share_tensors(part.cut(batches, size, weight))


def _batch_samples(samples: Samples, batch_size: int) -> tf.data.Dataset:
    """`samples` in batches as those of `pipeline.make_fixed_batches`, each image of weight 1."""
    labels = tf.one_hot(samples.labels, len(samples.class_names))
    weights = np.ones(len(samples), np.float32)
    images = tf.data.Dataset.from_tensor_slices(
        (pipeline.copy_to_tensor(samples.images), labels, weights)
    )
    batches = images.batch(batch_size)
    batches = batches.map(lambda pixels, *rest: (tf.cast(pixels, tf.float32), *rest))
    return pipeline.share_tensors(batches)


def _batch_features(trunk: keras.Model, batches: tf.data.Dataset, size: int) -> tf.data.Dataset:
    features = tf.data.Dataset.from_tensor_slices(compute_features(trunk, batches))
    return pipeline.share_tensors(features.batch(size))
