"""CutMix, MixUp and FourierMix: keras-cv's layers with all random numbers from a `SeededRng`.

Each image of a batch is mixed with another of the batch, and so are their labels, float32 [n,
classes].
"""

import keras_cv
import tensorflow as tf
from keras_cv.src.utils import fill_utils


class MixUp(keras_cv.layers.MixUp):
    """Weighted mean of two images (Zhang et al., arXiv:1710.09412)."""

    def _mixup(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        n = tf.shape(images)[0]
        order = self._random_generator.permutation(n)
        share = self._random_generator.beta(self.alpha, n)
        weight = share[:, None, None, None]
        return weight * images + (1.0 - weight) * tf.gather(images, order), share, order


class CutMix(keras_cv.layers.CutMix):
    """A rectangle of one image in another (Yun et al., arXiv:1905.04899).

    The labels follow the area that was really covered: keras-cv counts what a rectangle near the
    border would have covered outside of the image.
    """

    def _cutmix(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        n, height, width = (tf.shape(images)[axis] for axis in range(3))
        order = self._random_generator.permutation(n)
        # The area of the rectangle is 1 - share of the image, before its border cuts it off.
        ratio = tf.sqrt(1.0 - self._random_generator.beta(self.alpha, n))
        cut_height = tf.cast(ratio * tf.cast(height, tf.float32), tf.int32)
        cut_width = tf.cast(ratio * tf.cast(width, tf.float32), tf.int32)
        y = self._random_generator.uniform([n], 0, height, tf.int32)
        x = self._random_generator.uniform([n], 0, width, tf.int32)
        covered = fill_utils.fill_rectangle(
            tf.zeros([n, height, width, 1]),
            x,
            y,
            cut_width,
            cut_height,
            tf.ones([n, height, width, 1]),
        )
        share = 1.0 - tf.reduce_mean(covered, axis=[1, 2, 3])
        return (
            tf.where(covered > 0, tf.gather(images, order), images),
            share,
            order,
            y,
            x,
            cut_width,
            cut_height,
        )


class FourierMix(keras_cv.layers.FourierMix):
    """FMix: two images joined along a mask of low frequencies (Harris et al., arXiv:2002.12047).

    keras-cv 0.9's layer ignores its seed for the mixing ratio, and takes rows 0 and 1 of the
    spectrum for its real and imaginary part, so that its masks hold two frequencies only and are
    stripes. Here the two parts are the last axis, as in the paper's equation 3, and a whole batch
    is transformed at once.
    """

    def _fourier_mix(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        shape = tf.shape(images)
        n, height, width = shape[0], shape[1], shape[2]
        order = self._random_generator.permutation(n)
        share = self._random_generator.beta(self.alpha, n)
        masks = self._masks(n, height, width)
        # The threshold is the value at the rank of the share: this share of the pixels lies above
        # it. `share` is then counted again: equal values fall on one side together.
        pixels = height * width
        kept = tf.cast(tf.round(share * tf.cast(pixels, tf.float32)), tf.int32)
        falling = tf.sort(tf.reshape(masks, [n, pixels]), direction="DESCENDING")
        threshold = tf.gather(falling, tf.minimum(kept, pixels - 1), batch_dims=1)
        masks = tf.cast(masks > threshold[:, None, None], tf.float32)[..., None]
        share = tf.reduce_mean(masks, axis=[1, 2, 3])
        return masks * images + (1.0 - masks) * tf.gather(images, order), masks, share, order

    def _masks(self, n: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Grey images whose spectrum falls with the frequency to the power -decay_power, float32
        [n, h, w]."""
        rows = _compute_frequencies(height)
        columns = _compute_frequencies(width)[: width // 2 + 1]
        frequencies = tf.sqrt(rows[:, None] ** 2 + columns[None] ** 2)
        lowest = 1.0 / tf.cast(tf.maximum(height, width), tf.float32)
        scale = tf.maximum(frequencies, lowest) ** -float(self.decay_power)
        normal = self._random_generator.normal([n, height, width // 2 + 1, 2])
        spectrum = tf.complex(scale * normal[..., 0], scale * normal[..., 1])
        return tf.signal.irfft2d(spectrum, [height, width])


def _compute_frequencies(size: tf.Tensor) -> tf.Tensor:
    """The frequencies of a discrete Fourier transform in its order, in cycles a pixel, float32
    [size]."""
    half = (size + 1) // 2
    order = tf.concat([tf.range(half), tf.range(half - size, 0)], 0)
    return tf.cast(order, tf.float32) / tf.cast(size, tf.float32)
