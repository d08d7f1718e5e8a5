"""A chain of augmentations, each drawn anew for every image at its own rate, in large parallel
strokes.

keras-cv applies a layer at a rate by looping over the images one by one. Here the images an
operation is drawn for are gathered, the layer runs on all of them at once, and they go back to
their places: the same distribution, and every draw follows from the seed of the step, whichever
thread works on it.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from keras_cv import layers
from keras_cv.layers import BaseImageAugmentationLayer, RandAugment

from toolkit.augment.geometry import GEOMETRIC, matrices, warp
from toolkit.augment.registry import MIXING, OPERATIONS, RAND_AUGMENT_DEVIATION, VALUE_RANGE, Size
from toolkit.augment.rng import Draws, bind
from toolkit.core.config import Operation
from toolkit.core.errors import InputError

# From images float32 0..255 [n, h, w, 3] to changed ones.
Change = Callable[[tf.Tensor], tf.Tensor]
# From images float32 0..255 [n, h, w, 3], labels float32 [n, classes] and a seed int32 [2] to the
# first two, changed.
Chain = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def chain(operations: tuple[Operation, ...], size: Size) -> Chain:
    """The `operations` in turn, for eager use and tf.data; the same seed gives the same pixels and
    labels.

    Raises InputError for an operation that does not exist.
    """
    check(operations)
    # keras-cv's layers ask for the global generator when they are made, before `bind` gives them
    # another; under deterministic operations TensorFlow has none unless it is told to.
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    draws = Draws()
    steps = [
        _step(operation, size, draws)
        for operation in operations
        if operation.rate and operation.factor
    ]

    def augment(
        images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        shape = images.shape
        if labels.dtype.is_integer and any(operation.name in MIXING for operation in operations):
            raise InputError(
                "mixed images need mixed labels, and integers cannot be mixed.",
                "Give one-hot labels.",
            )
        with draws.seeded(seed):
            for step in steps:
                images, labels = step(images, labels)
        return tf.ensure_shape(tf.clip_by_value(images, *VALUE_RANGE), shape), labels

    return augment


def naive(operations: tuple[Operation, ...], size: Size) -> Chain:
    """What a keras-cv user writes: each layer under RandomApply. The yardstick of `cbtool bench
    augment`.

    Its pixels follow no seed. Mixing operations are left out: RandomApply cannot hold them.
    """
    check(operations)
    applied = [
        layers.RandomApply(OPERATIONS[operation.name](operation.factor, size), operation.rate)
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


def check(operations: tuple[Operation, ...]) -> None:
    """Raises InputError for an operation that does not exist."""
    for operation in operations:
        if operation.name not in OPERATIONS:
            raise InputError(
                f"there is no augmentation '{operation.name}'.",
                f"Augmentations: {', '.join(OPERATIONS)}.",
            )


def _step(operation: Operation, size: Size, draws: Draws):
    change = _change(operation, size, draws)

    def step(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.where(draws.uniform([tf.shape(images)[0]]) < operation.rate)
        drawn = tf.gather_nd(images, rows)
        if operation.name in MIXING:
            mixed = change({"images": drawn, "labels": tf.gather_nd(labels, rows)})
            labels = tf.tensor_scatter_nd_update(labels, rows, mixed["labels"])
            return tf.tensor_scatter_nd_update(images, rows, mixed["images"]), labels
        return tf.tensor_scatter_nd_update(
            images, rows, _unless_empty(drawn, change, draws)
        ), labels

    return step


def _change(operation: Operation, size: Size, draws: Draws) -> Change:
    if operation.name == "rand-augment":
        return _rand_augment(operation.factor, draws)
    if operation.name == "aug-mix":
        return _aug_mix(operation.factor, draws)
    return _bound(OPERATIONS[operation.name](operation.factor, size), draws)


def _bound(layer: keras.layers.Layer, draws: Draws) -> Change:
    """`layer` with its draws from `draws`; one that works on single images gets a seed for each."""
    bind(layer, draws)
    if isinstance(layer, GEOMETRIC):
        return lambda images: warp(images, matrices(layer, images))
    if not _single(layer):
        return lambda images: layer(images, training=True)

    def change(images: tf.Tensor) -> tf.Tensor:
        def one(image_and_seed: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, seed = image_and_seed
            with draws.seeded(seed):
                return layer.augment_image(
                    image, transformation=layer.get_random_transformation(image=image)
                )

        seeds = draws.seeds(tf.shape(images)[0])
        return tf.map_fn(
            one, (images, seeds), fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32)
        )

    return change


def _single(layer: keras.layers.Layer) -> bool:
    """Whether keras-cv would loop over the images of a batch: it is no batch layer and mixes
    nothing."""
    own_batch = type(layer)._batch_augment is not BaseImageAugmentationLayer._batch_augment
    return isinstance(layer, BaseImageAugmentationLayer) and not own_batch


def _switch(
    images: tf.Tensor, choices: tf.Tensor, changes: list[Change], draws: Draws
) -> tf.Tensor:
    """Each image changed by the one of `changes` that its number in `choices`, int32 [n], names."""
    places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), choices, len(changes))
    parts = tf.dynamic_partition(images, choices, len(changes))
    return tf.dynamic_stitch(
        places, [_unless_empty(part, change, draws) for part, change in zip(parts, changes)]
    )


def _unless_empty(images: tf.Tensor, change: Change, draws: Draws) -> tf.Tensor:
    """`change` where there are images: some layers fail on none. What it draws does not move later
    draws."""
    images = tf.ensure_shape(images, [None, *images.shape[1:]])
    with draws.seeded(draws.seed()):
        return tf.cond(tf.shape(images)[0] > 0, lambda: change(images), lambda: images)


def _one_of(
    policy: list[keras.layers.Layer], draws: Draws
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """A function that changes each image by one layer of `policy`, or not, as its number in int32
    [n] says.

    The number after the last layer's changes nothing. The geometric layers share one resampling.
    """
    geometric = [layer for layer in policy if isinstance(layer, GEOMETRIC)]
    others = [layer for layer in policy if not isinstance(layer, GEOMETRIC)]
    changes = [tf.identity, *(_bound(layer, draws) for layer in others)]
    # By number: the place in `changes`, where the geometric layers come last as one; and the place
    # among them.
    place = [1 + others.index(layer) if layer in others else len(changes) for layer in policy] + [0]
    axis = [geometric.index(layer) if layer in geometric else 0 for layer in policy] + [0]
    for layer in geometric:
        bind(layer, draws)

    def change(images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        kinds = tf.boolean_mask(
            tf.gather(axis, numbers), tf.equal(tf.gather(place, numbers), len(changes))
        )

        def move(part: tf.Tensor) -> tf.Tensor:
            every = tf.stack([matrices(layer, part) for layer in geometric], axis=1)
            return warp(part, tf.gather(every, kinds, batch_dims=1))

        return _switch(images, tf.gather(place, numbers), [*changes, move], draws)

    return change


def _rand_augment(magnitude: float, draws: Draws) -> Change:
    """As `keras_cv.layers.RandAugment`: three times one of ten operations, or none with a chance of
    1 in 11."""
    policy = RandAugment.get_standard_policy(VALUE_RANGE, magnitude, RAND_AUGMENT_DEVIATION)
    one_of = _one_of(policy, draws)

    def change(images: tf.Tensor) -> tf.Tensor:
        for _ in range(3):
            images = one_of(
                images, draws.uniform([tf.shape(images)[0]], 0, len(policy) + 1, tf.int32)
            )
        return images

    return change


def _aug_mix(severity: float, draws: Draws) -> Change:
    """As `keras_cv.layers.AugMix`: three chains of one to three operations, averaged, and mixed
    with the original.

    The operations and their strengths are keras-cv's, its rotation of 30 · severity radians
    included; only that it never draws the last of its nine, the translation along the height.
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
    one_of = _one_of(policy, draws)

    def change(images: tf.Tensor) -> tf.Tensor:
        n = tf.shape(images)[0]
        chains = tf.tile(images, [3, 1, 1, 1])
        depth = draws.uniform([3 * n], 1, 4, tf.int32)
        for level in range(3):
            numbers = draws.uniform([3 * n], 0, len(policy), tf.int32)
            chains = one_of(chains, tf.where(level < depth, numbers, len(policy)))
        weights = tf.transpose(draws.dirichlet(1.0, n, 3))[..., None, None, None]
        mixture = tf.reduce_sum(
            weights * tf.reshape(chains, tf.concat([[3], tf.shape(images)], 0)), axis=0
        )
        share = draws.uniform([n, 1, 1, 1])  # Beta(1, 1)
        return share * images + (1.0 - share) * mixture

    return change
