"""What a backbone makes of images: computed once, for heads and classifiers that train on it."""

import keras
import numpy as np
import tensorflow as tf

from toolkit.augment import pipeline
from toolkit.core.config import Config
from toolkit.core.errors import InputError
from toolkit.core.progress import Progress, silent
from toolkit.data.dataset import Samples
from toolkit.models import backend
from toolkit.models.network import build


def compute_features(
    trunk: keras.Model, batches: tf.data.Dataset, progress: Progress = silent
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The features that the backbone `trunk` gives for `batches` [n, width], with the labels [n,
    classes] and weights [n] of the batches, which are finite."""
    predict = backend.compile_prediction(trunk)
    total = int(batches.cardinality())
    features, labels, weights = [], [], []
    for number, (images, some_labels, some_weights) in enumerate(batches):
        progress(number, total, "")
        features.append(predict(images))
        labels.append(some_labels.numpy())
        weights.append(some_weights.numpy())
    return np.concatenate(features), np.concatenate(labels), np.concatenate(weights)


def extract_features(samples: Samples, settings: Config, progress: Progress = silent) -> np.ndarray:
    """The features of `samples` that the backbone of `settings` gives before any training,
    float32 [n, width].

    Raises InputError as `require_pretrained` does, and when the weights are missing or the images
    too small.
    """
    require_pretrained(settings)
    try:
        network = build(settings.model, samples.images.shape[1:], len(samples.class_names))
    except InputError as error:
        raise InputError(
            error.sentence,
            "Give a file of the weights, or another size: --set model.weights=PATH, --set "
            "model.input_size=96; or take --preset lite, whose weights come with cbtool.",
        ) from error
    rows = np.arange(len(samples))
    batches = pipeline.make_fixed_batches(samples, rows, settings, augmented=False)
    features, _, _ = compute_features(network.trunk, batches, progress)
    return features


def require_pretrained(settings: Config) -> None:
    """Raises InputError unless the backbone of `settings` starts from weights that no labels of a
    run have formed."""
    source = settings.model.weights
    if source == "none":
        raise InputError(
            f"the backbone {settings.model.backbone} has random weights here: its features say "
            "little about the images.",
            "Take --preset lite, whose ImageNet weights come with cbtool.",
        )
    if source.endswith(".npz"):
        raise InputError(
            f"{source} has the weights of a run, which may have learnt the labels that are to be "
            "examined, wrong ones too.",
            "Take ImageNet weights: --set model.weights=imagenet.",
        )
