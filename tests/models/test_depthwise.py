"""The depthwise layer of JAX's CPU against Keras' own, here on TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from toolkit.models import depthwise


def differentiate(layer, images, wanted):
    """What `layer` gives, and the gradients of a loss by its input and weights."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images)
        loss = tf.reduce_sum(outputs * wanted[:, : outputs.shape[1], : outputs.shape[2]])
    found = tape.gradient(loss, [images, *(weight.value for weight in layer.trainable_weights)])
    return [outputs, *found]


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [1, 3, (5, 4)])
def test_outputs_and_gradients_are_those_of_keras(size, strides, padding):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(2, 11, 8, 3)), tf.float32)
    wanted = tf.constant(rng.normal(size=(2, 11, 8, 3)), tf.float32)
    options = {"strides": strides, "padding": padding, "activation": "relu6"}
    plain = keras.layers.DepthwiseConv2D(size, **options)
    shifted = depthwise.ShiftedDepthwiseConv2D(size, **options)
    for layer in (plain, shifted):
        layer.build(images.shape)
    shifted.set_weights([rng.normal(size=weight.shape) for weight in shifted.weights])
    plain.set_weights(shifted.get_weights())
    pairs = zip(differentiate(shifted, images, wanted), differentiate(plain, images, wanted))
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_large_kernels_are_left_to_keras(monkeypatch):
    monkeypatch.setattr(depthwise, "convolve", None)
    layer = depthwise.ShiftedDepthwiseConv2D(7)
    assert layer(np.zeros((1, 8, 8, 2), np.float32)).shape == (1, 2, 2, 2)
