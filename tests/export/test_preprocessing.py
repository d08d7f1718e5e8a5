"""Preprocessing from a TOML file; the named ones are compared with Keras' in test_saved_model."""

import keras
import numpy as np
import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core.errors import InputError
from toolkit.export import preprocessing
from tools import completion

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.float32)


def apply(wanted):
    """What a model gets to see of PIXELS."""
    images = keras.Input((8, 8, 3))
    nothing = keras.Model(images, keras.layers.Activation("linear")(images))
    return preprocessing.add(nothing, wanted, (8, 8, 3))(PIXELS).numpy()


def test_a_file_gives_order_scale_mean_and_deviation(tmp_path):
    path = tmp_path / "pixels.toml"
    path.write_text('channels = "bgr"\ndivide = 255\nmean = [0.1, 0.2, 0.3]\nstd = [0.5, 1, 2]\n')
    expected = (PIXELS[..., ::-1] / 255 - [0.1, 0.2, 0.3]) / [0.5, 1, 2]
    np.testing.assert_allclose(apply(preprocessing.read(str(path))), expected, atol=1e-5)
    path.write_text("divide = 10\nmean = [2]\n")
    np.testing.assert_allclose(apply(preprocessing.read(str(path))), PIXELS / 10 - 2, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("std = [0]", "std.0"),
        ("mean = [1, 2]", "of 2 channels, the images have 3"),
        ("mean = [nan]", "mean.0"),
        ('channels = "gbr"', "channels"),
        ("dvide = 2", "Did you mean divide?"),
        ("divide =", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence(text, words, tmp_path):
    path = tmp_path / "pixels.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        apply(preprocessing.read(str(path)))


def test_what_does_not_exist_is_refused_before_the_data_is_read(tmp_path):
    command = ("build", "--model", "m.keras", "--data", tmp_path / "none.npz", "--preprocess")
    assert_one_sentence(in_process(*command, "rescal"), "there is no preprocessing 'rescal'")
    assert_one_sentence(in_process(*command, tmp_path / "p.toml"), "p.toml")


def test_the_names_are_completed():
    found = [item.value for item in completion.preprocessing(None, None, "")]
    assert found == [preprocessing.NONE, *preprocessing.NAMED]
