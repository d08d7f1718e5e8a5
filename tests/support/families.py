"""Networks of keras.applications as zips: how they compare with Keras, here and in the
competition's environment:

    python -m tests.support.families [NAME...]

Builds each with random weights and statistics, saves it as .keras, builds a zip of that file as
`cbtool build --model` does, and prints a row: the zip's size, the largest difference of scores
before weights are stored, the share of labels that agree with model.predict (here, and in the
competition's environment), and images/s of both on this machine.
"""

import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

from submission.model import Model
from toolkit.data import synthetic
from toolkit.export import package, saved_model
from toolkit.runtime import environments, sandbox

NAMES = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Large",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
)
IMAGES_PER_CLASS = 16
BATCH = 32


def make_network(name: str) -> keras.Model:
    rng = np.random.default_rng(0)
    build = getattr(keras.applications, name)
    model = build(weights=None, classes=8, input_shape=(96, 96, 3))
    for variable in model.weights:
        if "moving_variance" in variable.path:
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        elif "moving_mean" in variable.path:
            variable.assign(rng.normal(0, 0.1, variable.shape))
        elif variable.path.startswith("predictions"):
            # Else the scores of random features are so alike that rounding decides the labels.
            variable.assign(rng.normal(0, 1, variable.shape))
    return model


def measure_speed(predict, images: np.ndarray) -> float:
    """Images/s, after a first call that builds the graph."""
    predict(images)
    started = time.perf_counter()
    predict(images)
    return len(images) / (time.perf_counter() - started)


def print_row(name: str, folder: Path) -> None:
    drawn = synthetic.draw(IMAGES_PER_CLASS)
    samples = drawn.take(np.arange(8 * IMAGES_PER_CLASS))
    pixels = samples.images.astype(np.float32)
    model = make_network(name)
    model.save(folder / "model.keras")
    read = saved_model.read_model(folder / "model.keras", samples.images.shape[1:])
    comparison = package.export_model(read, samples, folder / "package")
    path = folder / "submission.zip"
    package.write_zip([folder / "package"], path)
    expected = model.predict(pixels, batch_size=BATCH, verbose=0).argmax(1)
    ours = Model(folder / "package")
    here = np.mean(ours.predict(samples.images) == expected)
    python = environments.find_python("an2dl2024")
    outcome = sandbox.run(path, {"all": samples.images}, python)
    there = np.mean(outcome.labels("all") == expected)
    speed = measure_speed(ours.predict, samples.images)
    stock = measure_speed(lambda x: model.predict(x, batch_size=BATCH, verbose=0), pixels)
    exact = comparison.steps[-3].max_relative_difference  # after all rewrites, weights in float32
    print(
        f"| {name} | {path.stat().st_size / 1e6:.1f} | {exact:.1e} | {here:.3f} | {there:.3f} | "
        f"{speed:,.0f} | {stock:,.0f} | {speed / stock:.1f} |",
        flush=True,
    )


if __name__ == "__main__":
    print(
        "| network | zip, MB | largest relative difference | labels agree | in the evaluator's "
        "environment | images/s | `model.predict` | ratio |\n" + "| --- " * 8 + "|",
        flush=True,
    )
    for wanted in sys.argv[1:] or NAMES:
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as place:
            print_row(wanted, Path(place))
