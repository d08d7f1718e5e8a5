"""A small package to test with, without a training."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolkit.core.config import ModelConfig
from toolkit.core.files import digest
from toolkit.export import graph, optimize, package
from toolkit.export.interface import write_source
from toolkit.export.manifest import FORMAT
from toolkit.models.network import build

CLASSES = 8


def write_package(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes model.py, manifest.json and weights.h5 of a network that tells `images` apart.

    Its convolutions are random, its class scores fitted to `labels` by ridge regression: a second's
    work where a training takes a minute.
    """
    keras.utils.set_random_seed(0)
    network = build(ModelConfig("simple-cnn", "none", head_units=()), images.shape[1:], CLASSES)
    features = np.asarray(network.trunk(images.astype(np.float32)))
    wanted = 8.0 * np.eye(CLASSES)[labels]
    with_bias = np.column_stack([features, np.ones(len(features))])
    # Ridge regression in its dual form: there are far fewer images than features.
    products = with_bias @ with_bias.T
    ridge = 1e-4 * np.trace(products) / len(products) * np.eye(len(products))
    fitted = (with_bias.T @ np.linalg.solve(products + ridge, wanted)).astype(np.float32)
    network.head.get_layer("scores").set_weights([fitted[:-1], fitted[-1]])
    operations = package.round_kernels(
        optimize.rewrite_all(graph.operations(network.model)), "float16"
    )
    folder.mkdir()
    (folder / "model.py").write_bytes(write_source())
    (folder / "weights.h5").write_bytes(package.to_hdf5(operations))
    entry = {
        "backbone": "simple-cnn",
        "families": [],
        "gflop": sum(operation.flop for operation in operations) / 1e9,
        "bfloat16": False,
        "views": ["identity"],
        "temperature": None,
        "weights": {
            "file": "weights.h5",
            "dtype": "float16",
            "sha256": digest(folder / "weights.h5"),
        },
        "operations": [operation.entry for operation in operations],
    }
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "image_shape": list(images.shape[1:]),
        "class_names": [str(label) for label in range(CLASSES)],
        "class_shares": None,
        "networks": [entry],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
