"""Speed measurements: the training of heads, networks for predictions, and the making of corrupted
copies."""

import functools
import time
from collections.abc import Callable
from statistics import median

import keras
import numpy as np
import tensorflow as tf

from toolkit.core.config import ModelConfig
from toolkit.core.progress import Progress, silent
from toolkit.data import shift, synthetic
from toolkit.data.dataset import Samples
from toolkit.models import backbones, backend
from toolkit.models.network import build as build_network

CLASSES = 8
SIDE = 96
LEARNING_RATE = 1e-4


def time_heads(
    backbone: str, batch: int, steps: int, progress: Progress = silent
) -> dict[str, float]:
    """Speed in images/s of training one dense layer with Adam on a frozen backbone with random
    weights: keras.applications' ("stock_head"), ours ("head"), and on stored features
    ("cached_head").

    Each number is the median of `steps` steps of `batch` images after one that is not counted. The
    ratios are ours to stock. Raises InputError for a backbone that keras.applications does not
    have.
    """
    stock = backbones.require_stock(backbone)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, SIDE, SIDE, 3)).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, batch)]
    speeds: dict[str, float] = {}

    def time_frozen(trunk: keras.Model, name: str) -> None:
        progress(len(speeds), 3, name)
        trunk.trainable = False
        model = compile_head(trunk.input, trunk.output)
        speeds[name] = batch / _time_step(model, images, labels, steps)

    shape = (SIDE, SIDE, 3)
    time_frozen(stock(shape), "stock_head")
    network = build_network(ModelConfig(backbone, "none"), shape, CLASSES)
    time_frozen(network.trunk, "head")
    features = rng.normal(size=(batch, network.trunk.output_shape[-1])).astype(np.float32)
    stored = keras.Input(features.shape[1:])
    # A step takes microseconds: few of them would measure the clock.
    head_steps = max(steps, 50)
    head = compile_head(stored, stored)
    speeds["cached_head"] = batch / _time_step(head, features, labels, head_steps)
    return {
        **{name: round(speed, 2) for name, speed in speeds.items()},
        "head_ratio": round(speeds["head"] / speeds["stock_head"], 2),
        "cached_head_ratio": round(speeds["cached_head"] / speeds["stock_head"], 1),
    }


def random_network(backbone: str) -> tuple[keras.Model, keras.Model]:
    """keras.applications' network with a dense layer, and ours with the same random weights; pixels
    to scores [n, 8].

    Where keras.applications has none, both are ours. ConvNeXt's layer scales start at 1e-6, with
    which no block counts; they are drawn as training leaves them. The dense layer's are scaled to
    scores up to 10: random networks' can be so small that softmax makes them equal. Raises
    InputError for an unknown backbone.
    """
    shape, rng = (SIDE, SIDE, 3), np.random.default_rng(0)
    ours = build_network(ModelConfig(backbone, "none", head_units=()), shape, CLASSES)
    entry = backbones.BACKBONES[backbone]
    trunk = None
    if entry.stock:
        trunk = entry.stock(shape)
        for layer in trunk.layers:
            if type(layer).__name__ == "LayerScale":
                layer.set_weights([rng.uniform(0.05, 0.3, layer.get_weights()[0].shape)])
        ours.trunk.set_weights(backbones.depthwise_weights(trunk))
    kernel, bias = ours.model.layers[-1].get_weights()
    largest = np.abs(ours.model.predict(rng.uniform(0, 255, (4, *shape)), verbose=0)).max()
    ours.model.layers[-1].set_weights([kernel * 10 / largest, bias])
    if not trunk:
        return ours.model, ours.model
    pixels = keras.Input(shape)
    features = trunk(keras.layers.Rescaling(entry.scale, entry.offset)(pixels))
    head = keras.layers.Dense(CLASSES)
    stock = keras.Model(pixels, head(features))
    head.set_weights(ours.model.layers[-1].get_weights())
    return stock, ours.model


def compile_head(
    inputs: keras.KerasTensor, features: keras.KerasTensor, jit_compile: bool | str = "auto"
) -> keras.Model:
    """The model from `inputs` to class scores, by one dense layer on `features`, to be trained.
    jit_compile: whether XLA compiles its step, as for `keras.Model.compile`."""
    model = keras.Model(inputs, keras.layers.Dense(CLASSES, dtype="float32")(features))
    model.compile(
        keras.optimizers.Adam(LEARNING_RATE),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    return model


def _time_step(model: keras.Model, inputs: np.ndarray, labels: np.ndarray, steps: int) -> float:
    if backend.name() == "tensorflow":
        inputs, labels = tf.constant(inputs), tf.constant(labels)
    model.train_on_batch(inputs, labels)
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        model.train_on_batch(inputs, labels)
        times.append(time.perf_counter() - started)
    return median(times)


def time_shift(images: int) -> dict[str, int]:
    """How fast `toolkit.data.shift` makes copies of that many drawn cells, by chains and by single
    families, in images/s."""
    cells = synthetic.draw(images // CLASSES + 1).take(np.arange(images))
    # What is laid over pictures is drawn once, on first use: not to be timed.
    shift.mixture(cells.take(np.arange(min(images, CLASSES))))
    speeds = {"chains_images_per_second": _measure_speed(images, lambda: shift.mixture(cells))}
    for family in shift.FAMILIES:
        corrupt = functools.partial(shift.single, cells, family, severity=3)
        speeds[f"{family}_images_per_second"] = _measure_speed(images, corrupt)
    return speeds


def _measure_speed(images: int, make: Callable[[], Samples]) -> int:
    started = time.perf_counter()
    make()
    return round(images / (time.perf_counter() - started))
