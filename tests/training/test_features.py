"""The features of images: by a pretrained backbone, in the order of the images."""

import numpy as np
import pytest

from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.data import dataset
from toolkit.models import network
from toolkit.training import features

IMAGES = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
SAMPLES = dataset.Samples(IMAGES, np.arange(10) % 8, np.arange(10), dataset.CELL_NAMES)


def test_each_image_has_the_features_that_the_backbone_gives_for_it(monkeypatch):
    """With TensorFlow: the network is what is tested. A small one in place of the preset's."""
    small = network.build(config.preset("tiny").model, IMAGES.shape[1:], 8)
    monkeypatch.setattr(features, "build", lambda *arguments: small)
    settings = config.preset("lite", ("train.batch_size=4",))
    steps = []
    found = features.extract_features(SAMPLES, settings, lambda *step: steps.append(step[:2]))
    expected = small.trunk(IMAGES.astype(np.float32), training=False).numpy()
    assert found == pytest.approx(expected, abs=1e-4)
    assert steps == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("preset", "settings", "reason"),
    [
        ("tiny", (), "the backbone simple-cnn has random weights"),
        ("lite", ("model.weights=best.npz",), "best.npz has the weights of a run"),
        ("tiny", ("model.weights=imagenet",), "there are no ImageNet weights for simple-cnn"),
        ("tiny", ("model.weights=missing.h5",), "there is no weights file missing.h5"),
    ],
)
def test_a_backbone_without_published_weights_is_refused(preset, settings, reason):
    with pytest.raises(InputError, match=reason) as refusal:
        features.extract_features(SAMPLES, config.preset(preset, settings))
    assert "--set model.weights=" in refusal.value.hint or "--preset lite" in refusal.value.hint
