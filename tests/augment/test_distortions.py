"""Slants and bends: what stays where it is, and how far the rest goes."""

import numpy as np
import tensorflow as tf

from toolkit.augment.distortions import Elastic, Perspective
from toolkit.augment.geometry import resample
from toolkit.augment.rng import SeededRng, bind

SIDE = 33  # odd, so that there is a middle pixel


def drawn(layer, images):
    rng = SeededRng()
    bind(layer, rng)
    with rng.use_seed(tf.constant([3, 4])):
        return layer(tf.constant(images), training=True).numpy()


def ramps(n):
    """Images whose three channels are the column, the row and a constant."""
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    one = np.stack([columns, rows, np.full_like(rows, 7)], axis=-1)
    return np.repeat(one[None], n, axis=0)


def test_a_slant_keeps_the_middle_and_straight_lines():
    images = ramps(32)
    changed = drawn(Perspective(1.0), images)
    middle = SIDE // 2
    np.testing.assert_allclose(changed[:, middle, middle], images[:, middle, middle], atol=1e-3)
    assert np.isfinite(changed).all() and np.abs(changed - images).max() > 5
    # Through the middle row, where nothing is mirrored, the places read lie on a line.
    columns, rows = changed[:, middle, 12:21, 0], changed[:, middle, 12:21, 1]
    for x, y in zip(columns, rows):
        slope = np.polyfit(x, y, 1)
        np.testing.assert_allclose(np.polyval(slope, x), y, atol=1e-3)


def test_bends_are_as_strong_as_they_say_and_of_several_kinds():
    changed = drawn(Elastic(1.0), ramps(256))
    inner = slice(8, SIDE - 8)  # displacements from the border are mirrored
    moved = (changed - ramps(256))[:, inner, inner, 0]
    # Strengths are even in 0..1, so the mean square is a third of that at strength 1; the
    # interpolation between drawn points lowers it.
    assert 0.3 * SIDE / 12 < np.sqrt((moved**2).mean()) < 0.7 * SIDE / 12
    steps = np.abs(np.diff(moved, axis=2)).mean(axis=(1, 2)) / np.abs(moved).mean(axis=(1, 2))
    assert steps.min() < 0.3 and steps.max() > 0.8  # smooth ones and rough ones


def test_pixels_are_read_where_they_are_asked_for():
    """Any number of images; between pixels, and mirrored beyond the border."""
    images = ramps(3)
    rows, columns = np.indices((SIDE, SIDE), np.float32)
    columns, rows = np.repeat(columns[None], 3, 0), np.repeat(rows[None], 3, 0)
    np.testing.assert_array_equal(resample(images, columns, rows), images)
    np.testing.assert_allclose(
        resample(images, columns + 0.25, rows)[:, :, :-1, 0], columns[..., :-1] + 0.25, atol=1e-5
    )
    beyond = resample(images, columns - SIDE, rows)[..., 0]
    np.testing.assert_allclose(beyond, columns[..., ::-1], atol=1e-4)
