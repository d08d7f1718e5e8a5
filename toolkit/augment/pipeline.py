"""The stream of training images: shuffled, augmented and batched. Its memory does not grow
with the number of copies.

Everything random in it depends on the run's seed, the epoch and the batch alone. So a resumed
training, which starts in the middle, and any number of threads give the same pixels.
"""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
import tensorflow as tf

from toolkit.augment.chain import build_chain
from toolkit.augment.parts import WHOLE, Part
from toolkit.core.config import Config
from toolkit.data.dataset import Samples

# No training has so many epochs: the seed of the one augmented copy of the validation part.
VALIDATION_EPOCH = 2**20

Batch = tuple[tf.Tensor, tf.Tensor, tf.Tensor]

ALIGNMENT = 64  # bytes
# What `_hold` made, for as long as the samples are in use.
_HELD: WeakKeyDictionary[Samples, tuple[tf.Tensor, tf.Tensor]] = WeakKeyDictionary()


def stream(
    samples: Samples,
    rows: np.ndarray,
    settings: Config,
    augmented: bool,
    first_epoch: int = 0,
    part: Part = WHOLE,
) -> tuple[tf.data.Dataset, int]:
    """Endless batches of (images float32 [b, h, w, 3] in 0..255, labels float32 [b, classes],
    weights [b]).

    Returns them with their number in an epoch. Each epoch has an order of its own; `first_epoch`
    counts over all phases. part: of each batch. Each of several processes augments its own images
    only, with random numbers of its own; but whole blocks, all with the same numbers.
    """
    rows = oversample(samples, rows, settings)
    copies, size = 1, settings.train.images_per_step
    if settings.train.blocks and augmented:
        copies, size = settings.train.blocks.copies, settings.train.blocks.size
    in_blocks = size != settings.train.images_per_step
    # Blocks are of another size than batches: their batches are divided when they are made.
    chunk_part = WHOLE if in_blocks else part
    make_batch = _build_batch_function(samples, rows, settings, augmented, chunk_part.number)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        orders = [
            _shuffle(len(rows), settings.train.seed, number * copies + copy)
            for copy in range(copies)
        ]
        chunks = tf.data.Dataset.from_tensor_slices(tf.concat(orders, 0)).batch(size).enumerate()

        def take_part(chunk: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, ...]:
            chosen, factors = chunk_part.choose(tf.size(places), size)
            chunk = tf.stack([number, tf.cast(chunk, tf.int32)])
            return chunk, tf.gather(places, chosen), factors

        return chunks.map(take_part)

    def augment(chunks: tf.data.Dataset) -> tf.data.Dataset:
        # By itself, not inside of a lambda: keras-cv's layers need what AutoGraph makes of it.
        return chunks.map(make_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    epochs = _number_epochs(first_epoch)
    if in_blocks:
        # Blocks are cut into batches, and no batch holds images of two epochs.
        batches = epochs.flat_map(
            lambda number: augment(epoch(number)).rebatch(settings.train.images_per_step)
        )
        batches = part.cut(batches, settings.train.images_per_step)
    else:
        # One map over all epochs: at an epoch's end, threads go on with the next one.
        batches = augment(epochs.flat_map(epoch))
    steps = -(-len(rows) * copies // settings.train.images_per_step)  # rounded up
    return share_tensors(batches.prefetch(2)), steps


def make_fixed_batches(
    samples: Samples, rows: np.ndarray, settings: Config, augmented: bool
) -> tf.data.Dataset:
    """One pass over `rows` in their order, in batches as `stream`'s; with `augmented`, the same
    changes every time."""
    make_batch = _build_batch_function(samples, rows, settings, augmented)
    places = tf.data.Dataset.range(len(rows), output_type=tf.int32)
    batches = places.batch(settings.train.images_per_step).enumerate()
    epoch = tf.constant(VALIDATION_EPOCH)
    batches = batches.map(
        lambda batch, places: make_batch(
            tf.stack([epoch, tf.cast(batch, tf.int32)]), places, tf.ones([tf.size(places)])
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    return share_tensors(batches.prefetch(2))


def augment_once(samples: Samples, rows: np.ndarray, settings: Config, seed: int) -> np.ndarray:
    """The images at `rows` after the augmentations of `settings`, float32 [n, h, w, 3]."""
    make_batch = _build_batch_function(samples, rows, settings, augmented=True)
    images, _, _ = make_batch(
        tf.constant([VALIDATION_EPOCH, seed]), tf.range(len(rows)), tf.ones([len(rows)])
    )
    return images.numpy()


def make_feature_batches(
    arrays: tuple[np.ndarray, ...], settings: Config, first_epoch: int, part: Part = WHOLE
) -> tuple[tf.data.Dataset, int]:
    """Endless batches of `arrays` (equally long, the last of them weights), in the order `stream`
    has without copies; with the number an epoch. part: of each batch."""
    tensors = tuple(tf.constant(array) for array in arrays)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = _shuffle(len(arrays[0]), settings.train.seed, number)
        places = tf.data.Dataset.from_tensor_slices(order).batch(settings.train.images_per_step)
        return places.map(lambda chosen: tuple(tf.gather(tensor, chosen) for tensor in tensors))

    steps = -(-len(arrays[0]) // settings.train.images_per_step)  # rounded up
    batches = part.cut(_number_epochs(first_epoch).flat_map(epoch), settings.train.images_per_step)
    return share_tensors(batches.prefetch(2)), steps


def _number_epochs(first: int) -> tf.data.Dataset:
    """The numbers of the epochs from `first` on, int32."""
    numbers = tf.data.Dataset.range(first, VALIDATION_EPOCH)
    return numbers.map(lambda number: tf.cast(number, tf.int32))


def _shuffle(n: int, seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """0..n-1 in an order that depends on `seed` and `epoch`, int32 [n]."""
    return tf.random.experimental.stateless_shuffle(tf.range(n), [seed, epoch])


def _build_batch_function(
    samples: Samples, rows: np.ndarray, settings: Config, augmented: bool, process: int = 0
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch]:
    """A function from a batch's number, int32 [2] (epoch, batch), places in `rows` and factors of
    the images' weights to the batch as `stream` describes it. process: of a training over several,
    each of which draws other random numbers."""
    images, labels = _hold(samples)
    places_in_samples = tf.constant(rows)
    classes = len(samples.class_names)
    weights = np.ones(classes)
    if settings.train.class_weights:
        weights = compute_class_weights(samples.labels[rows], classes)
    weights = tf.constant(weights, tf.float32)
    augment = build_chain(settings.augment if augmented else (), samples.images.shape[1:3])

    def make_batch(number: tf.Tensor, places: tf.Tensor, factors: tf.Tensor) -> Batch:
        seed = tf.random.experimental.stateless_fold_in([settings.train.seed, number[0]], number[1])
        if process:
            seed = tf.random.experimental.stateless_fold_in(seed, process)
        places = tf.gather(places_in_samples, places)
        pixels = tf.cast(tf.gather(images, places), tf.float32)
        pixels = tf.ensure_shape(pixels, [None, *samples.images.shape[1:]])
        pixels, mixed = augment(pixels, tf.one_hot(tf.gather(labels, places), classes), seed)
        # After mixing: Keras' class_weight would take the weight of the largest part of a mixed
        # label.
        return pixels, mixed, tf.linalg.matvec(mixed, weights) * factors

    return make_batch


def _hold(samples: Samples) -> tuple[tf.Tensor, tf.Tensor]:
    """The images and labels of `samples` as tensors, one copy for all streams of the same samples,
    outside of the graphs that run in parallel."""
    if samples not in _HELD:
        with tf.device("CPU"):  # where batches are made; a GPU's memory is for the network
            labels = tf.constant(samples.labels, tf.int32)
            _HELD[samples] = (copy_to_tensor(samples.images), labels)
    return _HELD[samples]


def copy_to_tensor(images: np.ndarray) -> tf.Tensor:
    """`images` as a tensor. tf.constant takes two copies on its way, which may be gigabytes; a
    tensor can share numpy's memory, if that lies at a multiple of ALIGNMENT."""
    memory = np.empty(images.nbytes + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    aligned = memory[start : start + images.nbytes].view(images.dtype).reshape(images.shape)
    aligned[...] = images
    return tf.experimental.dlpack.from_dlpack(aligned.__dlpack__())


def share_tensors(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """`dataset` without tf.data's own rewriting of its graph, which copies all tensors that its
    functions read: all images."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


def compute_class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """A weight a class, inverse to how often it occurs, 1 on average over the images; float
    [classes]."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))


def oversample(samples: Samples, rows: np.ndarray, settings: Config) -> np.ndarray:
    """`rows`; with `oversample`, those of rarer classes repeated until each is as frequent as the
    most frequent."""
    if not settings.train.oversample:
        return rows
    labels = samples.labels[rows]
    most = np.bincount(labels).max()
    # np.resize repeats the rows of a class, whole and in part, up to that number.
    each = [np.resize(rows[labels == label], most) for label in np.unique(labels)]
    return np.concatenate(each)
