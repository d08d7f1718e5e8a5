"""A chain of augmentations, each applied at its own rate, on whole batches.

keras-cv applies a layer at a rate by looping over the images one by one. Here the images that an
operation is drawn for are gathered, the layer runs on all of them at once, and they are scattered
back to their rows. The distribution is the same, and all random numbers depend on the seed of the
step, whichever thread works on it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import tensorflow as tf
from keras_cv import layers
from keras_cv.layers import BaseImageAugmentationLayer, RandAugment

from toolkit.augment import kernels
from toolkit.augment.geometry import GEOMETRIC, draw_matrices, warp
from toolkit.augment.registry import (
    MIXING,
    OPERATIONS,
    RAND_AUGMENT_DEVIATION,
    REPLACED,
    VALUE_RANGE,
    Size,
)
from toolkit.augment.rng import SeededRng, bind
from toolkit.core.config import Operation
from toolkit.core.errors import InputError

# From images float32 0..255 [n, h, w, 3] to changed ones.
Change = Callable[[tf.Tensor], tf.Tensor]
# From images float32 0..255 [n, h, w, 3], labels float32 [n, classes] and a seed int32 [2] to the
# first two, changed.
Chain = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# The same within a chain, which holds the seed.
Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def build_chain(operations: tuple[Operation, ...], size: Size) -> Chain:
    """The `operations` in turn, for eager use and tf.data; the same seed gives the same pixels and
    labels.
    """
    active = [operation for operation in operations if operation.rate and operation.factor]
    rng = SeededRng()
    with _lend_global_generator():
        steps = [_make_step(operation, size, rng) for operation in active]

    def augment(
        images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        shape = images.shape
        if labels.dtype.is_integer and any(operation.name in MIXING for operation in operations):
            raise InputError(
                "mixed images need mixed labels, and integer labels cannot be mixed.",
                "Give one-hot labels.",
            )
        if steps:
            # They write into it, and the caller's images are the caller's.
            images = tf.raw_ops.DeepCopy(x=images)
        with rng.use_seed(seed):
            for step in steps:
                images, labels = step(images, labels)
        return tf.ensure_shape(tf.clip_by_value(images, *VALUE_RANGE), shape), labels

    return augment


def build_random_apply_chain(operations: tuple[Operation, ...], size: Size) -> Chain:
    """What a keras-cv user writes: each layer under RandomApply. The yardstick of `cbtool bench
    augment`.

    Its pixels follow no seed. Mixing operations are left out: RandomApply cannot hold them.
    """
    stock = OPERATIONS | REPLACED
    applied = [
        layers.RandomApply(stock[operation.name](operation.factor, size), operation.rate)
        for operation in operations
        if operation.name not in MIXING
    ]

    def augment(
        images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        for layer in applied:
            images = layer(images, training=True)
        return tf.clip_by_value(images, *VALUE_RANGE), labels

    return augment


@contextmanager
def _lend_global_generator() -> Iterator[None]:
    """Lends TensorFlow a global generator, and gives the program's own back after the block.

    keras-cv's layers ask for it when they are made, before `bind` gives them another. Under
    deterministic operations TensorFlow makes none by itself.
    """
    try:
        outer = tf.random.get_global_generator()
    except RuntimeError:
        outer = None
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    try:
        yield
    finally:
        tf.random.set_global_generator(outer)


def _make_step(operation: Operation, size: Size, rng: SeededRng) -> Step:
    """One operation of a chain, on the share `operation.rate` of the images."""
    if operation.name in MIXING:
        return _make_mixing_step(operation, size, rng)
    change = _make_change(operation, size, rng)

    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = _draw_rows(images, operation.rate, rng)
        changed = _apply_unless_empty(tf.gather(images, rows), change, rng)
        return kernels.replace_rows(images, rows, changed), labels

    return step


def _make_mixing_step(operation: Operation, size: Size, rng: SeededRng) -> Step:
    """The same for an operation that mixes images, and so their labels."""
    layer = bind(OPERATIONS[operation.name](operation.factor, size), rng)

    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = _draw_rows(images, operation.rate, rng)
        drawn = {"images": tf.gather(images, rows), "labels": tf.gather(labels, rows)}
        mixed = layer(drawn, training=True)
        images = kernels.replace_rows(images, rows, mixed["images"])
        return images, tf.tensor_scatter_nd_update(labels, rows[:, None], mixed["labels"])

    return step


def _draw_rows(images: tf.Tensor, rate: float, rng: SeededRng) -> tf.Tensor:
    """The rows of `images` that an operation of this rate changes, int32 [m]."""
    return tf.cast(tf.where(rng.uniform([tf.shape(images)[0]]) < rate)[:, 0], tf.int32)


def _make_change(operation: Operation, size: Size, rng: SeededRng) -> Change:
    if operation.name == "rand-augment":
        return _make_rand_augment(operation.factor, rng)
    if operation.name == "aug-mix":
        return _make_aug_mix(operation.factor, rng)
    return _bind_batch(OPERATIONS[operation.name](operation.factor, size), rng)


def _bind_batch(layer: keras.layers.Layer, rng: SeededRng) -> Change:
    """`layer` with its random numbers from `rng`, as a function of a batch.

    A layer that keras-cv can only run on single images gets a seed for each.
    """
    bind(layer, rng)
    if isinstance(layer, GEOMETRIC):
        return lambda images: warp(images, draw_matrices(layer, images))
    if not _takes_single_images(layer):
        return lambda images: layer(images, training=True)

    def change(images: tf.Tensor) -> tf.Tensor:
        def one(image_and_seed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, seed = image_and_seed
            with rng.use_seed(seed):
                return layer.augment_image(
                    image, transformation=layer.get_random_transformation(image=image)
                )

        seeds = rng.seeds(tf.shape(images)[0])
        return tf.map_fn(
            one, (images, seeds), fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32)
        )

    return change


def _takes_single_images(layer: keras.layers.Layer) -> bool:
    """Whether keras-cv would loop over the images of a batch: `layer` has no batched form."""
    own_batch = type(layer)._batch_augment is not BaseImageAugmentationLayer._batch_augment
    return isinstance(layer, BaseImageAugmentationLayer) and not own_batch


def _switch(
    images: tf.Tensor, choices: tf.Tensor, changes: list[Change], rng: SeededRng
) -> tf.Tensor:
    """Each image changed by the one of `changes` that its number in `choices`, int32 [n], names."""
    rows = tf.dynamic_partition(tf.range(tf.shape(images)[0]), choices, len(changes))
    parts = tf.dynamic_partition(images, choices, len(changes))
    changed = [_apply_unless_empty(part, change, rng) for part, change in zip(parts, changes)]
    return tf.dynamic_stitch(rows, changed)


def _apply_unless_empty(images: tf.Tensor, change: Change, rng: SeededRng) -> tf.Tensor:
    """`change` where there are images: some layers fail on none."""
    images = tf.ensure_shape(images, [None, *images.shape[1:]])
    # A sequence of its own: whether there are images does not move the numbers drawn later.
    with rng.use_seed(rng.seed()):
        return tf.cond(tf.shape(images)[0] > 0, lambda: change(images), lambda: images)


@dataclass(frozen=True)
class _Choice:
    """How one number that `_make_selector` draws changes an image.

    change: position in the list of changes. geometric_index: position among the geometric layers,
    0 where the change is not theirs.
    """

    change: int
    geometric_index: int = 0


def _make_selector(
    policy: Sequence[keras.layers.Layer], rng: SeededRng
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that changes each image by the layer of `policy` that its number in int32 [n]
    names.

    The number len(policy) changes nothing. The geometric layers share one resampling, which is most
    of what they cost: each image has its own map, whichever layer drew it.
    """
    geometric = [bind(layer, rng) for layer in policy if isinstance(layer, GEOMETRIC)]
    others = [layer for layer in policy if not isinstance(layer, GEOMETRIC)]
    changes: list[Change] = [tf.identity, *(_bind_batch(layer, rng) for layer in others)]
    choices = []
    for layer in policy:
        if isinstance(layer, GEOMETRIC):
            # The resampling that they share comes after the other changes.
            choices.append(_Choice(len(changes), geometric.index(layer)))
        else:
            choices.append(_Choice(1 + others.index(layer)))
    choices.append(_Choice(0))
    change_of = [choice.change for choice in choices]
    geometric_index_of = [choice.geometric_index for choice in choices]

    def change(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        chosen = tf.gather(change_of, numbers)
        geometric_indices = tf.boolean_mask(
            tf.gather(geometric_index_of, numbers), tf.equal(chosen, len(changes))
        )

        def move(part: tf.Tensor) -> tf.Tensor:
            # Every layer draws a map for every image, and each image keeps the one it chose.
            maps = tf.stack([draw_matrices(layer, part) for layer in geometric], axis=1)
            return warp(part, tf.gather(maps, geometric_indices, batch_dims=1))

        return _switch(images, chosen, [*changes, move], rng)

    return change


def _make_rand_augment(magnitude: float, rng: SeededRng) -> Change:
    """As `keras_cv.layers.RandAugment`: three times one of ten operations, or none with a chance of
    1 in 11."""
    policy = RandAugment.get_standard_policy(VALUE_RANGE, magnitude, RAND_AUGMENT_DEVIATION)
    one_of = _make_selector(policy, rng)

    def change(images: tf.Tensor) -> tf.Tensor:
        for _ in range(3):
            images = one_of(
                images, rng.uniform([tf.shape(images)[0]], 0, len(policy) + 1, tf.int32)
            )
        return images

    return change


def _make_aug_mix(severity: float, rng: SeededRng) -> Change:
    """As `keras_cv.layers.AugMix`: three chains of one to three operations, averaged, and mixed
    with the original.

    The operations and their strengths are keras-cv's, its rotation of 30 · severity radians
    included. One difference: keras-cv never selects its ninth operation, the vertical translation;
    here all nine are selected.
    """
    turn = 30 * severity / (2 * math.pi)
    policy = [
        layers.AutoContrast(VALUE_RANGE),
        layers.Equalization(VALUE_RANGE),
        layers.Posterization(VALUE_RANGE, bits=3),
        layers.Solarization(VALUE_RANGE, threshold_factor=(0.0, 255 * severity)),
        layers.RandomRotation((0.0, turn), fill_mode="reflect"),
        layers.RandomShear(0.3 * severity, None, fill_mode="reflect"),
        layers.RandomShear(None, 0.3 * severity, fill_mode="reflect"),
        layers.RandomTranslation(0.0, severity / 3, fill_mode="reflect"),
        layers.RandomTranslation(severity / 3, 0.0, fill_mode="reflect"),
    ]
    one_of = _make_selector(policy, rng)

    def change(images: tf.Tensor) -> tf.Tensor:
        n = tf.shape(images)[0]
        chains = tf.tile(images, [3, 1, 1, 1])
        depth = rng.uniform([3 * n], 1, 4, tf.int32)
        for level in range(3):
            numbers = rng.uniform([3 * n], 0, len(policy), tf.int32)
            chains = one_of(chains, tf.where(level < depth, numbers, len(policy)))
        weights = tf.transpose(rng.dirichlet(1.0, n, 3))[..., None, None, None]
        mixture = tf.reduce_sum(
            weights * tf.reshape(chains, tf.concat([[3], tf.shape(images)], 0)), axis=0
        )
        share = rng.uniform([n, 1, 1, 1])  # Beta(1, 1)
        return share * images + (1.0 - share) * mixture

    return change
