"""What a phase of a training reads: batches of images, or of stored features."""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from toolkit.augment import pipeline
from toolkit.core.config import Config, Phase
from toolkit.data.dataset import Samples
from toolkit.models.network import Network
from toolkit.training.features import compute_features

FEATURE_BATCH = 256  # stored features are small


@dataclass(frozen=True)
class Feed:
    """What `fit` trains in a phase and on what: batches of (pixels or features, labels, weights).

    model: the whole network, or its head. steps: batches of `training`, which is endless, in an
    epoch. shifted: the corrupted validation images.
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
    augmented = phase.augment and bool(settings.augment)
    validation = pipeline.make_fixed_batches(
        samples, validation_rows, settings, settings.train.augmented_validation
    )
    shifted = _batch_samples(corrupted, settings.train.images_per_step)
    if phase.trainable != "head" or augmented:
        training, steps = pipeline.stream(samples, train_rows, settings, augmented, first_epoch)
        return Feed(network.model, training, steps, validation, shifted)
    # The backbone gives the same features in every epoch: it runs once, and the head trains on
    # what it gave.
    rows = pipeline.oversample(samples, train_rows, settings)
    batches = pipeline.make_fixed_batches(samples, rows, settings, False)
    features = compute_features(network.trunk, batches)
    training, steps = pipeline.make_feature_batches(features, settings, first_epoch)
    return Feed(
        network.head,
        training,
        steps,
        _batch_features(network.trunk, validation),
        _batch_features(network.trunk, shifted),
    )


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


def _batch_features(trunk: keras.Model, batches: tf.data.Dataset) -> tf.data.Dataset:
    features = tf.data.Dataset.from_tensor_slices(compute_features(trunk, batches))
    return pipeline.share_tensors(features.batch(FEATURE_BATCH))
