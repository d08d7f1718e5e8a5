"""Trains on another backend than the tests' own:

    KERAS_BACKEND=jax python -m tests.support.backend_training FOLDER

FOLDER holds steps.npz: weights and batches; into it go losses.json, the losses of some optimiser
steps from those weights on, a run trained to its end (whole), one interrupted and resumed
(resumed), what the first one's best network gives for the images of images.npz (scores.npy), and
timing.json, how long steps take.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from toolkit.core import config
from toolkit.core.config import ModelConfig
from toolkit.data import synthetic
from toolkit.models import backend
from toolkit.models.network import build
from toolkit.training import best_network, fit, prepare, step_child
from toolkit.training.step_benchmark import Case

SIDE = 32
CLASSES = 8
STEPS, BATCH = 5, 16
MODEL = ModelConfig("simple-cnn", "none", head_units=(16,), head_norm="batch", dropout=0.0)
SETTINGS = (
    "augment=[]",  # its chain is TensorFlow's on every backend, and takes most of the time
    "train.phases.0.epochs=1",
    "train.phases.1.epochs=2",
    "train.ema=0.9",
    "train.deterministic=true",
)


def take_steps(path: Path) -> list[float]:
    """The losses of STEPS AdamW steps on the batches in `path`, from the weights in it on."""
    with np.load(path) as arrays:
        network = build(MODEL, (SIDE, SIDE, 3), CLASSES).model
        network.set_weights([arrays[f"weight_{n}"] for n in range(len(network.weights))])
        images, labels = arrays["images"], arrays["labels"]
    network.compile(
        optimizer=keras.optimizers.AdamW(1e-3),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
    )
    return [float(network.train_on_batch(*batch)) for batch in zip(images, labels)]


def write_steps(path: Path) -> None:
    """Writes random batches and the weights of a new network."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    network = build(MODEL, (SIDE, SIDE, 3), CLASSES).model
    weights = {f"weight_{n}": array for n, array in enumerate(network.get_weights())}
    images = rng.integers(0, 256, (STEPS, BATCH, SIDE, SIDE, 3)).astype(np.float32)
    labels = np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, (STEPS, BATCH))]
    np.savez(path, images=images, labels=labels, **weights)


class Interruption(Exception):
    pass


def interrupt_after(steps: int) -> Iterator[None]:
    """A progress function that raises Interruption at its call number `steps`."""
    calls = 0

    def report(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == steps:
            raise Interruption

    return report


def train(folder: Path) -> None:
    samples = synthetic.draw(12, side=SIDE)
    settings = config.preset("tiny", SETTINGS)
    prepared = prepare.prepare(samples, settings)
    calls = []
    whole = fit.fit(prepared, settings, folder / "whole", progress=lambda *_: calls.append(1))
    try:
        # In the last epoch: that before is what the training resumes from.
        fit.fit(prepared, settings, folder / "resumed", progress=interrupt_after(len(calls) - 1))
    except Interruption:
        fit.resume(fit.Run(folder / "resumed"), samples)
    network = best_network.load_best_network(whole)
    predict = backend.compile_prediction(network)
    np.save(folder / "scores.npy", predict(np.load(folder / "images.npy").astype(np.float32)))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "losses.json").write_text(json.dumps(take_steps(place / "steps.npz")))
    train(place)
    timing = step_child.time_case(Case("simple-cnn", True, "float32", True, False, 2, SIDE, 2))
    (place / "timing.json").write_text(json.dumps(timing))
