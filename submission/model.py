"""The network that is judged: plain TensorFlow operations, listed in manifest.json, on weights from an HDF5 file.

It needs numpy, h5py and TensorFlow 2.16 or later, and nothing of the Keras that trained it: files that one
Keras saves do not load in another. Everything it reads lies beside this file.
"""

import json
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

SLICE = 64  # images predicted at a time, so that memory does not grow with their number


def _dense(values: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """The last axis of `values` times `kernel`: one product of matrices, whatever the rank."""
    rows = tf.matmul(tf.reshape(values, [-1, kernel.shape[0]]), kernel) + bias
    return tf.reshape(rows, tf.concat([tf.shape(values)[:-1], [kernel.shape[1]]], 0)) if values.shape.rank > 2 else rows


def _layer_norm(values: tf.Tensor, epsilon: float, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(values, [-1], keepdims=True)
    return tf.nn.batch_normalization(values, mean, variance, beta, gamma, epsilon)


# Each takes the inputs [n, ...], the operation's entry in the manifest, and its weights by name.
OPERATIONS = {
    "resize": lambda inputs, entry, w: tf.image.resize(inputs[0], entry["size"]),
    "scale": lambda inputs, entry, w: inputs[0] * entry["scale"] + entry["offset"],
    "conv": lambda inputs, entry, w: (
        tf.nn.conv2d(inputs[0], w["kernel"], entry["strides"], entry["padding"]) + w["bias"]
    ),
    "depthwise": lambda inputs, entry, w: (
        tf.nn.depthwise_conv2d(inputs[0], w["kernel"], [1, *entry["strides"], 1], entry["padding"]) + w["bias"]
    ),
    "dense": lambda inputs, entry, w: _dense(inputs[0], w["kernel"], w["bias"]),
    "layer_norm": lambda inputs, entry, w: _layer_norm(inputs[0], entry["epsilon"], w["gamma"], w["beta"]),
    "pad": lambda inputs, entry, w: tf.pad(inputs[0], [[0, 0], *entry["margins"], [0, 0]]),
    "max_pool": lambda inputs, entry, w: tf.nn.max_pool2d(inputs[0], entry["size"], entry["strides"], entry["padding"]),
    "mean": lambda inputs, entry, w: tf.reduce_mean(inputs[0], axis=[1, 2], keepdims=entry["keep"]),
    "flatten": lambda inputs, entry, w: tf.reshape(inputs[0], [-1, int(np.prod(inputs[0].shape[1:]))]),
    "reshape": lambda inputs, entry, w: tf.reshape(inputs[0], [-1, *entry["shape"]]),
    "add": lambda inputs, entry, w: tf.add_n(inputs),
    "multiply": lambda inputs, entry, w: inputs[0] * inputs[1],
    "relu": lambda inputs, entry, w: tf.nn.relu(inputs[0]),
    "relu6": lambda inputs, entry, w: tf.nn.relu6(inputs[0]),
    "gelu": lambda inputs, entry, w: tf.nn.gelu(inputs[0]),
    "silu": lambda inputs, entry, w: tf.nn.silu(inputs[0]),
    "sigmoid": lambda inputs, entry, w: tf.nn.sigmoid(inputs[0]),
    "hard_silu": lambda inputs, entry, w: inputs[0] * tf.nn.relu6(inputs[0] + 3.0) / 6.0,
}


class Model:
    """The competition's interface: `Model()`, then `predict(X)`."""

    def __init__(self, folder: str | Path = Path(__file__).resolve().parent):
        """Loads manifest.json and the weights it names from `folder`, by default this file's own."""
        folder = Path(folder)
        self.manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.image_shape = tuple(self.manifest["image_shape"])
        with h5py.File(folder / self.manifest["weights"]["file"], "r") as file:
            self._weights = {
                name: {key: tf.constant(np.asarray(values, np.float32)) for key, values in group.items()}
                for name, group in file.items()
            }
        pixels = tf.TensorSpec([None, *self.image_shape], tf.float32)
        self._scores = tf.function(self._run, input_signature=[pixels])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The class of each image of `X`, uint8 or float 0..255 [n, height, width, 3]: int64 [n].

        Raises ValueError for another shape.
        """
        return self.probabilities(X).argmax(axis=1).astype(np.int64)

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """The probability of each class for each image of `X`: float32 [n, classes]."""
        X = np.asarray(X)
        if X.shape[1:] != self.image_shape:
            raise ValueError(f"images have the shape {X.shape}, expected (n, {', '.join(map(str, self.image_shape))})")
        slices = [X[start : start + SLICE].astype(np.float32) for start in range(0, len(X), SLICE)]
        scores = [self._scores(tf.constant(images)).numpy() for images in slices]
        if not scores:
            return np.zeros((0, len(self.manifest["class_names"])), np.float32)
        return tf.nn.softmax(np.concatenate(scores)).numpy()

    def _run(self, pixels: tf.Tensor) -> tf.Tensor:
        """The network from pixels to class scores before the softmax, float32 [n, classes]."""
        results = {"pixels": pixels}
        for entry in self.manifest["operations"]:
            inputs = [results[name] for name in entry["inputs"]]
            weights = self._weights.get(entry["name"], {})
            results[entry["name"]] = OPERATIONS[entry["op"]](inputs, entry, weights)
        return results[entry["name"]]
