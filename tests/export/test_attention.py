"""Multi-head attention as operations: what Keras computes, and what is refused.

Networks of one layer or two; TensorFlow is what both sides run on.
"""

import keras
import numpy as np
import pytest
from keras import layers

from toolkit.core.errors import InputError
from toolkit.export import equivalence, graph
from toolkit.export.optimize import rewrite_all

SHAPE = (6, 4, 3)


def assert_same(outputs, inputs):
    """The operations of the model, rewritten or not, give its scores; weights at random."""
    rng = np.random.default_rng(0)
    model = keras.Model(inputs, layers.Flatten()(outputs))
    model.set_weights([rng.normal(0, 0.5, value.shape) for value in model.get_weights()])
    pixels = rng.uniform(-1, 1, (5, *SHAPE)).astype(np.float32)
    # Layer by layer: predict may give leaky ReLUs another slope.
    expected = np.asarray(model(pixels))
    operations = graph.operations(model)
    for each in (operations, rewrite_all(operations)):
        np.testing.assert_allclose(equivalence.scores(each, pixels), expected, atol=1e-5, rtol=1e-4)
    return [operation.op for operation in operations]


@pytest.mark.parametrize(
    ("settings", "positions"),
    [
        ({}, (24, 3)),
        ({"value_dim": 2, "use_bias": False, "output_shape": 7}, (24, 3)),
        ({}, (6, 4, 3)),  # all positions, as MobileViT calls it
        ({"attention_axes": (2,)}, (6, 4, 3)),  # each row by itself
    ],
)
def test_self_attention_is_that_of_keras(settings, positions):
    inputs = keras.Input(SHAPE)
    x = layers.LayerNormalization()(layers.Reshape(positions)(inputs))
    found = layers.MultiHeadAttention(2, 4, **settings)(x, x)
    assert assert_same(found, inputs).count("attention") == 1


def test_keys_and_values_may_be_others():
    """By name, in another order than Keras sorts them in."""
    inputs = keras.Input(SHAPE)
    x = layers.Reshape((24, 3))(inputs)
    query, key, value = x[:, :2], layers.Dense(4)(x), layers.Dense(5)(x)
    attention = layers.MultiHeadAttention(2, 4)
    assert_same(attention(value=value, key=key, query=query), inputs)


@pytest.mark.parametrize(
    ("settings", "call", "words"),
    [
        ({}, {"use_causal_mask": True}, "use_causal_mask in its call"),
        ({}, {"attention_mask": np.ones((1, 6, 6), bool)}, "attention_mask in its call"),
        ({"attention_axes": (1,)}, {}, "attention axes"),
        ({"output_shape": (2, 3)}, {}, "more than one axis of outputs"),
    ],
)
def test_other_attention_is_refused(settings, call, words):
    inputs = keras.Input(SHAPE)
    x = inputs if "attention_axes" in settings else layers.Reshape((24, 3))(inputs)[:, :6]
    found = layers.MultiHeadAttention(2, 4, name="odd", **settings)(x, x, **call)
    with pytest.raises(InputError, match=f"the layer odd has {words}"):
        graph.operations(keras.Model(inputs, found))
