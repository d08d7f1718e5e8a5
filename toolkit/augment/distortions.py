"""Random maps of the plane: seen from a slant, and bent like rubber or frosted glass."""

from typing import Any

import tensorflow as tf

from toolkit.augment.geometry import resample
from toolkit.augment.layers import PixelLayer

# Points of a side at which displacements are drawn; between them they are interpolated.
GRIDS = (4, 10, 50)


class Perspective(PixelLayer):
    """Shows images from a slant, in any direction: at strength 1, one side up to 2.3 times as large
    as the opposite one. Mirrored beyond the border."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return 0.4 * self.factor * self._random_generator.uniform([batch_size, 2], -1.0, 1.0)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        columns, rows = _list_places(images)
        height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
        # From the middle, in halves of the sides.
        x, y = 2.0 * (columns + 0.5) / width - 1.0, 2.0 * (rows + 0.5) / height - 1.0
        slant = transformations[:, :, None, None]
        # Of each pixel, relative to the middle's; in the corners of a square at least 0.2.
        distance = 1.0 + slant[:, 0] * x + slant[:, 1] * y
        return resample(
            images,
            (x / distance + 1.0) * width / 2.0 - 0.5,
            (y / distance + 1.0) * height / 2.0 - 0.5,
        )


class Elastic(PixelLayer):
    """Moves the pixels of images by random fields, from smooth as rubber (Simard et al., Best
    Practices for Convolutional Neural Networks, ICDAR 2003) to rough as frosted glass; at strength
    1 by a standard deviation of up to a twelfth of the side. Mirrored beyond the border."""

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor = None, **kwargs: Any
    ) -> tf.Tensor:
        size = tf.shape(images)[1:3]
        fields = [
            tf.image.resize(self._random_generator.normal([batch_size, points, points, 2]), size)
            for points in GRIDS
        ]
        kind = self._random_generator.uniform([batch_size], 0, len(GRIDS), tf.int32)
        field = tf.gather(tf.stack(fields, axis=1), kind, batch_dims=1)
        side = tf.cast(tf.reduce_max(size), tf.float32)
        return self.strengths(batch_size) * side / 12.0 * field

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        columns, rows = _list_places(images)
        return resample(images, columns + transformations[..., 0], rows + transformations[..., 1])


def _list_places(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The columns and the rows of the pixels of `images` [n, h, w, 3], float32 [1, h, w]."""
    height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
    columns, rows = tf.meshgrid(tf.range(width), tf.range(height))
    return columns[None], rows[None]
