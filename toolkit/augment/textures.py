"""Random changes of what pixels show: filters and curves of levels as unlike each other as those of
PRIME (Modas et al., arXiv:2112.13547), JPEG, rectangles, and other pictures on top."""

import math
from typing import Any

import tensorflow as tf

from toolkit.augment import kernels
from toolkit.augment.layers import PixelLayer

SIDE = 5  # of a random filter, in pixels
WAVES = 5  # sines that make up a curve
# How Overlay lays one image over another.
MIXED, SCREEN, SLIDES, RECTANGLE = MODES = range(4)


class RandomFilter(PixelLayer):
    """Filters images with a random kernel of 5 × 5 pixels, whose middle weighs more where the
    strength is small. Keeps the mean and the contrast of each image: only its texture changes."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        drawn = self._random_generator.normal([batch_size, SIDE * SIDE])
        # Half of the kernels are of the inner 3 × 3 pixels alone.
        row = tf.abs(tf.range(SIDE) - SIDE // 2)
        inner = tf.reshape(tf.maximum(row[:, None], row[None]) < 2, [1, -1])
        small = self._random_generator.uniform([batch_size, 1]) < 0.5
        drawn = tf.where(small & ~inner, 0.0, drawn)
        same = tf.one_hot(SIDE * SIDE // 2, SIDE * SIDE)
        strength = self.strengths(batch_size)[:, :, 0, 0]
        return (1.0 - strength) * same + strength * drawn

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        return kernels.run(_filter, images, transformations)


@tf.function(jit_compile=True, autograph=False)
def _filter(images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    margin = SIDE // 2
    around = tf.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]], "SYMMETRIC")
    filtered = kernels.filter_each(around, weights, (SIDE, SIDE))
    mean, variance = tf.nn.moments(images, [1, 2, 3], keepdims=True)
    new_mean, new_variance = tf.nn.moments(filtered, [1, 2, 3], keepdims=True)
    # A kernel that nearly blackens the image must not blow up what is left.
    gain = tf.sqrt(variance / tf.maximum(new_variance, 1.0))
    return tf.clip_by_value((filtered - new_mean) * gain + mean, 0.0, 255.0)


class ColourCurves(PixelLayer):
    """Sends the levels of images through smooth random curves: sums of sines, so that black and
    white stay; of half of the images, one curve for each channel."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        drawn = self._random_generator.normal([batch_size, 3, WAVES])
        one = self._random_generator.uniform([batch_size, 1, 1]) < 0.5
        drawn = tf.where(one, drawn[:, :1], drawn)
        # The finer a wave, the lower: at strength 1, the first is a quarter of the range.
        return self.strengths(batch_size)[..., 0] * 64.0 * drawn / tf.range(1.0, WAVES + 1.0)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        return kernels.run(_bend, images, transformations)


@tf.function(jit_compile=True, autograph=False)
def _bend(images: tf.Tensor, heights: tf.Tensor) -> tf.Tensor:
    angles = math.pi / 255.0 * images
    changed, before, sine = images, tf.zeros_like(images), tf.sin(angles)
    twice = 2.0 * tf.cos(angles)
    for wave in range(WAVES):
        changed += heights[:, None, None, :, wave] * sine
        # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x): a sine takes as long as all the rest.
        before, sine = sine, twice * sine - before
    return tf.clip_by_value(changed, 0.0, 255.0)


class Jpeg(PixelLayer):
    """Stores images as JPEG, at a quality from 100 down to 100 - 95 · factor, and reads them."""

    def get_random_transformation_batch(self, batch_size: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        strength = self.strengths(batch_size)[:, 0, 0, 0]
        return tf.cast(tf.round(100.0 - 95.0 * strength), tf.int32)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        def store(image_and_quality: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            image, quality = image_and_quality
            pixels = tf.image.adjust_jpeg_quality(tf.cast(tf.round(image), tf.uint8), quality)
            return tf.cast(pixels, tf.float32)

        return tf.map_fn(
            store,
            (images, transformations),
            fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32),
        )


class RandomErasing(PixelLayer):
    """Covers a rectangle of each image, with sides up to 0.7 · factor of the image's, by one colour
    or by noise (Zhong et al., arXiv:1708.04896)."""

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor = None, **kwargs: Any
    ) -> Any:
        covered = draw_rectangles(self._random_generator, images, 0.7 * self.factor)
        colours = self._random_generator.uniform([batch_size, 1, 1, 3], 0.0, 255.0)
        cover = tf.broadcast_to(colours, tf.shape(images))
        # Noise for a quarter of the images: most of the time goes into its numbers.
        noisy = tf.where(self._random_generator.uniform([batch_size]) < 0.25)
        shape = tf.concat([tf.shape(noisy)[:1], tf.shape(images)[1:]], 0)
        noise = self._random_generator.uniform(shape, 0.0, 255.0)
        return covered, tf.tensor_scatter_nd_update(cover, noisy, noise)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        covered, cover = transformations
        return tf.where(covered, cover, images)


class GridMask(PixelLayer):
    """As `keras_cv.layers.GridMask((0, factor), rotation_factor=0.15)`, which takes the images one
    by one: blackens the squares of a slanted grid (Chen et al., arXiv:2001.04086)."""

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor = None, **kwargs: Any
    ) -> Any:
        height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
        sides = tf.stack([height * 0.5, width * 0.3])
        rng = self._random_generator
        units = rng.uniform([batch_size, 1], tf.reduce_min(sides), tf.reduce_max(sides) + 1.0)
        offsets = rng.uniform([batch_size, 2]) * units
        angles = rng.uniform([batch_size, 1], -0.15, 0.15) * 2.0 * math.pi
        return tf.concat([units, self.strengths(batch_size)[:, :, 0, 0], offsets, angles], 1)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        return kernels.run(_mask, images, transformations)


@tf.function(jit_compile=True, autograph=False)
def _mask(images: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
    unit, share, right, down, angle = (drawn[:, place, None, None, None] for place in range(5))
    height, width = (tf.cast(tf.shape(images)[axis], tf.float32) for axis in (1, 2))
    # The grid lies on a square as long as the image's diagonal, and is turned about its middle.
    side = tf.math.ceil(tf.sqrt(height**2 + width**2))
    x = tf.range(width)[None, None, :, None] - (width - 1.0) / 2.0
    y = tf.range(height)[None, :, None, None] - (height - 1.0) / 2.0
    columns = tf.cos(angle) * x - tf.sin(angle) * y + (side - 1.0) / 2.0
    rows = tf.sin(angle) * x + tf.cos(angle) * y + (side - 1.0) / 2.0

    def lies_in_square(place: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        # keras-cv interpolates a mask of whole pixels, and all that it touches is masked.
        inside = [
            rest - unit * tf.floor(rest / unit) >= unit * (1.0 - share)
            for rest in (tf.floor(place) + offset, tf.math.ceil(place) + offset)
        ]
        return inside[0] | inside[1]

    covered = lies_in_square(columns, right) & lies_in_square(rows, down) & (share > 0.0)
    return tf.where(covered, 0.0, images)


class Overlay(PixelLayer):
    """Lays another image of the batch, mirrored, over each: mixed with it, on one screen with it,
    as two slides on each other, or a rectangle of it. The label stays: the other image gets at most
    0.45 · factor of the weight, or of a side."""

    def get_random_transformation_batch(
        self, batch_size: tf.Tensor, images: tf.Tensor = None, **kwargs: Any
    ) -> Any:
        order = tf.argsort(self._random_generator.uniform([batch_size]))
        others = tf.reverse(tf.gather(images, order), [2])
        mode = self._random_generator.uniform([batch_size, 1, 1, 1], 0, len(MODES), tf.int32)
        rectangles = draw_rectangles(self._random_generator, images, 0.45 * self.factor)
        return others, mode, rectangles, 0.45 * self.strengths(batch_size)

    def augment_images(self, images: tf.Tensor, transformations: Any, **kwargs: Any) -> tf.Tensor:
        others, mode, rectangles, share = transformations
        return kernels.run(_overlay, images, others, mode, rectangles, share)


@tf.function(jit_compile=True, autograph=False)
def _overlay(
    images: tf.Tensor, others: tf.Tensor, mode: tf.Tensor, rectangles: tf.Tensor, share: tf.Tensor
) -> tf.Tensor:
    screen = 255.0 - (255.0 - images) * (255.0 - others) / 255.0
    slides = images * others / 255.0
    joined = tf.where(mode == SCREEN, screen, tf.where(mode == SLIDES, slides, others))
    # Both leave more of the image visible than a mean does.
    share = tf.where((mode == SCREEN) | (mode == SLIDES), 1.5 * share, share)
    share = tf.where(mode == RECTANGLE, tf.cast(rectangles, tf.float32), share)
    return images + share * (joined - images)


def draw_rectangles(rng: Any, images: tf.Tensor, largest: float) -> tf.Tensor:
    """A rectangle for each of `images` [n, h, w, 3], bool [n, h, w, 1]. largest: its sides are up
    to this share of the image's; it lies within the image."""
    n, height, width = (tf.shape(images)[axis] for axis in range(3))
    shares = rng.uniform([n, 2], 0.0, largest)
    starts = rng.uniform([n, 2]) * (1.0 - shares)

    def mark(axis: int, size: tf.Tensor) -> tf.Tensor:
        places = (tf.range(tf.cast(size, tf.float32)) + 0.5) / tf.cast(size, tf.float32)
        start, end = starts[:, axis, None], (starts + shares)[:, axis, None]
        return (places >= start) & (places < end)

    return (mark(0, height)[:, :, None] & mark(1, width)[:, None])[..., None]
