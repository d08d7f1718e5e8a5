"""The forms in which one network can predict: the competition's template, stock networks, ours, and
other runtimes, each as the files of a submission zip."""

import importlib.util
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import keras
import numpy as np

from submission.model import SLICE
from toolkit.export import equivalence, graph, package
from toolkit.export.interface import write_source

VIEWS = ("identity", "mirror", "flip", "half-turn")
LARGEST_ONNX = 10**9  # bytes; with 1.4 GB tf2onnx ended the whole process on a machine of 24 GB

# The competition's template, but for the scores it returns, which are compared.
TEMPLATE_SOURCE = """
import keras

class Model:
    def __init__(self):
        self.network = keras.models.load_model("weights.keras")

    def predict(self, X):
        return self.network.predict(X, verbose=0)
"""
# In slices like ours, so that only the runtimes differ.
SLICED_SOURCE = Template("""
import numpy as np
$imports

class Model:
    def __init__(self):
        $load

    def predict(self, X):
        starts = range(0, len(X), $slice)
        parts = [X[start : start + $slice].astype(np.float32) for start in starts]
        return np.concatenate([np.asarray($run) for part in parts])
""")
OUR_SOURCE = Template("""
import numpy as np
from cbtool_model import Model as Submission

class Model(Submission):
    def __init__(self):
        super().__init__(precision="$precision")

    def predict(self, X):
        return np.log(np.maximum(self.probabilities(X), 1e-37))
""")


@dataclass(frozen=True)
class Form:
    """One form of the network: a zip's `texts` by name, and the `files` beside them."""

    name: str
    texts: dict[str, str | bytes]
    files: tuple[Path, ...]

    def write_zip(self, path: Path) -> None:
        """Writes the zip to `path`."""
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in self.texts.items():
                archive.writestr(name, text)
            for file in self.files:
                archive.write(file, file.name)


def make_forms(
    folder: Path,
    stock: keras.Model,
    network: keras.Model,
    operations: list[graph.Operation],
    gflop: float,
) -> list[Form]:
    """Every form that works here, the template first; their weights are written into `folder`.

    stock: the form that the template loads. operations: our form of `network`. ONNX Runtime (with
    tf2onnx) and OpenVINO take part where they are installed.
    """
    stock.save(folder / "weights.keras")
    forms = [
        Form("template", {"model.py": TEMPLATE_SOURCE}, (folder / "weights.keras",)),
        _function_form(folder),
        *_our_forms(folder, network, operations, gflop),
    ]
    onnx_fits = (folder / "weights.h5").stat().st_size < LARGEST_ONNX
    if _is_installed("onnxruntime", "tf2onnx") and onnx_fits:
        forms.append(_onnx_form(folder, network, operations))
    if _is_installed("openvino"):
        forms += _openvino_forms(folder, network)
    return forms


def _function_form(folder: Path) -> Form:
    """The stock network as a tf.function."""
    source = _write_sliced_source(
        imports="import keras, tensorflow as tf",
        load=(
            "network = keras.models.load_model('weights.keras'); "
            "self.run = tf.function(lambda x: network(x, training=False))"
        ),
        run="self.run(tf.constant(part))",
    )
    return Form("stock, tf.function", {"model.py": source}, (folder / "weights.keras",))


def _our_forms(
    folder: Path, network: keras.Model, operations: list[graph.Operation], gflop: float
) -> list[Form]:
    """Our form in two precisions, and in several views."""
    weights = folder / "weights.h5"
    weights.write_bytes(package.to_hdf5(package.round_kernels(operations, "float32")))
    described: dict[str, Any] = {
        "gflop": gflop,
        "bfloat16": True,
        "weights": {"file": weights.name, "dtype": "float32"},
        "operations": [operation.entry for operation in operations],
    }
    forms = []
    for name, precision, views in (
        ("ours, float32", "float32", VIEWS[:1]),
        ("ours, bfloat16", "bfloat16", VIEWS[:1]),
        (f"ours, {len(VIEWS)} views", "auto", VIEWS),
    ):
        manifest = {
            "image_shape": network.input_shape[1:],
            "class_names": [str(number) for number in range(network.output_shape[-1])],
            "networks": [described | {"views": views}],
        }
        texts: dict[str, str | bytes] = {
            "model.py": OUR_SOURCE.substitute(precision=precision),
            "cbtool_model.py": write_source(),
            "manifest.json": json.dumps(manifest),
        }
        forms.append(Form(name, texts, (weights,)))
    return forms


def _onnx_form(folder: Path, network: keras.Model, operations: list[graph.Operation]) -> Form:
    """Our graph in ONNX Runtime: that of Keras holds an operation, Erfc, which ONNX lacks."""
    import tf2onnx

    ours = equivalence.network(operations, network.input_shape[1:])
    # numpy's arrays become constants of the graph.
    ours.weights = {operation.name: operation.weights for operation in operations}
    tf2onnx.convert.from_function(
        ours.graph,
        ours.graph.input_signature,
        opset=17,
        output_path=str(folder / "weights.onnx"),
    )
    source = _write_sliced_source(
        imports="import onnxruntime",
        load=(
            "self.session = onnxruntime.InferenceSession("
            "'weights.onnx', providers=['CPUExecutionProvider'])"
        ),
        run="self.session.run(None, {self.session.get_inputs()[0].name: part})[0]",
    )
    return Form("ONNX Runtime, float32", {"model.py": source}, (folder / "weights.onnx",))


def _openvino_forms(folder: Path, network: keras.Model) -> list[Form]:
    """Keras' graph in OpenVINO, in two precisions."""
    network(np.zeros((1, *network.input_shape[1:]), np.float32))  # Keras exports what was called
    network.export(str(folder / "weights.xml"), format="openvino", verbose=False)
    forms = []
    for precision, label in (("f32", "float32"), ("bf16", "bfloat16")):
        source = _write_sliced_source(
            imports="import openvino",
            load=(
                "self.run = openvino.Core().compile_model("
                f"'weights.xml', 'CPU', {{'INFERENCE_PRECISION_HINT': '{precision}'}})"
            ),
            run="self.run(part)[0]",
        )
        files = (folder / "weights.xml", folder / "weights.bin")
        forms.append(Form(f"OpenVINO, {label}", {"model.py": source}, files))
    return forms


def _write_sliced_source(imports: str, load: str, run: str) -> str:
    """model.py of a runtime: its imports, the statement that loads it, the expression that runs it
    on the slice `part`."""
    return SLICED_SOURCE.substitute(imports=imports, load=load, run=run, slice=SLICE)


def _is_installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) for name in names)
