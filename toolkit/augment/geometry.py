"""Moving pixels: keras-cv's rotations, translations, shears and flips, by compiled kernels.

Resampling is most of the cost of a chain of augmentations. TensorFlow's kernel computes the source
position anew for each channel of a pixel. Here XLA compiles one loop for the three channels, which
is more than twice as fast on CPUs.
"""

from typing import Any

import keras
import tensorflow as tf
from keras_cv import layers
from keras_cv.src.utils import preprocessing

from toolkit.augment import kernels

GEOMETRIC = (layers.RandomRotation, layers.RandomTranslation, layers.RandomShear)


def draw_matrices(layer: keras.layers.Layer, images: tf.Tensor) -> tf.Tensor:
    """What `layer`, one of GEOMETRIC, draws for `images` [n, h, w, 3]: affine maps float32 [n, 6].

    A row (a, b, c, d, e, f) takes the pixel at column x and row y from (a·x + b·y + c, d·x + e·y +
    f).
    """
    shape = tf.cast(tf.shape(images), tf.float32)
    drawn = layer.get_random_transformation_batch(tf.shape(images)[0], images=images)
    if isinstance(layer, layers.RandomRotation):
        return preprocessing.get_rotation_matrix(drawn["angles"], shape[1], shape[2])[:, :6]
    if isinstance(layer, layers.RandomTranslation):
        moved = tf.concat(
            [drawn["width_translations"] * shape[2], drawn["height_translations"] * shape[1]], 1
        )
        return preprocessing.get_translation_matrix(moved)[:, :6]
    x, y = drawn["shear_x"], drawn["shear_y"]
    zero = tf.zeros_like(y if x is None else x)
    x, y, one = zero if x is None else x, zero if y is None else y, tf.ones_like(zero)
    # Along x first: its place (x + a·y, y), read at (x, y + b·x). keras-cv resamples twice.
    return tf.concat([one + x * y, x, zero, y, one, zero], 1)


def warp(images: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """`images` float32 [n, h, w, 3] through `maps` as `draw_matrices` gives them.

    Bilinear; mirrored beyond the border.
    """
    return kernels.run(_warp, images, maps)


def resample(images: tf.Tensor, columns: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`images` float32 [n, h, w, 3], each pixel read at its place in `columns` and `rows`, float32
    [n, h, w].

    Bilinear; mirrored beyond the border.
    """
    return kernels.run(_read, images, columns, rows)


@tf.function(jit_compile=True, autograph=False)
def _warp(images: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    x = tf.cast(tf.range(width), tf.float32)[None, None]
    y = tf.cast(tf.range(height), tf.float32)[None, :, None]
    a, b, c, d, e, f = (maps[:, place, None, None] for place in range(6))
    return _read(images, a * x + b * y + c, d * x + e * y + f)


@tf.function(jit_compile=True, autograph=False)
def _read(images: tf.Tensor, columns: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    n, height, width, channels = tf.unstack(tf.shape(images))
    left, right, x_share = _neighbours(columns, width)
    above, below, y_share = _neighbours(rows, height)
    pixels = tf.reshape(images, [-1, channels])
    start = (tf.range(n) * height * width)[:, None, None]

    def read(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather(pixels, start + row * width + column)

    upper = read(above, left) * (1.0 - x_share) + read(above, right) * x_share
    lower = read(below, left) * (1.0 - x_share) + read(below, right) * x_share
    return upper * (1.0 - y_share) + lower * y_share


def _neighbours(places: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The two pixels of an axis next to `places`, mirrored into 0..size-1, int32, and the share of
    the second."""
    # Mirrored about the border's outer edge, as fill_mode="reflect": a triangle wave of period
    # 2 · size whose pixel centres lie at halves. Not with tf.math.floormod: XLA calls a function of
    # C for each remainder, which took a third of the time.
    end = tf.cast(size, tf.float32)
    period = 2.0 * end
    wave = places + 0.5
    wave -= period * tf.floor(wave / period)
    mirrored = end - tf.abs(wave - end) - 0.5
    mirrored = tf.clip_by_value(mirrored, 0.0, end - 1.0)
    first = tf.floor(mirrored)
    second = tf.minimum(first + 1.0, end - 1.0)
    return tf.cast(first, tf.int32), tf.cast(second, tf.int32), (mirrored - first)[..., None]


class Flip(layers.RandomFlip):
    """keras-cv's RandomFlip, whose own passes over the batch take ten times as long."""

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        flags = [
            transformations[name][:, :, None, None] > 1.0 - self.rate
            for name in ("flip_horizontals", "flip_verticals")
        ]
        return kernels.run(_flip, images, *flags)


@tf.function(jit_compile=True, autograph=False)
def _flip(images: tf.Tensor, horizontal: tf.Tensor, vertical: tf.Tensor) -> tf.Tensor:
    images = tf.where(horizontal, tf.reverse(images, [2]), images)
    return tf.where(vertical, tf.reverse(images, [1]), images)
