"""Loops over the pixels of a batch, compiled by XLA: one pass instead of one an operation."""

import math
from collections.abc import Callable

import tensorflow as tf

IMAGES_MULTIPLE = 4


def run(compiled: Callable[..., tf.Tensor], images: tf.Tensor, *drawn: tf.Tensor) -> tf.Tensor:
    """`compiled` of `images` and of what was drawn for them.

    XLA compiles anew for each number of images, so that is rounded up: to a multiple of
    IMAGES_MULTIPLE, and by up to a quarter where there are many.
    """
    n = tf.shape(images)[0]
    power = tf.cast(tf.floor(tf.math.log(tf.cast(n, tf.float32) + 0.5) / math.log(2)), tf.int32)
    missing = (-n) % tf.maximum(IMAGES_MULTIPLE, tf.bitwise.left_shift(1, power) // 4)
    padded = [
        tf.pad(tensor, [[0, missing], *[[0, 0]] * (len(tensor.shape) - 1)])
        for tensor in (images, *drawn)
    ]
    return compiled(*padded)[:n]


def filter_each(images: tf.Tensor, kernels: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """`images` [n, h + rows - 1, w + columns - 1, 3], which hold a margin, each filtered by its own
    kernel: [n, h, w, 3]. For use in compiled functions.

    kernels: [n, rows · columns], row by row; size: (rows, columns). A convolution takes one kernel
    for all images.
    """
    rows, columns = size
    height, width, channels = tf.unstack(tf.shape(images)[1:])
    height, width = height - rows + 1, width - columns + 1
    # The channels of a row in one axis: the compiler makes vectors along the last one only.
    lines = tf.reshape(images, [-1, height + rows - 1, (width + columns - 1) * channels])
    total = tf.zeros_like(lines[:, :height, : width * channels])
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        start = column * channels
        part = lines[:, row : row + height, start : start + width * channels]
        total += kernels[:, place, None, None] * part
    return tf.reshape(total, [-1, height, width, channels])


def replace_rows(images: tf.Tensor, rows: tf.Tensor, changed: tf.Tensor) -> tf.Tensor:
    """`images` with `changed` in the places `rows`, int32 [m], written into their own memory.

    Nothing else may read `images` afterwards. tf.tensor_scatter_nd_update copies the whole batch,
    which in a long chain of rare operations took a quarter of the time.
    """
    return tf.raw_ops.InplaceUpdate(x=images, i=rows, v=changed)
