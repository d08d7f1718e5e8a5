"""The network of a finished run, with the weights of its best epoch."""

import keras

from toolkit.core import config
from toolkit.models import pretrained
from toolkit.models.network import build as build_network
from toolkit.training.run_folder import Run, read_provenance


def load_best_network(run: Run) -> keras.Model:
    """The Keras network of `run` with its best weights: pixels to scores before the softmax."""
    settings = config.read(run.config)
    provenance = read_provenance(run)
    # The checkpoint holds every weight: nothing pretrained is needed to fill them first.
    blank = config.without_weights(settings.model)
    network = build_network(
        blank, tuple(provenance["image_shape"]), len(provenance["class_names"])
    ).model
    pretrained.restore(network, run.checkpoint)
    return network
