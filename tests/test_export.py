"""Export: the package computes what the Keras network does."""

import keras
import numpy as np
import pytest

from submission.model import Model
from toolkit import export, models, package
from toolkit.config import ModelConfig
from toolkit.errors import InputError, SubmissionError


def worked(model: keras.Model) -> keras.Model:
    """`model` with norms and layer scales as training leaves them: none of their weights is a plain 0, 1 or 1e-6."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, (keras.layers.BatchNormalization, keras.layers.LayerNormalization)):
            gamma, beta, *statistics = values
            shaken = [gamma * rng.uniform(0.5, 1.5, gamma.shape), beta + rng.normal(0, 0.1, beta.shape)]
            if statistics:
                mean, variance = statistics
                shaken += [mean + rng.normal(0, 0.1, mean.shape), variance * rng.uniform(0.5, 1.5, variance.shape)]
            layer.set_weights(shaken)
        elif type(layer).__name__ == "LayerScale":
            layer.set_weights([rng.uniform(0.1, 0.5, values[0].shape)])
    return model


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(backbone="simple-cnn", weights="none", head_units=()),
        ModelConfig(backbone="simple-cnn", weights="none", head_units=(16, 8)),
        ModelConfig(backbone="efficientnet-lite0", weights="imagenet", head_units=(32, 16, 8)),
        ModelConfig(backbone="convnext-tiny", weights="none", head_units=(16,), head_norm="layer"),
        ModelConfig(backbone="efficientnetv2-b0", weights="none", head_units=()),
        ModelConfig(backbone="mobilenetv3-small", weights="none", head_units=()),
        ModelConfig(backbone="vgg16", weights="none", head_units=(16,), input_size=64),
        pytest.param(ModelConfig(backbone="convnext-xlarge", weights="none", head_units=()), marks=pytest.mark.slow),
    ],
    ids=lambda config: f"{config.backbone}-{len(config.head_units)}",
)
def test_operations_give_the_networks_scores(config, cells, tmp_path):
    network = worked(models.build(config, (96, 96, 3), 8).model)
    write_package(network, tmp_path)
    pictures = cells.images[:12]
    expected = keras.ops.softmax(network.predict(pictures.astype(np.float32), verbose=0))
    model = Model(tmp_path)
    # The weights before they are rounded to float16, which random networks magnify.
    model._weights = {operation.name: operation.weights for operation in export.operations(network)}
    np.testing.assert_allclose(model.probabilities(pictures), expected, atol=2e-4)
    assert {operation.op for operation in export.operations(network)} <= set(Model(tmp_path).manifest["ops"])


def test_other_sizes_need_not_be_square(cells, tmp_path):
    network = worked(models.build(ModelConfig(backbone="efficientnet-lite0", weights="none"), (40, 72, 3), 8).model)
    write_package(network, tmp_path)
    pictures = cells.images[:5, :40, :72]
    expected = keras.ops.softmax(network.predict(pictures.astype(np.float32), verbose=0))
    # float16 weights: 11 bits each
    np.testing.assert_allclose(Model(tmp_path).probabilities(pictures), expected, atol=5e-3)


def write_package(network, folder):
    import json

    operations = export.operations(network)
    (folder / "weights.h5").write_bytes(package.hdf5(operations))
    manifest = {
        "image_shape": network.input_shape[1:],
        "class_names": list("abcdefgh"),
        "weights": {"file": "weights.h5"},
        "operations": [operation.entry for operation in operations],
        "ops": sorted({operation.op for operation in operations}),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_no_norm_and_no_dropout_is_left():
    network = models.build(ModelConfig(backbone="simple-cnn", weights="none", head_units=(4,)), (32, 32, 3), 2).model
    assert [operation.op for operation in export.operations(network)] == [
        "scale", "conv", "relu", "max_pool", "conv", "relu", "max_pool", "flatten", "dense", "relu", "dense",
    ]  # fmt: skip


def test_layers_without_a_translation_are_named():
    inputs = keras.Input((8, 8, 3))
    with pytest.raises(InputError, match=r"odd \(UnitNormalization\)"):
        export.operations(keras.Model(inputs, keras.layers.UnitNormalization(name="odd")(inputs)))
    with pytest.raises(InputError, match="activation 'selu'"):
        export.operations(keras.Model(inputs, keras.layers.Conv2D(2, 1, activation="selu")(inputs)))
    with pytest.raises(InputError, match="does not follow"):
        export.operations(
            keras.Model(inputs, keras.layers.BatchNormalization(name="lost")(keras.layers.ZeroPadding2D()(inputs)))
        )


def test_weights_beyond_float16_are_refused():
    operation = export.Operation("huge", "dense", [], {}, {"kernel": np.full((2, 2), 1e6, np.float32)})
    with pytest.raises(SubmissionError, match="huge do not fit in float16"):
        package.hdf5([operation])
