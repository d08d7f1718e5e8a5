"""Grad-CAM: which parts of an image speak for the class that a network names (Selvaraju et al.,
arXiv:1610.02391)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib import colormaps
from PIL import Image

from toolkit.export import graph

# What has the shape of a map, and is none: the image, and maps with a border around them.
NO_MAPS = (keras.layers.InputLayer, keras.layers.ZeroPadding2D)
FINE = 6  # rows of a feature map that is fine enough to show
HEAT = 0.5  # share of the heat in a picture
RESAMPLING = Image.Resampling.BILINEAR


class NoMap(Exception):
    """The network has no feature map."""


def compute(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The heat of each of `images` (uint8 [n, h, w, 3]) for the class that `model` gives the
    highest score: float32 [n, rows, columns] in 0..1, of the size of the last feature
    map that is fine enough.

    Raises NoMap for a network without a feature map.
    """
    # By nodes, not layers: those of a backbone have results in its own network, too.
    nodes = [node for node in graph.list_nodes(model) if _is_map(node)]
    if not nodes:
        raise NoMap
    # Of small images the last map has 3 × 3 places, which say little about where.
    fine = [node for node in nodes if node.output_tensors[0].shape[1] >= FINE]
    chosen = (fine or nodes)[-1].output_tensors[0]
    both = keras.Model(model.inputs, [chosen, model.outputs[0]])
    pixels = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(pixels)  # so that all after it is on the tape, whatever is trainable
        features, scores = both(pixels, training=False)
        best = tf.reduce_max(scores, axis=1)
    gradients = tape.gradient(best, features)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy()
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)


def overlay(images: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """`images`, uint8 [n, h, w, 3], under their `heat`, float [n, rows, columns] in 0..1."""
    height, width = images.shape[1:3]
    painted = np.empty_like(images)
    for number, (image, values) in enumerate(zip(images, heat)):
        grown = Image.fromarray(np.uint8(255 * values)).resize((width, height), RESAMPLING)
        colours = colormaps["viridis"](np.asarray(grown) / 255)[..., :3] * 255
        painted[number] = np.round((1 - HEAT) * image + HEAT * colours)
    return painted


def _is_map(node: Any) -> bool:
    """Whether a layer at its place gives a map of features, [n, rows, columns, features]."""
    return not isinstance(node.operation, NO_MAPS) and len(node.output_tensors[0].shape) == 4
