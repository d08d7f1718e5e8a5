"""Filters, curves, JPEG, rectangles, overlays: what each keeps, and how far it goes."""

import numpy as np
import pytest
import tensorflow as tf
from keras_cv import layers

from toolkit.augment.layers import GaussianBlur
from toolkit.augment.rng import SeededRng, bind
from toolkit.augment.textures import (
    ColourCurves,
    GridMask,
    Jpeg,
    Overlay,
    RandomErasing,
    RandomFilter,
)


def drawn(layer, images):
    rng = SeededRng()
    bind(layer, rng)
    with rng.use_seed(tf.constant([3, 4])):
        return layer(tf.constant(images, tf.float32), training=True).numpy()


@pytest.fixture(scope="module")
def pictures(cells):
    return np.repeat(cells.images[:16, ::2, ::2], 4, axis=0).astype(np.float32)


def test_a_filter_keeps_mean_and_contrast(pictures):
    # In the middle of the range, where nothing is cut off.
    images = 100 + pictures / 5
    changed = drawn(RandomFilter(1.0), images)
    axes = (1, 2, 3)
    np.testing.assert_allclose(changed.mean(axis=axes), images.mean(axis=axes), atol=0.5)
    assert np.median(np.abs(changed.std(axis=axes) / images.std(axis=axes) - 1)) < 0.02
    assert np.abs(changed - images).mean() > 2


def test_a_filter_leaves_an_even_picture_alone():
    even = np.full((8, 24, 24, 3), 200.0)
    np.testing.assert_allclose(drawn(RandomFilter(1.0), even), even, atol=0.01)


def test_curves_keep_black_and_white_and_depend_on_the_level_alone():
    levels = np.broadcast_to(np.arange(256.0)[None, :, None, None], (32, 256, 4, 3))
    changed = drawn(ColourCurves(1.0), levels)
    np.testing.assert_allclose(changed[:, [0, -1]], levels[:, [0, -1]], atol=0.1)
    assert (changed == changed[:, :, :1]).all()
    assert np.abs(np.diff(changed, axis=1)).max() < 20  # smooth
    same = (changed == changed[..., :1]).all(axis=(1, 2, 3))
    assert 8 <= same.sum() <= 24  # of half of the images, one curve for all channels


def test_jpeg_loses_more_at_a_greater_strength(pictures):
    losses = [np.abs(drawn(Jpeg(factor), pictures) - pictures).mean() for factor in (0.2, 1.0)]
    assert 0 < losses[0] < losses[1]


def test_a_rectangle_is_erased_and_the_rest_stays(pictures):
    changed = drawn(RandomErasing(1.0), pictures)
    covered = (changed != pictures).any(axis=-1)
    shares = []
    for one in covered:
        rows, columns = (np.flatnonzero(one.any(axis=axis)) for axis in (1, 0))
        if len(rows):
            shares.append(max(len(rows), len(columns)) / len(one))
            box = one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert box.mean() > 0.9  # a level of the cover may be that of the picture
    assert max(shares) <= 0.72 and len(shares) > 50


def test_an_overlay_leaves_most_of_the_image(pictures):
    """Black images and white ones: what an image shows of another is what it changes."""
    images = np.zeros_like(pictures)
    images[::2] = 255
    shown = np.abs(drawn(Overlay(1.0), images) - images).mean(axis=(1, 2, 3)) / 255
    assert 0.3 < shown.max() <= 0.45 * 1.5 + 0.01
    assert (shown > 0).mean() > 0.2


def test_a_blur_is_keras_cvs(pictures):
    """With the same deviations, on images that are not square."""
    images = tf.constant(pictures[:5, :, :20])
    ours, stock = GaussianBlur(1.0), layers.RandomGaussianBlur(11, (0.3, 5.0))
    ours.strengths = lambda n: tf.reshape(tf.linspace(0.0, 1.0, 5), [5, 1, 1, 1])
    weights = ours.get_random_transformation_batch(5)
    for image, weight, changed in zip(images, weights, ours.augment_images(images, weights)):
        kernels = tf.reshape(weight, [11, 1, 1, 1]), tf.reshape(weight, [1, 11, 1, 1])
        np.testing.assert_allclose(changed, stock.augment_image(image, kernels), atol=1e-2)
    for deviation, weight in zip(np.linspace(0.3, 5.0, 5), weights):
        np.testing.assert_allclose(weight, stock.get_kernel(deviation, 11), atol=1e-6)


def test_a_grid_is_keras_cvs(monkeypatch):
    """With the same grid and angle."""
    shape, unit, share, offsets, angle = (40, 30, 1), 13.0, 0.4, (3.0, 7.0), 0.6
    stock = layers.GridMask(rotation_factor=0.0)
    answers = iter([unit, *offsets])
    # The generator is the program's: other layers have it, too.
    generator = stock._random_generator
    monkeypatch.setattr(generator, "uniform", lambda **_: tf.constant(next(answers)))
    plain = stock._compute_grid_mask(tf.constant(shape), tf.constant(share))
    turn = layers.RandomRotation(0.1, fill_mode="constant")
    turn.get_random_transformation_batch = lambda n, **_: {"angles": tf.fill([n], angle)}
    turned = turn(tf.cast(plain, tf.float32)[None, ..., None], training=True)
    expected = tf.image.resize_with_crop_or_pad(turned, *shape[:2]).numpy()[0, ..., 0] > 0
    drawn = tf.constant([[unit, share, *offsets, angle]])
    found = GridMask(1.0).augment_images(tf.ones([1, *shape[:2], 3]), drawn).numpy()[0, ..., 0] == 0
    assert 0.1 < expected.mean() < 0.6
    assert (found != expected).mean() < 0.02  # rounding at the squares' edges
