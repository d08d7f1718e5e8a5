"""Labels images with a Keras network that is built here, layer by layer.

`network.weights.h5`, beside this file, holds the weights by layer. The file of a whole model is not
needed: what one version of Keras saves, another may not load.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

BATCH = 64  # images predicted at a time
WEIGHTS = Path(__file__).resolve().parent / "network.weights.h5"
CONSTANTS: dict[str, np.ndarray] = {}  # arrays that the network carries along


class KerasModel:
    """The network that `build` makes of layers, with its weights."""

    def __init__(self, build: Callable[[], keras.Model]) -> None:
        with h5py.File(WEIGHTS, "r") as file:
            for name, values in file["constants"].items():
                CONSTANTS[name] = np.asarray(values)
            self.network = build()
            _set_weights(self.network, file["layers"])
        self.image_shape = tuple(self.network.input_shape[1:])
        classes = self.network.output_shape[-1]
        self.manifest: dict[str, Any] = {"class_names": [str(label) for label in range(classes)]}

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The class of each image in `X`, numbers 0..255 [n, height, width, 3]: int64 [n]."""
        labels: np.ndarray = self.scores(X).argmax(axis=1).astype(np.int64)
        return labels

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """The probability of each class for each image in `X`: float32 [n, classes]."""
        return np.asarray(keras.ops.softmax(self.scores(X)))

    def scores(self, X: np.ndarray) -> np.ndarray:
        """What the softmax takes: float32 [n, classes]. Pixels divided by 255 are multiplied by
        it. Raises ValueError for another shape."""
        X = np.asarray(X)
        if X.shape[1:] != self.image_shape:
            raise ValueError(f"images have the shape {X.shape}, expected (n, *{self.image_shape})")
        scaled = X.dtype.kind == "f" and X.size and X.min() >= 0 and 0 < X.max() <= 1
        pixels = X.astype(np.float32) * (255.0 if scaled else 1.0)
        if not len(pixels):
            return np.zeros((0, self.network.output_shape[-1]), np.float32)
        return np.asarray(self.network.predict(pixels, batch_size=BATCH, verbose=0))


def _set_weights(network: keras.Model, group: h5py.Group) -> None:
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            _set_weights(layer, group[layer.name])
        elif layer.weights:
            stored = group[layer.name]
            layer.set_weights([np.asarray(stored[str(place)]) for place in range(len(stored))])
