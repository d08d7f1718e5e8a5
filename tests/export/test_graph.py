"""Export: the operations, rewritten or not, compute what the Keras network does."""

import keras
import numpy as np
import pytest

from tests.support.networks import worked
from toolkit.core.config import ModelConfig
from toolkit.core.errors import InputError, SubmissionError
from toolkit.export import equivalence, graph, package
from toolkit.export.optimize import REWRITES
from toolkit.models.network import build as build_network


def slow(config: ModelConfig):
    """Families whose operations the others cover."""
    return pytest.param(config, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(backbone="simple-cnn", weights="none", head_units=(16, 8)),
        ModelConfig(backbone="convnext-tiny", weights="none", head_units=(16,), head_norm="layer"),
        ModelConfig(backbone="mobilenetv3-small", weights="none", head_units=()),
        slow(ModelConfig(backbone="simple-cnn", weights="none", head_units=())),
        slow(
            ModelConfig(backbone="efficientnet-lite0", weights="imagenet", head_units=(32, 16, 8))
        ),
        slow(ModelConfig(backbone="efficientnetv2-b0", weights="none", head_units=())),
        slow(ModelConfig(backbone="vgg16", weights="none", head_units=(16,), input_size=64)),
        slow(ModelConfig(backbone="convnext-xlarge", weights="none", head_units=())),
    ],
    ids=lambda config: f"{config.backbone}-{len(config.head_units)}",
)
def test_operations_and_each_rewrite_give_the_networks_scores(config, cells):
    """float32 all the way; what rounding does to a trained network is verified when it is built."""
    network = worked(build_network(config, (32, 32, 3), 8).model)
    pictures = cells.images[:12, ::3, ::3].astype(np.float32)
    expected = np.asarray(network.predict(pictures, verbose=0))
    operations = graph.operations(network)
    steps = [
        equivalence.compare_scores("plain", equivalence.scores(operations, pictures), expected)
    ]
    for name, rewrite in REWRITES.items():
        operations = rewrite(operations)
        steps.append(
            equivalence.compare_scores(name, equivalence.scores(operations, pictures), expected)
        )
    assert max(step.max_relative_difference for step in steps) < 2e-5, steps
    assert {step.label_agreement for step in steps} == {1.0}


def test_the_arithmetic_of_a_network_is_counted():
    """A 3×3 convolution from 3 to 4 channels at 6 × 6 places, and a dense layer of 144 × 2."""
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(
        inputs, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(inputs)))
    )
    assert sum(operation.flop for operation in graph.operations(network)) == 2 * (
        27 * 4 * 36 + 144 * 2
    )


def test_layers_without_a_translation_are_named():
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match=r"odd \(UnitNormalization\)"):
        graph.operations(keras.Model(inputs, keras.layers.UnitNormalization(name="odd")(inputs)))
    with pytest.raises(InputError, match="activation 'mish'"):
        graph.operations(keras.Model(inputs, keras.layers.Conv2D(2, 1, activation="mish")(inputs)))


def test_weights_beyond_float16_are_refused():
    operation = graph.Operation(
        "huge", "dense", [], {}, {"kernel": np.full((2, 2), 1e6, np.float32)}
    )
    with pytest.raises(SubmissionError, match="huge exceed the range of float16") as caught:
        package.round_kernels([operation], "float16")
    assert "cbtool build --weights float32" in caught.value.hint
    assert package.round_kernels([operation], "float32")[0].weights["kernel"].dtype == np.float32
