"""model.py as other competitions call it: executed in this process, which has TensorFlow anyway."""

import csv
import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from submission.model import Model
from tests.support.packages import CLASSES, write_package
from toolkit.core.contract import AN2DL2024
from toolkit.core.metrics import take_labels
from toolkit.data import synthetic
from toolkit.data.channels import from_rgb
from toolkit.export.interface import write_source
from toolkit.runtime import returns

N = 12


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A package's folder, grey images that it tells apart, and their labels by its own class."""
    folder = tmp_path_factory.mktemp("package") / "package"
    samples = synthetic.draw(2, side=16).take(np.arange(N))
    grey = np.repeat(from_rgb(samples.images, 1), 3, axis=3)
    write_package(folder, grey, samples.labels)
    return folder, grey, Model(folder).predict(grey)


def load(folder, contract):
    """The function that the competition calls, of model.py for `contract` in `folder`."""
    path = folder / "written.py"
    path.write_bytes(write_source(contract))
    spec = importlib.util.spec_from_file_location("written", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module
    if contract.style != "function":
        model = getattr(module, contract.class_name)()
    if contract.style == "fit":
        model.fit(np.zeros((0, 16, 16, 3), np.uint8), np.zeros(0))
    return getattr(model, contract.method)


def test_the_usual_contract_gets_the_class_alone():
    assert write_source() == write_source(replace(AN2DL2024, time_limit=3.0, metric="macro-f1"))
    assert write_source().endswith(b"return min(bounds)\n")


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("style", "class_name", "method", "answer"),
    [
        ("function", "Model", "predict", "probabilities"),
        ("function", "Model", "infer", "labels"),
        ("class", "Model", "predict", "logits"),
        ("class", "Classifier", "infer", "one-hot"),
        ("fit", "Model", "predict", "labels"),
        ("fit", "Net", "predict", "probabilities"),
    ],
)
def test_every_contract_gets_the_same_labels(channels, style, class_name, method, answer, package):
    folder, images, labels = package
    contract = replace(
        AN2DL2024,
        style=style,
        class_name=class_name,
        method=method,
        returns=answer,
        image_shape=(16, 16, channels),
    )
    predict = load(folder, contract)
    output = predict(from_rgb(images, channels))
    assert returns.find_fault(output, answer, N, CLASSES) is None
    assert np.array_equal(take_labels(returns.to_answers(output, answer)), labels)
    assert len(predict(from_rgb(images[:1], channels))) == 1


def test_labels_are_written_into_a_csv_file(package):
    folder, images, labels = package
    columns = ("image", "cell's kind")
    contract = replace(
        AN2DL2024, style="function", returns="csv", csv_columns=columns, image_shape=(16, 16, 3)
    )
    with open(load(folder, contract)(images), newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert tuple(head) == columns
    assert rows == [[str(number), str(label)] for number, label in enumerate(labels)]


def test_grey_images_may_lack_the_last_axis(package):
    folder, images, labels = package
    predict = load(folder, replace(AN2DL2024, style="function", image_shape=(16, 16, 1)))
    assert np.array_equal(predict(images[..., 0]), labels)
