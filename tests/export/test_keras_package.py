"""Zips that run a model with Keras: the code that builds it, and what it predicts."""

import zipfile
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.export.test_saved_model import CLASSES, SHAPE, Doubled, changed, saved, small_model
from tests.support.commands import assert_one_sentence, in_process
from toolkit.core.contract import AN2DL2024
from toolkit.core.errors import InputError
from toolkit.data import dataset, synthetic
from toolkit.export import custom_objects, keras_code, keras_package, manifest, saved_model
from toolkit.runtime import sandbox

CONTRACT = replace(AN2DL2024, name="small", image_shape=SHAPE)


@pytest.fixture(scope="module")
def samples():
    return synthetic.draw(4, side=32)


def unusual_model():
    """Layers without operations, one used twice, a model within, a constant, functions."""
    inputs = keras.Input(SHAPE)
    within = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 3, strides=4)])
    x = within(layers.Rescaling([0.1, 0.2, 0.3], 1)(inputs))
    x = layers.GroupNormalization(2)(x)
    x = layers.UpSampling2D(2)(x)
    shared = layers.Dense(4, activation="mish")
    x = shared(ops.cos(shared(x))) + ops.convert_to_tensor(np.arange(4, dtype=np.float32))
    x = layers.Concatenate()(list(ops.split(x, 2, axis=-1)))
    x = x[:, 1:] * 2
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(layers.Flatten()(x)))


def test_the_command_builds_a_zip_that_predicts_the_same(samples, tmp_path):
    """In a clean process, as an evaluator runs it."""
    model = unusual_model()
    path = saved(model, tmp_path / "mine.keras")
    dataset.save(samples, tmp_path / "held_out.npz")
    names = ("--model", path, "--data", tmp_path / "held_out.npz", "--out", tmp_path / "my.zip")
    refused = in_process("build", *names)
    assert_one_sentence(refused, "group_normalization")
    assert "--as keras" in refused.stderr
    result = in_process("build", *names, "--as", "keras")
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(tmp_path / "my.zip") as archive:
        assert archive.namelist() == ["model.py", "network.weights.h5", "manifest.json"]
        source = archive.read("model.py").decode()
    assert source.count("layers.GroupNormalization(") == 1
    assert "Lambda" not in source and "deserialize" not in source and "load_model" not in source
    expected = model.predict(samples.images.astype(np.float32), verbose=0).argmax(1)
    found = sandbox.run(tmp_path / "my.zip", {"all": samples.images}).labels("all")
    np.testing.assert_array_equal(found, expected)
    described = manifest.read_zip_manifest(tmp_path / "my.zip")
    assert described.image_shape == SHAPE and described.class_names == samples.class_names
    dataset.save(synthetic.draw(1), tmp_path / "large.npz")
    other = in_process("score", tmp_path / "my.zip", "--data", tmp_path / "large.npz")
    assert_one_sentence(other, "are 96 × 96, but")
    wrong = in_process("build", *names, "--as", "keras", "--weights", "float16")
    assert wrong.returncode == 2 and "not for --as keras" in wrong.stderr
    alone = in_process("build", "--as", "keras", "--run", tmp_path)
    assert alone.returncode == 2 and "needs --model" in alone.stderr


def test_a_contract_has_its_interface(samples, tmp_path):
    """Grey images in a function that returns probabilities."""
    contract = replace(
        CONTRACT,
        style="function",
        method="classify",
        returns="probabilities",
        image_shape=(32, 32, 1),
    )
    model = saved_model.read_model(saved(small_model(), tmp_path / "m.keras"), SHAPE, True)
    keras_package.write_zip(model, samples, tmp_path / "my.zip", contract)
    grey = samples.images[:8, :, :, :1]
    outcome = sandbox.run(tmp_path / "my.zip", {"all": grey}, contract=contract)
    expected = ops.softmax(model.predict(np.repeat(grey, 3, 3).astype(np.float32), verbose=0))
    np.testing.assert_allclose(outcome.answers("all"), expected, atol=1e-5)


def test_code_of_a_file_is_refused(samples, tmp_path):
    path = tmp_path / "model.keras"
    cases = {
        "is a Lambda layer": small_model(layers.Lambda(lambda x: x + 1)),
        "of the class Doubled": small_model(Doubled()),
        "of the class TimeDistributed": small_model(layers.TimeDistributed(layers.Dense(2))),
    }
    for words, model in cases.items():
        saved(model, path)
        with pytest.raises(InputError, match=words):
            saved_model.read_model(path, SHAPE, any_layer=True)

    def change(config):
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "GroupNormalization":
                layer["config"]["epsilon"] = {"class_name": "Evil", "config": {}}

    saved(small_model(layers.GroupNormalization(4)), path)
    with pytest.raises(InputError, match="a setting that is an object"):
        saved_model.read_model(changed(path, change), SHAPE, any_layer=True)


CUSTOM = """
import keras
from keras import layers, ops


class Positions(layers.Layer):
    def __init__(self, size, **settings):
        super().__init__(**settings)
        self.size = size
        self.projection = layers.Dense(size)
        self.scale = "half"

    def build(self, shape):
        self.projection.build(shape)
        self.places = self.add_weight(shape=(shape[1], self.size), name="places")

    def call(self, inputs):
        return self.projection(inputs) + self.places

    def get_config(self):
        return super().get_config() | {"size": self.size}


@keras.saving.register_keras_serializable("course")
class Halved(layers.Layer):
    def call(self, inputs):
        return ops.square(inputs) / 2
"""


def test_layers_of_a_users_own_travel_in_the_zip(samples, tmp_path):
    """They are refused without their code; with it, the zip predicts what the model does."""
    (tmp_path / "mine.py").write_text(CUSTOM)
    own = custom_objects.load(tmp_path / "mine.py").layers
    assert set(own) == {"Positions", "Halved"}
    inputs = keras.Input(SHAPE)
    x = layers.Reshape((-1, 8))(layers.Conv2D(8, 8, strides=8)(inputs))
    x = own["Halved"](name="half")(own["Positions"](6)(x))
    model = keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))
    path = saved(model, tmp_path / "mine.keras")
    dataset.save(samples, tmp_path / "held_out.npz")
    build = ("build", "--model", path, "--data", tmp_path / "held_out.npz", "--as", "keras")
    refused = in_process(*build, "--out", tmp_path / "my.zip")
    assert_one_sentence(refused, "of the class Positions")
    assert "--custom-objects FILE.py" in refused.stderr
    names = ("--out", tmp_path / "my.zip", "--custom-objects", tmp_path / "mine.py")
    result = in_process(*build, *names)
    assert result.returncode == 0, result.stderr
    assert "Give only code that you trust" in result.stderr
    expected = model.predict(samples.images.astype(np.float32), verbose=0).argmax(1)
    found = sandbox.run(tmp_path / "my.zip", {"all": samples.images}).labels("all")
    np.testing.assert_array_equal(found, expected)
    with zipfile.ZipFile(tmp_path / "my.zip") as archive:
        assert archive.read("custom_objects.py").decode() == CUSTOM
    wrong = in_process(*build[:-2], *names)
    assert wrong.returncode == 2 and "is for --as keras" in wrong.stderr


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_package", "fails when it is run: ModuleNotFoundError"),
        ("raise SystemExit(3)", "fails when it is run: SystemExit"),
        ("class Layer:\n    pass\n", "defines no layer"),
        ("import keras\nclass Dense(keras.layers.Layer):\n    pass\n", "a layer of Keras"),
        (None, "there is no file"),
    ],
)
def test_code_without_layers_is_refused(source, words, tmp_path):
    path = tmp_path / "mine.py"
    if source:
        path.write_text(source)
    with pytest.raises(InputError, match=words):
        custom_objects.load(path)


@pytest.mark.parametrize(
    "options", [("validate",), pytest.param(("time", "--images", "64"), marks=pytest.mark.slow)]
)
def test_a_zip_that_runs_keras_is_checked_with_images_of_its_size(options, samples, tmp_path):
    model = saved_model.read_model(saved(small_model(), tmp_path / "m.keras"), SHAPE, True)
    keras_package.write_zip(model, samples, tmp_path / "my.zip")
    result = in_process(*options, tmp_path / "my.zip", "--evaluator", "none")
    assert result.returncode == 0, result.stdout + result.stderr


def test_only_literals_become_code():
    inputs = keras.Input(SHAPE)
    layer = layers.GroupNormalization(3, name="odd'); import os; ('")
    source = keras_code.write_code(keras.Model(inputs, layer(inputs))).functions[-1]
    assert "name=\"odd'); import os; ('\"" in source
    with pytest.raises(InputError, match=r"not one of keras\.layers"):
        keras_code.write_code(keras.Model(inputs, Doubled()(inputs)))


def test_other_classes_are_refused(samples, tmp_path):
    model = small_model(activation=None)
    with pytest.raises(InputError, match="has 8 classes, small has 9"):
        keras_package.write_zip(model, samples, tmp_path / "my.zip", replace(CONTRACT, classes=9))
    assert not (tmp_path / "my.zip").exists()
