"""Layers in the manner of keras-cv for what it lacks (noise, lost resolution, highlighted edges),
and for its blur, which takes the images one by one."""

from typing import Any

import tensorflow as tf
from keras_cv.layers import VectorizedBaseImageAugmentationLayer

from toolkit.augment import kernels

BLUR_REACH = 5  # pixels to each side; further ones have no weight


class PixelLayer(VectorizedBaseImageAugmentationLayer):
    """An augmentation of images float32 0..255 [n, h, w, 3] that leaves labels alone; strength in
    0..1."""

    def __init__(self, factor: float, seed: int | None = None):
        super().__init__(seed=seed)
        self.factor = factor

    def augment_labels(self, labels: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        return labels

    def strengths(self, n: tf.Tensor) -> tf.Tensor:
        """A strength an image, uniform in 0..factor, float32 [n, 1, 1, 1]."""
        return self._random_generator.uniform([n, 1, 1, 1], 0.0, self.factor)


class GaussianBlur(PixelLayer):
    """As `keras_cv.layers.RandomGaussianBlur(11, (0.3, 0.3 + 4.7 · factor))`: by a standard
    deviation between these numbers of pixels, black beyond the border."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        deviations = 0.3 + 4.7 * self.strengths(batch_size)[:, :, 0, 0]
        places = tf.range(-BLUR_REACH, BLUR_REACH + 1, dtype=tf.float32)
        weights = tf.exp(-0.5 * (places / deviations) ** 2)
        return weights / tf.reduce_sum(weights, axis=1, keepdims=True)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        # Two functions: within one, XLA makes one loop of both, of 121 products a pixel.
        return kernels.run(
            _blur_columns, kernels.run(_blur_rows, images, transformations), transformations
        )


@tf.function(jit_compile=True, autograph=False)
def _blur_rows(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    around = tf.pad(images, [[0, 0], [0, 0], [BLUR_REACH, BLUR_REACH], [0, 0]])
    return kernels.filter_each(around, weights, (1, 2 * BLUR_REACH + 1))


@tf.function(jit_compile=True, autograph=False)
def _blur_columns(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    around = tf.pad(images, [[0, 0], [BLUR_REACH, BLUR_REACH], [0, 0], [0, 0]])
    return kernels.filter_each(around, weights, (2 * BLUR_REACH + 1, 1))


class GaussianNoise(PixelLayer):
    """Adds normal noise of a standard deviation up to 100 · factor grey levels, half of the images
    the same in every channel."""

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor = None, **kwargs: Any
    ) -> Any:
        shape = tf.shape(images)
        colour = self._random_generator.normal(shape)
        grey = tf.cast(self._random_generator.uniform([batch_size, 1, 1, 1]) < 0.5, tf.float32)
        return self.strengths(batch_size) * 100.0 * (grey * colour[..., :1] + (1.0 - grey) * colour)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        return tf.clip_by_value(images + transformations, 0.0, 255.0)


class ImpulseNoise(PixelLayer):
    """Turns up to the share 0.5 · factor of the pixels black or white, half of the images channel
    by channel."""

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor = None, **kwargs: Any
    ) -> Any:
        shape = tf.shape(images)
        colour = self._random_generator.uniform(shape)
        whole = self._random_generator.uniform([batch_size, 1, 1, 1]) < 0.5
        return self.strengths(batch_size) * 0.25, tf.where(whole, colour[..., :1], colour)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        share, place = transformations
        return tf.where(place < share, 0.0, tf.where(place > 1.0 - share, 255.0, images))


class Pixelate(PixelLayer):
    """Shows every image at a lower resolution, down to 1 - 0.9 · factor of its own, in square
    pixels."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        return 1.0 - 0.9 * self.strengths(batch_size)[:, 0, 0, 0]

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
        rows, columns = (self._sources(size, transformations) for size in (height, width))
        return tf.gather(
            tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1
        )

    @staticmethod
    def _sources(size: tf.Tensor, scales: tf.Tensor) -> tf.Tensor:
        """For each place of an axis the place whose pixel it shows, int32 [n, size]."""
        block = 1.0 / scales[:, None]
        place = (tf.floor(tf.range(size)[None] / block) + 0.5) * block
        return tf.cast(tf.minimum(place, size - 1.0), tf.int32)


class Edges(PixelLayer):
    """Highlights edges and removes the background, as the report tried and discarded; factor blends
    it in.

    Background is what is as light as the image's border or lighter; edges are the magnitude of
    Sobel's gradient.
    """

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        grey = tf.image.rgb_to_grayscale(images)
        border = tf.concat([grey[:, :4], grey[:, -4:]], axis=1)
        background = grey >= tf.reduce_mean(border, axis=[1, 2], keepdims=True) - 10.0
        edges = tf.norm(tf.image.sobel_edges(grey), axis=-1)
        edges *= 255.0 / tf.maximum(tf.reduce_max(edges, axis=[1, 2], keepdims=True), 1.0)
        highlighted = tf.minimum(tf.where(background, 0.0, images) + edges, 255.0)
        return images + self.factor * (highlighted - images)
