"""Grad-CAM on a network whose answer is known: it counts the red pixels of the left half."""

import keras
import numpy as np
import pytest

from toolkit.report import grad_cam


@pytest.fixture(scope="module")
def red_detector():
    """Class 1 where there is red: the score is the mean of a map of redness."""
    pixels = keras.Input((32, 32, 3))
    conv = keras.layers.Conv2D(1, 1, use_bias=False)
    redness = keras.layers.AveragePooling2D(4)(keras.layers.ReLU()(conv(pixels)))
    score = keras.layers.GlobalAveragePooling2D()(redness)
    dense = keras.layers.Dense(2)
    model = keras.Model(pixels, dense(score))
    conv.set_weights([np.array([1.0, -1.0, -1.0]).reshape(1, 1, 3, 1)])
    dense.set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    return model


def test_the_heat_is_where_the_class_is(red_detector):
    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[0, :, :16, 0] = 255  # left
    images[1, :8, :, 0] = 255  # above
    left, above = grad_cam.compute(red_detector, images)
    assert left.shape == (8, 8)
    assert left[:, :4].min() == 1 and left[:, 4:].max() == 0
    assert above[:2].min() == 1 and above[2:].max() == 0
    painted = grad_cam.overlay(images, np.stack([left, above]))
    assert painted.shape == images.shape and (painted[0, 16, 4] != painted[0, 16, 28]).any()


def test_a_network_without_a_map_says_so():
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(pixels)))
    with pytest.raises(grad_cam.NoMap):
        grad_cam.compute(keras.Model(pixels, model.outputs[0]), np.zeros((1, 32, 32, 3), np.uint8))
