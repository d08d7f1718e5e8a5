"""Equivalence: what counts as a changed label, and that a network whose labels change is not
packaged."""

import keras
import numpy as np
import pytest

from toolkit.core.config import ModelConfig
from toolkit.core.errors import SubmissionError
from toolkit.export import equivalence, graph
from toolkit.export.optimize import REWRITES
from toolkit.models.network import build as build_network


@pytest.fixture(scope="module")
def cells(cells):
    """Drawn cells at a third of their size."""
    return cells.with_images(np.ascontiguousarray(cells.images[:, ::3, ::3]))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_network(ModelConfig("simple-cnn", "none", head_units=()), (32, 32, 3), 8).model


def test_each_rewrite_is_compared(network, cells):
    operations, comparison = equivalence.rewrite_and_compare(
        network, cells.images, lambda operations: operations
    )
    assert comparison.images == len(cells.images)
    assert [step.rewrite for step in comparison.steps][1:-2] == list(REWRITES)
    assert comparison.gflop == pytest.approx(sum(operation.flop for operation in operations) / 1e9)
    assert all(step.label_agreement == 1 for step in comparison.steps[:-1])
    assert 1e-4 < comparison.steps[-1].max_relative_difference < 0.05  # bfloat16 has 8 bits


def test_labels_that_change_stop_the_build(network, cells):
    def spoilt(operations):
        *others, last = operations
        turned = {key: np.roll(values, 1, axis=-1) for key, values in last.weights.items()}
        return [*others, graph.replace(last, weights=turned)]

    with pytest.raises(SubmissionError, match=r"labels \d+ of \d+ images differently") as caught:
        equivalence.rewrite_and_compare(network, cells.images, spoilt)
    assert "cbtool build --weights float32" in caught.value.hint


def test_heavy_networks_are_compared_on_fewer_images(network, cells, monkeypatch):
    monkeypatch.setattr(equivalence, "COMPARISON_GFLOP", 0.1)
    _, comparison = equivalence.rewrite_and_compare(
        network, cells.images, lambda operations: operations
    )
    assert comparison.images == equivalence.MIN_IMAGES


def test_a_tie_that_tips_is_no_change():
    reference = np.array([[0.0, 0.001], [0.0, 5.0], [3.0, 0.0]])
    assert (
        equivalence.count_changed_labels(
            np.array([[0.001, 0.0], [0.0, 5.0], [3.0, 0.0]]), reference
        )
        == 0
    )
    assert (
        equivalence.count_changed_labels(
            np.array([[0.0, 0.001], [5.0, 0.0], [3.0, 0.0]]), reference
        )
        == 1
    )


def test_one_label_or_one_in_a_thousand_may_change():
    assert not equivalence.exceeds_limit(1, 10) and equivalence.exceeds_limit(2, 1999)
    assert not equivalence.exceeds_limit(3, 3000) and equivalence.exceeds_limit(4, 3000)


def test_the_reference_has_the_slope_of_a_leaky_relu():
    """TensorFlow gives that of a sum with a convolution the slope 0.2 in a graph."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Add()([keras.layers.Conv2D(3, 3, padding="same")(x), x])
    x = keras.layers.Flatten()(keras.layers.LeakyReLU(0.4)(x))
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 3)).astype(np.uint8)
    _, comparison = equivalence.rewrite_and_compare(keras.Model(inputs, x), images, list)
    assert comparison.steps[0].max_relative_difference < 1e-5
