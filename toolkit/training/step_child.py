"""Runs in a process of its own: times the training steps of one case of `step_benchmark`."""

import resource
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise
from statistics import median
from typing import Any

import keras
import numpy as np

from toolkit.augment import pipeline
from toolkit.core import config
from toolkit.core.config import Config, ModelConfig
from toolkit.data import synthetic
from toolkit.models import backend
from toolkit.models.backbones import require_stock
from toolkit.models.network import build as build_network
from toolkit.models.network import rematerialise
from toolkit.training import child
from toolkit.training.benchmark import CLASSES, compile_head
from toolkit.training.step_benchmark import Case, Timing

UNTIMED = 2  # steps that compile, and fill the queue of batches
CELLS = 40  # of each class
# Sides of the matrices, large enough to reach the ceiling.
GPU_PRODUCT, CPU_PRODUCT = 8192, 2048
PRODUCTS = 5  # of which the fastest counts: it is to be a ceiling


def time_case(case: Case) -> dict[str, Any]:
    """The `Timing` of `case` as a dictionary. Raises InputError where keras.applications lacks the
    network."""
    keras.utils.set_random_seed(0)
    model = _build(case)
    batches = _make_batches(case)
    measure = _time_fit if backend.name() == "jax" else _time_steps
    waits, computes = measure(model, batches, UNTIMED + case.steps)
    waits, computes = waits[UNTIMED:], computes[UNTIMED:]
    peak = backend.measure_peak_bytes()
    if peak is None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return asdict(Timing(median(waits), median(computes), _measure_product(case.precision), peak))


def _time_steps(
    model: keras.Model, batches: Iterator[pipeline.Batch], count: int
) -> tuple[list[float], list[float]]:
    """Seconds that each of `count` steps waited for its batch, and that it took then."""
    waits, computes = [], []
    for _ in range(count):
        started = time.perf_counter()
        images, labels, _ = next(batches)
        there = time.perf_counter()
        model.train_on_batch(images, labels)  # returns the loss as a number: the step has ended
        waits.append(there - started)
        computes.append(time.perf_counter() - there)
    return waits, computes


def _time_fit(
    model: keras.Model, batches: Iterator[pipeline.Batch], count: int
) -> tuple[list[float], list[float]]:
    """The same by `fit`, because JAX's train_on_batch puts all values back into the variables after
    each step, which `fit` does after each epoch. The first step is not among the returned."""
    waits: list[float] = []
    ends: list[float] = []

    def feed() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            started = time.perf_counter()
            images, labels, _ = next(batches)
            waits.append(time.perf_counter() - started)
            yield images.numpy(), labels.numpy()

    def end_step(_: int, logs: dict[str, Any]) -> None:
        float(logs["loss"])  # waits for the step
        ends.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_train_batch_end=end_step)
    model.fit(feed(), steps_per_epoch=count + 1, shuffle=False, verbose=0, callbacks=[clock])
    # On a GPU, a batch is fetched before the step ahead of it: within one step after another all
    # the same.
    periods = [after - before for before, after in pairwise(ends)]
    return waits[1 : count + 1], [period - wait for period, wait in zip(periods, waits[1:])]


def _build(case: Case) -> keras.Model:
    """The compiled network of `case`, from pixels to scores."""
    shape = (case.side, case.side, 3)
    if case.ours:
        settings = ModelConfig(case.backbone, "none")
        trunk = build_network(settings, shape, CLASSES, case.precision, case.remat).trunk
    else:
        trunk = _build_stock(case)
    return compile_head(trunk.input, trunk.output, case.xla)


def _build_stock(case: Case) -> keras.Model:
    """keras.applications' network for pixels 0..255 or what it takes instead: its speed is the same
    for all values."""
    build = require_stock(case.backbone)
    keras.config.set_dtype_policy(case.precision)
    try:
        with rematerialise(case.remat):
            return build((case.side, case.side, 3))
    finally:
        keras.config.set_dtype_policy("float32")


def _make_batches(case: Case) -> Iterator[pipeline.Batch]:
    """Endless batches of drawn cells, made as those of a training are."""
    samples = synthetic.draw(CELLS)
    places = np.arange(case.side) * samples.images.shape[1] // case.side
    samples = samples.with_images(np.ascontiguousarray(samples.images[:, places][:, :, places]))
    stream, _ = pipeline.stream(samples, _fill(case, len(samples)), _make_settings(case), True)
    return iter(stream)


def _fill(case: Case, count: int) -> np.ndarray:
    """Rows of `count` samples in whole batches: another size of batch would be compiled anew."""
    return np.resize(np.arange(count), -(-count // case.batch) * case.batch)


def _make_settings(case: Case) -> Config:
    settings = config.preset("tiny")
    train = replace(settings.train, batch_size=case.batch, blocks=None)
    return replace(settings, augment=case.operations, train=train)


def _measure_product(precision: str) -> float:
    """TFLOP/s of a product of square matrices in the arithmetic of the policy `precision`."""
    side = GPU_PRODUCT if backend.find_capability() else CPU_PRODUCT
    dtype = keras.dtype_policies.get(precision).compute_dtype
    matrix = keras.ops.cast(keras.random.normal((side, side)), dtype)
    times = []
    for _ in range(PRODUCTS + 1):
        started = time.perf_counter()
        product = keras.ops.matmul(matrix, matrix)
        # Waits for the product. numpy has no bfloat16 of its own.
        keras.ops.convert_to_numpy(keras.ops.cast(product[0, :1], "float32"))
        times.append(time.perf_counter() - started)
    return 2 * side**3 / min(times) / 1e12


if __name__ == "__main__":
    child.serve(Case, time_case)
