"""The stream of training images: drawn, augmented and fed a block at a time, so that memory stays
flat.

Everything random in it follows from the run's seed, the epoch and the block: it starts anywhere, on
any number of threads, with the same pixels.
"""

import numpy as np
import tensorflow as tf

from toolkit.augment.chain import chain
from toolkit.core.config import Config
from toolkit.data.dataset import Samples

# Epochs never reach this: the seed of the one augmented copy of the validation part.
VALIDATION_EPOCH = 2**20


def stream(
    samples: Samples, rows: np.ndarray, settings: Config, augmented: bool, first_epoch: int = 0
) -> tuple[tf.data.Dataset, int]:
    """Endless batches of (images float32 [b, h, w, 3] in 0..255, labels float32 [b, classes],
    weights [b]).

    Returns them with their number in an epoch. Each epoch has an order of its own; `first_epoch`
    counts over all phases.
    """
    rows = balanced(samples, rows, settings)
    copies, size = 1, settings.train.batch_size
    if settings.train.blocks and augmented:
        copies, size = settings.train.blocks.copies, settings.train.blocks.size
    ready = _ready(samples, rows, settings, augmented)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        seeds = [[settings.train.seed, number * copies + copy] for copy in range(copies)]
        order = tf.concat(
            [tf.random.experimental.stateless_shuffle(tf.range(len(rows)), seed) for seed in seeds],
            0,
        )
        blocks = tf.data.Dataset.from_tensor_slices(order).batch(size).enumerate()
        blocks = blocks.map(
            lambda block, places: (tf.stack([number, tf.cast(block, tf.int32)]), places)
        )
        blocks = blocks.map(ready, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return (
            blocks
            if size == settings.train.batch_size
            else blocks.rebatch(settings.train.batch_size)
        )

    epochs = tf.data.Dataset.range(first_epoch, VALIDATION_EPOCH).map(
        lambda number: tf.cast(number, tf.int32)
    )
    return epochs.flat_map(epoch).prefetch(2), -(-len(rows) * copies // settings.train.batch_size)


def fixed(samples: Samples, rows: np.ndarray, settings: Config, augmented: bool) -> tf.data.Dataset:
    """One pass over `rows` in their order, in batches as `stream`'s; with `augmented`, the same
    changes every time."""
    ready = _ready(samples, rows, settings, augmented)
    blocks = (
        tf.data.Dataset.range(len(rows), output_type=tf.int32)
        .batch(settings.train.batch_size)
        .enumerate()
    )
    place = tf.constant(VALIDATION_EPOCH)
    return blocks.map(
        lambda block, places: ready(tf.stack([place, tf.cast(block, tf.int32)]), places),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).prefetch(2)


def augmented_once(samples: Samples, rows: np.ndarray, settings: Config, draw: int) -> np.ndarray:
    """The images at `rows` through the augmentations of `settings`, float32 [n, h, w, 3]; another
    `draw`, other ones."""
    ready = _ready(samples, rows, settings, augmented=True)
    return ready(tf.constant([VALIDATION_EPOCH, draw]), tf.range(len(rows)))[0].numpy()


def reordered(
    arrays: tuple[np.ndarray, ...], settings: Config, first_epoch: int
) -> tuple[tf.data.Dataset, int]:
    """Endless batches of `arrays` (equally long), in the order `stream` has without copies; with
    the number an epoch."""
    tensors = tuple(tf.constant(array) for array in arrays)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(arrays[0])), [settings.train.seed, number]
        )
        places = tf.data.Dataset.from_tensor_slices(order).batch(settings.train.batch_size)
        return places.map(lambda chosen: tuple(tf.gather(tensor, chosen) for tensor in tensors))

    epochs = tf.data.Dataset.range(first_epoch, VALIDATION_EPOCH).map(
        lambda number: tf.cast(number, tf.int32)
    )
    return epochs.flat_map(epoch).prefetch(2), -(-len(arrays[0]) // settings.train.batch_size)


def _ready(samples: Samples, rows: np.ndarray, settings: Config, augmented: bool):
    """A function from a block's number, int32 [2] (epoch, block), and places in `rows` to its
    images and labels."""
    # Held once, outside of the graph that runs in parallel.
    images, labels = tf.constant(samples.images[rows]), tf.constant(samples.labels[rows], tf.int32)
    classes = len(samples.class_names)
    weights = (
        np.ones(classes)
        if not settings.train.class_weights
        else class_weights(samples.labels[rows], classes)
    )
    weights = tf.constant(weights, tf.float32)
    augment = chain(settings.augment if augmented else (), samples.images.shape[1:3])

    def ready(number: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        seed = tf.random.experimental.stateless_fold_in([settings.train.seed, number[0]], number[1])
        pixels = tf.cast(tf.gather(images, places), tf.float32)
        pixels = tf.ensure_shape(pixels, [None, *samples.images.shape[1:]])
        pixels, mixed = augment(pixels, tf.one_hot(tf.gather(labels, places), classes), seed)
        # After mixing: Keras' class_weight would take the weight of the largest part of a mixed
        # label.
        return pixels, mixed, tf.linalg.matvec(mixed, weights)

    return ready


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """A weight a class, inverse to how often it occurs, 1 on average over the images; float
    [classes]."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def balanced(samples: Samples, rows: np.ndarray, settings: Config) -> np.ndarray:
    """`rows`; with `oversample`, those of rarer classes repeated until each is as frequent as the
    most frequent."""
    if not settings.train.oversample:
        return rows
    labels = samples.labels[rows]
    return np.concatenate(
        [np.resize(rows[labels == label], np.bincount(labels).max()) for label in np.unique(labels)]
    )
