"""Measurements of prediction: one network in several forms, each as a zip in a clean process."""

import importlib.util
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from submission.model import SLICE
from toolkit.core.config import ModelConfig
from toolkit.core.errors import CbtoolError
from toolkit.core.progress import Progress, silent
from toolkit.export import equivalence, graph, optimize, package
from toolkit.models import backbones
from toolkit.models.backbones import BACKBONES
from toolkit.models.network import build as build_network
from toolkit.runtime import sandbox, timing

CLASSES = 8
SIDE = 96
VIEWS = ("identity", "mirror", "flip", "half-turn")
TIME_LIMIT = 3600.0  # seconds for one form
LARGEST_ONNX = 10**9  # bytes; with 1.4 GB tf2onnx ended the whole process on a machine of 24 GB

# The competition's template, but for the scores it returns, which are compared.
TEMPLATE = """
import keras

class Model:
    def __init__(self):
        self.network = keras.models.load_model("weights.keras")

    def predict(self, X):
        return self.network.predict(X, verbose=0)
"""
SLICED = """
import numpy as np
{imports}

class Model:
    def __init__(self):
        {load}

    def predict(self, X):
        starts = range(0, len(X), {slice})
        parts = [X[start : start + {slice}].astype(np.float32) for start in starts]
        return np.concatenate([np.asarray({run}) for part in parts])
"""
FUNCTION = {
    "imports": "import keras, tensorflow as tf",
    "load": (
        "network = keras.models.load_model('weights.keras'); self.run = tf.function(lambda x: "
        "network(x, training=False))"
    ),
    "run": "self.run(tf.constant(part))",
}
ONNX = {
    "imports": "import onnxruntime",
    "load": (
        "self.session = onnxruntime.InferenceSession('weights.onnx', "
        "providers=['CPUExecutionProvider'])"
    ),
    "run": "self.session.run(None, {self.session.get_inputs()[0].name: part})[0]",
}
OPENVINO = {
    "imports": "import openvino",
    "load": (
        "self.run = openvino.Core().compile_model('weights.xml', 'CPU', "
        "{'INFERENCE_PRECISION_HINT': 'PRECISION'})"
    ),
    "run": "self.run(part)[0]",
}
OURS = """
import numpy as np
from cbtool_model import Model as Submission

class Model(Submission):
    def __init__(self):
        super().__init__(precision="PRECISION")

    def predict(self, X):
        return np.log(np.maximum(self.probabilities(X), 1e-37))
"""


@dataclass(frozen=True)
class Row:
    """One form of the network. ratio: to the template's speed. max_relative_difference,
    label_agreement: with the template's scores and labels. load_seconds: Model(), imports not
    counted. ceiling_share: of float32 matrix products.
    """

    name: str
    images_per_second: float
    ratio: float
    max_relative_difference: float
    label_agreement: float
    load_seconds: float
    first_slice_seconds: float
    single_image_seconds: float
    peak_mb: float
    ceiling_share: float


@dataclass(frozen=True)
class Measured:
    """gflop_per_image: counted. ceiling_gflops: what this machine's float32 matrix product reaches
    in a second. left_out: forms that failed, and why.
    """

    images: int
    gflop_per_image: float
    ceiling_gflops: float
    rows: list[Row]
    left_out: dict[str, str]


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
    entry = BACKBONES[backbone]
    trunk = entry.stock(shape) if entry.stock else None
    if trunk:
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


def measure(
    stock: keras.Model, network: keras.Model, images: np.ndarray, progress: Progress = silent
) -> Measured:
    """Times `network` in each form on `images`, uint8 [n, h, w, 3], after one slice and one image
    to warm up.

    stock: the form the template loads. ONNX Runtime and OpenVINO run where they are installed.
    """
    operations = optimize.rewrite_all(graph.operations(network))
    gflop = sum(operation.flop for operation in operations) / 1e9
    ceiling = timing.measure_ceiling()
    inputs = {"first": images[:SLICE], "one": images[:1], "warm": images[:1], "measured": images}
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    reference = None
    with tempfile.TemporaryDirectory(prefix="cbtool-bench-") as name:
        root = Path(name)
        forms = _forms(root, stock, network, operations, gflop)
        for number, (form, make) in enumerate(forms.items()):
            progress(number, len(forms), form)
            try:
                make(root / "form.zip")
                outcome = sandbox.run(root / "form.zip", inputs, time_limit=TIME_LIMIT)
                scores = outcome.result("measured")
            except CbtoolError as error:
                left_out[form] = error.sentence
                continue
            scores = scores - scores.mean(axis=1, keepdims=True)
            reference = scores if reference is None else reference
            speed = len(images) / outcome.calls["measured"].seconds
            rows.append(
                Row(
                    form,
                    round(speed, 2),
                    round(speed / (rows[0].images_per_second if rows else speed), 2),
                    float(f"{np.abs(scores - reference).max() / np.abs(reference).max():.2g}"),
                    round(float(np.mean(scores.argmax(axis=1) == reference.argmax(axis=1))), 5),
                    round(outcome.load_seconds, 2),
                    round(outcome.calls["first"].seconds, 2),
                    round(outcome.calls["warm"].seconds, 3),
                    round(outcome.peak_bytes / 1e6),
                    round(speed * gflop / ceiling, 3),
                )
            )
    return Measured(len(images), round(gflop, 3), round(ceiling, 1), rows, left_out)


def _forms(
    root: Path,
    stock: keras.Model,
    network: keras.Model,
    operations: list[graph.Operation],
    gflop: float,
) -> dict[str, Callable[[Path], None]]:
    """What writes the zip of each form; the weights are written here, once."""
    stock.save(root / "weights.keras")
    network(
        np.zeros((1, *network.input_shape[1:]), np.float32)
    )  # Keras exports only what was called
    (root / "weights.h5").write_bytes(package.to_hdf5(package.round_kernels(operations, "float32")))
    entries = [operation.entry for operation in operations]
    shape = list(network.input_shape[1:])

    def ours(precision: str, views: tuple[str, ...] = ("identity",)) -> Callable[[Path], None]:
        described = {"file": "weights.h5", "dtype": "float32"}
        manifest = {
            "image_shape": shape,
            "class_names": [str(number) for number in range(network.output_shape[-1])],
            "networks": [
                {
                    "gflop": gflop,
                    "bfloat16": True,
                    "views": views,
                    "weights": described,
                    "operations": entries,
                }
            ],
        }
        source = OURS.replace("PRECISION", precision)
        texts = {
            "model.py": source,
            "cbtool_model.py": package.model_source(),
            "manifest.json": json.dumps(manifest),
        }
        return lambda path: _write(path, texts, [root / "weights.h5"])

    keras_file = [root / "weights.keras"]
    forms = {
        "template": lambda path: _write(path, {"model.py": TEMPLATE}, keras_file),
        "stock, tf.function": lambda path: _write(
            path, {"model.py": _sliced(FUNCTION)}, keras_file
        ),
        "ours, float32": ours("float32"),
        "ours, bfloat16": ours("bfloat16"),
        f"ours, {len(VIEWS)} views": ours("auto", VIEWS),
    }
    if _installed("onnxruntime", "tf2onnx") and (root / "weights.h5").stat().st_size < LARGEST_ONNX:
        _export_onnx(operations, tuple(shape), root / "weights.onnx")
        forms["ONNX Runtime, float32"] = lambda path: _write(
            path, {"model.py": _sliced(ONNX)}, [root / "weights.onnx"]
        )
    if _installed("openvino"):
        network.export(str(root / "weights.xml"), format="openvino", verbose=False)
        files_of_openvino = [root / "weights.xml", root / "weights.bin"]
        for precision, label in (("f32", "float32"), ("bf16", "bfloat16")):
            source = _sliced(OPENVINO).replace("PRECISION'", f"{precision}'")
            forms[f"OpenVINO, {label}"] = lambda path, source=source: _write(
                path, {"model.py": source}, files_of_openvino
            )
    return forms


def _export_onnx(operations: list[graph.Operation], shape: tuple[int, ...], path: Path) -> None:
    """Writes our graph as ONNX: that of Keras holds an operation, Erfc, which ONNX lacks."""
    import tf2onnx

    ours = equivalence.network(operations, shape)
    ours.weights = {
        operation.name: operation.weights for operation in operations
    }  # numpy's become constants of the graph
    tf2onnx.convert.from_function(
        ours.graph, ours.graph.input_signature, opset=17, output_path=str(path)
    )


def _sliced(parts: dict[str, str]) -> str:
    return SLICED.format(slice=SLICE, **parts)


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)


def _write(path: Path, texts: dict[str, str | bytes], files: list[Path]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
        for file in files:
            archive.write(file, file.name)
