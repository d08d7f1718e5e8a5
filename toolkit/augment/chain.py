"""A chain of keras-cv augmentation layers, each drawn anew for every image at its own rate."""

from collections.abc import Callable

import keras
import keras_cv
import tensorflow as tf

from toolkit.config import Operation
from toolkit.errors import InputError

VALUE_RANGE = (0, 255)

# name: layer for a strength in 0..1 and a seed; strength 0 changes nothing.
OPERATIONS: dict[str, Callable[[float, int], keras.layers.Layer]] = {
    # strength: the chance of each of the two flips
    "flip": lambda factor, seed: keras_cv.layers.RandomFlip("horizontal_and_vertical", rate=factor, seed=seed),
    # strength: the largest turn either way, as a share of a full turn; 0.5 reaches every angle
    "rotate": lambda factor, seed: keras_cv.layers.RandomRotation(factor, fill_mode="reflect", seed=seed),
    # Cubuk et al., RandAugment, arXiv:1909.13719, without its geometry (the two above are stronger); strength: magnitude
    "rand-augment": lambda factor, seed: keras_cv.layers.RandAugment(
        value_range=VALUE_RANGE,
        augmentations_per_image=3,
        magnitude=factor,
        magnitude_stddev=0.15,
        seed=seed,
    ),
}


def chain(operations: tuple[Operation, ...], seed: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from images float32 0..255 [n, h, w, 3] to augmented ones, for eager use and tf.data.

    With the same seed, the same calls in the same order give the same pixels. Raises InputError for an
    operation that does not exist.
    """
    layers = []
    for number, operation in enumerate(operations):
        if operation.name not in OPERATIONS:
            raise InputError(
                f"there is no augmentation '{operation.name}'.", f"Augmentations: {', '.join(OPERATIONS)}."
            )
        if operation.factor == 0 or operation.rate == 0:
            continue  # two of RandAugment's operations know no strength: they would act at 0 too
        layer = OPERATIONS[operation.name](operation.factor, seed + 2 * number)
        if operation.rate < 1:
            layer = keras_cv.layers.RandomApply(layer, rate=operation.rate, seed=seed + 2 * number + 1)
        layers.append(layer)

    def augment(images: tf.Tensor) -> tf.Tensor:
        for layer in layers:
            images = layer(images, training=True)
        return tf.clip_by_value(images, *VALUE_RANGE)

    return augment
