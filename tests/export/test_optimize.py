"""The rewrites: what is left of a network, and what must stay as it is."""

from collections import Counter

import keras
import numpy as np
import pytest

from tests.support.networks import worked
from toolkit.core.config import ModelConfig
from toolkit.export import equivalence, graph
from toolkit.export.optimize import rewrite_all
from toolkit.models.network import build as build_network


def kinds(network: keras.Model) -> list[str]:
    return [operation.op for operation in rewrite_all(graph.operations(network))]


def test_no_norm_no_dropout_and_no_activation_is_left():
    network = build_network(
        ModelConfig(backbone="simple-cnn", weights="none", head_units=(4,)), (32, 32, 3), 2
    ).model
    assert kinds(network) == ["conv", "max_pool", "conv", "max_pool", "flatten", "dense", "dense"]


def test_convnext_becomes_products_norms_and_sums():
    """Its layer norms' scales are folded into what follows, but for the stem's, which two
    operations follow."""
    network = build_network(
        ModelConfig(backbone="convnext-tiny", weights="none", head_units=()), (32, 32, 3), 8
    ).model
    found = Counter(kinds(network))
    blocks = 3 + 3 + 9 + 3
    assert found == {
        "conv": 4,
        "scale": 1,
        "depthwise": blocks,
        "layer_norm": 1 + 3 + blocks + 1,
        "dense": 2 * blocks + 1,
        "add": blocks,
        "mean": 1,
    }


def test_a_result_that_two_operations_use_stays_as_it_is():
    """A product whose norm and itself are summed: folding the norm into it would change the sum."""
    inputs = keras.Input((8, 8, 3))
    product = keras.layers.Conv2D(4, 3)(inputs)
    norm = keras.layers.BatchNormalization()(product)
    network = worked(
        keras.Model(inputs, keras.layers.Flatten()(keras.layers.Add()([product, norm])))
    )
    assert kinds(network) == ["conv", "scale", "add", "flatten"]
    pictures = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype(np.float32)
    found = equivalence.scores(rewrite_all(graph.operations(network)), pictures)
    np.testing.assert_allclose(found, network.predict(pictures, verbose=0), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "backbone",
    ["mobilenetv3-small", pytest.param("efficientnet-lite0", marks=pytest.mark.slow)],
)
def test_other_sizes_need_not_be_square(backbone, cells):
    network = worked(
        build_network(ModelConfig(backbone=backbone, weights="none"), (40, 72, 3), 8).model
    )
    pictures = cells.images[:5, :40, :72].astype(np.float32)
    found = equivalence.scores(rewrite_all(graph.operations(network)), pictures)
    np.testing.assert_allclose(found, network.predict(pictures, verbose=0), atol=1e-4)
