"""Models that somebody saved with Keras: read without running code, rewritten, and the same."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tests.support import foreign
from tests.support.commands import assert_one_sentence, in_process
from tests.support.readers import make_hdf5, make_zip
from toolkit.core.errors import InputError
from toolkit.data import dataset, synthetic
from toolkit.export import equivalence, graph, preprocessing, saved_model
from toolkit.runtime import sandbox

SHAPE = (32, 32, 3)
CLASSES = 8
# Of probabilities. Random weights give scores of up to some thousands, whose last digit in float32
# is worth more; which way it is rounded depends on the processor's order of sums.
TOLERANCE = 2e-5
LAST_DIGIT = np.finfo(np.float32).eps


@pytest.fixture(scope="module")
def images():
    return synthetic.draw(4, side=32)


def small_model(*more, activation="softmax"):
    """Layers of many kinds, for images of SHAPE."""
    inputs = keras.Input(SHAPE, name="pixels")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.RandomFlip()(x)
    x = layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2")(x)
    x = layers.SeparableConv2D(8, 3, padding="same")(x)
    x = layers.BatchNormalization(scale=False)(x)
    side = layers.AveragePooling2D(3, 1, "same")(x)
    x = layers.Concatenate()([layers.LeakyReLU(0.1)(x), side])
    x = layers.Maximum()([x, layers.Average()([x, layers.Activation("tanh")(x)])])
    x = layers.Cropping2D(1)(x)
    for layer in more:
        x = layer(x)
    x = layers.GlobalMaxPooling2D()(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation=activation)(x), name="small")


def nested_model():
    """A backbone that leaves its sides open, and a head, as most people fine-tune."""
    open_inputs = keras.Input((None, None, 3))
    base = keras.Model(
        open_inputs, layers.Conv2D(4, 3, activation="elu")(open_inputs), name="backbone"
    )
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Resizing(24, 24),
            base,
            keras.Sequential([layers.Flatten(), layers.Dense(16, "selu")], name="head"),
            layers.Dense(CLASSES),
            layers.Softmax(),
        ]
    )


def assert_probabilities(read, pixels, expected):
    """`read` gives the probabilities `expected` for `pixels`, and so do its operations."""
    for scores in (
        read.predict(pixels, verbose=0),
        equivalence.scores(graph.operations(read), pixels),
    ):
        tolerance = max(TOLERANCE, LAST_DIGIT * np.abs(scores).max())
        np.testing.assert_allclose(keras.ops.softmax(scores), expected, atol=tolerance)


def assert_read(model, path, images):
    """The model at `path` gives the probabilities of `model`, and so do its operations."""
    pixels = images.images.astype(np.float32)
    expected = model.predict(pixels, verbose=0)
    read = saved_model.read_model(path, images.images.shape[1:])
    assert_probabilities(read, pixels, expected)


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("make", [small_model, nested_model])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_saved_model_is_the_model(make, ending, images, tmp_path):
    model, path = make(), tmp_path / f"model.{ending}"
    for variable in model.weights:
        if "moving_variance" in variable.path:
            variable.assign(np.full(variable.shape, 2.0))
    model.save(path)
    assert_read(model, path, images)


@pytest.mark.parametrize("kind", ["rescale", "tf", "imagenet", "caffe"])
def test_preprocessing_is_that_of_keras(kind, images):
    """keras.applications.imagenet_utils is what most programs call before their model."""
    model = small_model(activation=None)
    pixels = images.images.astype(np.float32)
    expected = pixels / 255
    if kind != "rescale":
        mode = {"imagenet": "torch"}.get(kind, kind)
        preprocess = keras.applications.imagenet_utils.preprocess_input
        expected = preprocess(pixels.copy(), mode=mode)
    whole = preprocessing.add(model, preprocessing.read(kind), SHAPE)
    reference = model.predict(expected, verbose=0)
    np.testing.assert_allclose(whole.predict(pixels, verbose=0), reference, rtol=1e-3, atol=1e-4)
    scores = equivalence.scores(graph.operations(whole), pixels)
    np.testing.assert_allclose(scores, reference, rtol=1e-3, atol=1e-4)


def transformer_model():
    """Patches, a class token, positions both as a constant and from a layer, and attention."""
    inputs = keras.Input(SHAPE)
    x = layers.Reshape((-1, 16))(layers.Conv2D(16, 8, 8)(layers.Rescaling(1 / 255)(inputs)))
    x = x + layers.Embedding(16, 16)(keras.ops.arange(16))
    numbers = keras.ops.zeros_like(x[:, :, 0]) + keras.ops.arange(16, dtype="float32")
    x = layers.Add()([x, layers.Embedding(16, 16)(numbers)])
    token = layers.Embedding(1, 16)(keras.ops.zeros_like(x[:, :1, 0]))
    x = layers.Concatenate(axis=1)([token, x])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = x + layers.Dense(16)(layers.Dense(32, activation="gelu")(y))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x[:, 0]))


def test_a_transformer_is_read_and_its_parts_are_data(images, tmp_path):
    """Also where a constant in the file names a type that is none."""
    model = transformer_model()
    for layer in model.layers:
        layer.set_weights([5 * value for value in layer.get_weights()])
    path = saved(model, tmp_path / "model.keras")
    assert_read(model, path, images)

    def change(config):
        for layer in config["config"]["layers"]:
            for node in layer.get("inbound_nodes", []):
                for value in node["args"]:
                    if isinstance(value, dict) and value["class_name"] == "__tensor__":
                        value["config"]["dtype"] = "no type"

    assert_read(model, changed(path, change), images)


FAMILIES = {
    "MobileNetV3Small": False,
    "MobileNetV2": False,
    "DenseNet121": True,
    "ConvNeXtTiny": True,
    "EfficientNetB0": True,
    "EfficientNetV2B0": True,
    "MobileNet": True,
    "MobileNetV3Large": True,
    "ResNet50": True,
    "ResNet50V2": True,
    "InceptionV3": True,
    "InceptionResNetV2": True,
    "Xception": True,
    "VGG16": True,
    "NASNetMobile": True,
}


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=[pytest.mark.slow] if slow else [])
        for name, slow in FAMILIES.items()
    ],
)
def test_each_family_of_keras_applications(family, tmp_path):
    """Two by default, as each takes seconds; random weights, statistics included."""
    rng = np.random.default_rng(0)
    build = getattr(keras.applications, family)
    model = build(weights=None, classes=CLASSES, input_shape=(96, 96, 3))
    for variable in model.weights:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        elif "moving_mean" in variable.path:
            variable.assign(rng.normal(0, 0.1, variable.shape))
    model.save(tmp_path / "model.keras")
    assert_read(model, tmp_path / "model.keras", synthetic.draw(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", foreign.NETWORKS)
def test_networks_that_others_wrote(name, tmp_path):
    """As their sources list them; those with code of their own are refused by that layer's name."""
    drawn = synthetic.draw(2)
    model = foreign.make_network(name, drawn.images.astype(np.float32))
    model.save(tmp_path / "model.keras")
    if name.endswith("as_written"):
        with pytest.raises(InputError, match=r"patch_encoder|a Lambda layer"):
            saved_model.read_model(tmp_path / "model.keras", foreign.SHAPE)
        return
    pixels = drawn.images[:8].astype(np.float32)
    read = saved_model.read_model(tmp_path / "model.keras", foreign.SHAPE)
    scores = equivalence.scores(graph.operations(read), pixels)
    step = equivalence.compare_scores(name, scores, np.asarray(read(pixels, training=False)))
    assert step.max_relative_difference < 1e-4


def saved(model, path):
    model.save(path)
    return path


def changed(path, change):
    """The .keras file at `path` with `change` made to its description."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    change(config)
    path.write_bytes(make_zip(files | {"config.json": json.dumps(config).encode()}))
    return path


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    def call(self, inputs):
        return inputs * 2


@keras.saving.register_keras_serializable("tests")
def doubled(values):
    return values * 2


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(CLASSES)

    def call(self, inputs):
        return self.dense(keras.ops.mean(inputs, (1, 2)))


def test_what_cannot_be_exported_is_named(tmp_path):
    path = tmp_path / "model.keras"
    shared = layers.Dense(4)
    inputs = keras.Input(SHAPE)
    pooled = layers.GlobalAveragePooling2D()(inputs)
    twice = layers.Add()([shared(pooled), shared(layers.Dense(3)(pooled))])
    subclassed = Subclassed()
    subclassed(np.zeros((1, *SHAPE)))
    two = keras.Model([inputs, keras.Input((3,))], layers.Dense(CLASSES)(pooled))
    cases = {
        "lambda_1 in 'small' .* is a Lambda layer": small_model(
            layers.Lambda(lambda x: x + 1, name="lambda_1")
        ),
        "doubled in 'small' .* is of the class Doubled": small_model(Doubled(name="doubled")),
        "is a subclassed model": subclassed,
        "layer own in 'small' .* no plain function": small_model(
            layers.Conv2D(4, 1, activation=doubled, name="own")
        ),
        r"function cos\S* .* cannot be exported": small_model(keras.ops.cos),
        "has 2 inputs": two,
        "not one score a class": keras.Model(inputs, layers.Conv2D(3, 3)(inputs)),
        "used more than once": keras.Model(inputs, layers.Dense(CLASSES)(twice)),
        "takes images of 16 × 16 × 3": keras.Sequential(
            [keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(CLASSES)]
        ),
        "takes images of 32 × 32 × 1": keras.Sequential(
            [keras.Input((32, 32, 1)), layers.Flatten(), layers.Dense(CLASSES)]
        ),
    }
    for words, model in cases.items():
        saved(model, path)
        with pytest.raises(InputError, match=words):
            graph.operations(saved_model.read_model(path, SHAPE))


def test_files_that_are_no_model(tmp_path):
    path = saved(small_model(), tmp_path / "model.keras")
    whole = path.read_bytes()
    small_model().save_weights(tmp_path / "alone.weights.h5")
    cases = {
        "no HDF5": (b"a model", "is no HDF5 file"),
        "cut": (whole[: len(whole) // 2], "is no HDF5 file"),
        "no weights": (make_zip({"config.json": b"{}"}), "has no model.weights.h5"),
        "no description": (
            make_zip({"config.json": b"[]", "model.weights.h5": make_hdf5()}),
            "does not describe the model",
        ),
        "weights alone": ((tmp_path / "alone.weights.h5").read_bytes(), "without a model"),
        "bomb": (
            make_zip({"config.json": bytes(300_000_000), "model.weights.h5": b""}),
            "announces 300 MB",
        ),
    }
    for content, words in cases.values():
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            saved_model.read_model(path, SHAPE)
    with pytest.raises(InputError, match="does not say which layers it has"):
        saved_model.read_model(tmp_path, SHAPE)


def test_no_name_in_a_file_is_imported(tmp_path):
    """A class, an initializer or a function of any module: none is looked up."""
    path = saved(small_model(), tmp_path / "model.keras")
    evil = {"module": "tests.support.imported", "class_name": "Evil", "config": {"name": "x"}}

    def as_layer(config):
        config["config"]["layers"][3] |= evil

    def as_setting(config):
        for layer in config["config"]["layers"]:
            layer["config"] |= {"kernel_initializer": evil, "dtype": evil, "anything": evil}
            layer["build_config"] = evil
        config["compile_config"] = {"optimizer": evil}

    changed(path, as_setting)
    saved_model.read_model(path, SHAPE)  # its settings for training are not needed
    changed(path, as_layer)
    with pytest.raises(InputError, match="of the class Evil"):
        saved_model.read_model(path, SHAPE)


def test_settings_of_another_version_are_left_out(images, tmp_path):
    model = small_model()
    path = saved(model, tmp_path / "model.keras")

    def add(config):
        for layer in config["config"]["layers"]:
            layer["config"]["quantization_config"] = None
            layer["config"]["of_a_later_version"] = 1

    assert_read(model, changed(path, add), images)


def test_the_settings_of_keras_2(images, tmp_path):
    """An axis as a list, and the places of one output as a list of them."""
    model = nested_model()
    path = saved(model, tmp_path / "model.keras")

    def age(config):
        if isinstance(config, dict):
            if "axis" in config:
                config["axis"] = [config["axis"]]
            for key in ("input_layers", "output_layers"):
                if key in config and not isinstance(config[key][0], list):
                    config[key] = [config[key]]
        for value in config.values() if isinstance(config, dict) else config:
            if isinstance(value, (dict, list)):
                age(value)

    assert_read(model, changed(path, age), images)


def test_from_a_keras_file_to_a_zip_that_predicts_the_same(images, tmp_path):
    """The command, and the zip in a clean process."""
    keras.utils.set_random_seed(0)
    model = small_model()
    saved(model, tmp_path / "mine.keras")
    dataset.save(images, tmp_path / "held_out.npz")
    names = ("--model", tmp_path / "mine.keras", "--data", tmp_path / "held_out.npz")
    out = tmp_path / "submission.zip"
    result = in_process("build", *names, "--out", out)
    assert result.returncode == 0, result.stderr
    expected = model.predict(images.images.astype(np.float32), verbose=0).argmax(1)
    printed = float(re.search(r"accuracy (\d\.\d+) on", result.stdout)[1])
    # float16 weights may tip one label of so few.
    assert printed == pytest.approx(np.mean(expected == images.labels), abs=0.05)
    assert "--preprocess" in result.stderr
    labels = sandbox.run(out, {"all": images.images}).labels("all")
    assert np.mean(labels == expected) >= 0.95
    both = in_process("build", *names, "--run", tmp_path)
    assert both.returncode == 2 and "either --run" in both.stderr
    alone = in_process("build", "--model", tmp_path / "mine.keras")
    assert alone.returncode == 2 and "needs --data" in alone.stderr
    nine = dataset.Samples(images.images, images.labels, images.ids, tuple("abcdefghi"))
    dataset.save(nine, tmp_path / "held_out.npz")
    assert_one_sentence(in_process("build", *names), "has 8 classes, the data file 9")


# Written by tf_keras 2.21, of which the tests know no more; without its graph, which is not read.
KERAS_2 = Path("tests/support/keras2")


@pytest.mark.parametrize(
    ("name", "answers"),
    [("saved_model", "probabilities"), ("attention.h5", "attention_probabilities")],
)
def test_models_of_keras_2_are_read(name, answers):
    """A folder, with nested models, tuples, random layers; and attention, whose values are named
    arguments."""
    read = saved_model.read_model(KERAS_2 / name, SHAPE)
    pixels = np.load(KERAS_2 / "pixels.npy").astype(np.float32)
    expected = np.load(KERAS_2 / f"{answers}.npy")
    assert_probabilities(read, pixels, expected)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("graph", "does not describe a model of Keras"),
        ("weights", "weights that do not fit"),
        ("missing", "weights that do not fit"),
    ],
)
def test_a_damaged_saved_model_folder_is_one_sentence(damage, words, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(KERAS_2 / "saved_model", folder)
    if damage == "graph":
        (folder / "keras_metadata.pb").write_bytes(b"\x0a\xff\xff")
    elif damage == "weights":
        values = folder / "variables" / "variables.data-00000-of-00001"
        values.write_bytes(values.read_bytes()[:-9000])
    else:
        shutil.rmtree(folder / "variables")
    with pytest.raises(InputError, match=words) as raised:
        saved_model.read_model(folder, SHAPE)
    assert "\n" not in raised.value.sentence
