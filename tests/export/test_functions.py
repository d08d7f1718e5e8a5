"""Functions of keras.ops, sums and constants between layers: what Keras computes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.export.test_attention import SHAPE, assert_same
from toolkit.core.errors import InputError
from toolkit.export import graph

POSITIONS = np.arange(12, dtype=np.float32).reshape(4, 3) / 7
CHANNELS = np.array([1.0, -2.0, 3.0], np.float32)


def constant(values):
    return ops.convert_to_tensor(values)


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x + constant(POSITIONS),
        lambda x: constant(POSITIONS) - x,
        lambda x: x * constant(POSITIONS[None, None]),
        lambda x: constant(CHANNELS) - x,
        lambda x: x - constant(CHANNELS) + x * constant(CHANNELS),
        lambda x: 2 - x / 4,
        lambda x: ops.maximum(x, 0.25),
        lambda x: ops.maximum(x, x[:, ::-1]),
        lambda x: layers.Add()([x, constant(POSITIONS[None, None])]),
        lambda x: layers.Multiply()([x, x[:, :1], x[:, :, 1:2]]),
        lambda x: layers.Subtract()([x, x[:, :, :, :1]]),
        lambda x: layers.Multiply()([x, layers.GlobalAveragePooling2D()(x)]),
        lambda x: ops.transpose(x, (0, 3, 1, 2)),
        lambda x: ops.squeeze(ops.expand_dims(x[:, 1], 2), 2),
        lambda x: ops.mean(ops.reshape(x, (-1, 24, 3)), axis=1),
        lambda x: ops.max(x, axis=-1, keepdims=True),
        lambda x: ops.concatenate([x, x[:, :2]], axis=1),
        lambda x: layers.Concatenate(axis=2)([x, x]),
        lambda x: layers.Permute((3, 1, 2))(x),
        lambda x: layers.Reshape((-1, 3))(x),
        lambda x: layers.GlobalMaxPooling1D()(layers.Reshape((24, 3))(x)),
        lambda x: layers.GlobalAveragePooling1D()(layers.Reshape((24, 3))(x)),
        lambda x: layers.Embedding(1, 5)(ops.zeros_like(x[:, :, :1, 0])),
        lambda x: layers.Embedding(4, 5)(ops.ones_like(x[:, 0, :, 0]) * constant([0, 3, 1, 2.0])),
        lambda x: ops.gelu(x) + ops.gelu(x, approximate=False) + ops.silu(x),
        lambda x: layers.Softmax()(x) * ops.softmax(x),
        lambda x: ops.softmax(x, axis=1) + ops.softmax(x, axis=2),
        lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))),
        lambda x: layers.PReLU()(x),
        # Which TensorFlow 2.21 runs as one operation with the slope 0.2.
        lambda x: layers.LeakyReLU(0.3)(layers.Add()([layers.Conv2D(3, 3, padding="same")(x), x])),
        lambda x: layers.Dense(4, activation="softmax")(x),
        lambda x: layers.Conv2D(6, 3, groups=3, activation="relu")(layers.Rescaling(0.5, 1)(x)),
        lambda x: layers.Conv2D(6, 1, groups=3)(x),
    ],
)
def test_functions_are_those_of_keras(compute):
    inputs = keras.Input(SHAPE)
    assert_same(compute(layers.Dense(3)(inputs)), inputs)


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda x: 1 / x, "division by a tensor"),
        (lambda x: ops.mean(x, axis=0), "mean over images"),
        (lambda x: ops.transpose(x, (1, 0, 2, 3)), "images' axis"),
        (lambda x: ops.cos(x), "Cos"),
        (lambda x: x[:1, :], "choice of images"),
        (lambda x: layers.Concatenate()([x, constant(np.ones((1, 6, 4, 1)))]), "a constant among"),
    ],
)
def test_other_functions_are_named(compute, words):
    inputs = keras.Input(SHAPE)
    with pytest.raises(InputError, match=words):
        graph.operations(keras.Model(inputs, compute(inputs)))
