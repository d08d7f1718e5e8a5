"""A zip that runs a model with Keras: model.py, which builds it anew, and its weights.

For networks with layers that `submission/model.py` has no operations for. Slower than those, and it
needs Keras where it is evaluated.
"""

import io
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

import h5py
import keras
import numpy as np

from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, SubmissionError
from toolkit.core.files import atomic, digest
from toolkit.data.dataset import Samples
from toolkit.export import custom_objects, equivalence
from toolkit.export.custom_objects import CustomObjects
from toolkit.export.equivalence import RewriteComparison
from toolkit.export.interface import write_adapter
from toolkit.export.keras_code import Code, write_code
from toolkit.export.manifest import FILE, FORMAT, Manifest, manifest_text
from toolkit.export.package import zip_entry

WEIGHTS = "network.weights.h5"
NETWORK = """

# The network, one statement a layer.

from keras import layers, ops  # noqa: E402, F401
{custom}

{functions}

class Model(KerasModel):
    \"\"\"The competition's interface: `Model()`, then `predict(X)`.\"\"\"

    def __init__(self) -> None:
        super().__init__(build_network)
"""
CUSTOM = """
import importlib.util  # noqa: E402
import sys  # noqa: E402

# The layers in the file beside this one, whatever the import path.
_specification = importlib.util.spec_from_file_location(
    "custom_objects", Path(__file__).with_name("custom_objects.py")
)
custom_objects = importlib.util.module_from_spec(_specification)
sys.modules["custom_objects"] = custom_objects
_specification.loader.exec_module(custom_objects)
"""


def write_zip(
    model: keras.Model,
    samples: Samples,
    path: Path,
    contract: Contract = AN2DL2024,
    custom: CustomObjects | None = None,
) -> tuple[str, RewriteComparison, float]:
    """Writes `model`, of scores [n, classes], as a zip for `contract`. Returns its SHA-256, how its
    scores compare with the model's on `samples`, and the share of these that it labels as they are.
    custom: the layers of its own that it has.

    Raises InputError for other classes than those of `samples`, or a layer that is not one of
    keras.layers; SubmissionError when labels change, and writes nothing then.
    """
    classes = model.outputs[0].shape[-1]
    if classes != len(samples.class_names):
        raise InputError(
            f"the model has {classes} classes, the data file {len(samples.class_names)}.",
            "Give the data of the same classes, or their number: --classes N.",
        )
    if contract != AN2DL2024 and classes != contract.classes:
        raise InputError(
            f"the network has {classes} classes, {contract.name} has {contract.classes}.",
            "Build a network of that competition; or correct competition.toml.",
        )
    code = write_code(model, custom.layers if custom else None)
    files = {"model.py": _write_source(code).encode(), WEIGHTS: _write_weights(model, code)}
    if custom:
        files[custom_objects.FILE] = custom.source
    comparison, accuracy = _compare(files, model, samples)
    files["model.py"] += write_adapter(contract).encode()
    # For cbtool, which then shows and times images of the size that the model takes.
    described = Manifest(FORMAT, samples.images.shape[1:], samples.class_names, None, ())
    files[FILE] = manifest_text(described).encode()
    with atomic(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in files.items():
                archive.writestr(zip_entry(name), content)
        return digest(temporary), comparison, accuracy


def _write_source(code: Code) -> str:
    head = (resources.files("toolkit.export") / "keras_model.py").read_text(encoding="utf-8")
    custom = CUSTOM if code.custom else ""
    return head + NETWORK.format(functions="\n\n".join(code.functions), custom=custom)


def _write_weights(model: keras.Model, code: Code) -> bytes:
    """One dataset a weight, by its layer's name and its place there; constants by theirs."""
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="earliest") as file:
        _add_weights(model, file.create_group("layers"))
        constants = file.create_group("constants")
        for name, values in code.constants.items():
            constants.create_dataset(name, data=values)
    return memory.getvalue()


def _add_weights(model: keras.Model, group: h5py.Group) -> None:
    for layer in model.layers:
        place = group.create_group(layer.name)
        if isinstance(layer, keras.Model):
            _add_weights(layer, place)
            continue
        for number, values in enumerate(layer.get_weights()):
            place.create_dataset(str(number), data=values)


def _compare(
    files: dict[str, bytes], model: keras.Model, samples: Samples
) -> tuple[RewriteComparison, float]:
    """How the written code's scores compare with the model's, and its accuracy on `samples`."""
    pixels = samples.images.astype(np.float32)
    reference = np.asarray(model.predict(pixels, batch_size=equivalence.SLICE, verbose=0))
    with tempfile.TemporaryDirectory(prefix="cbtool-") as place:
        for name, content in files.items():
            (Path(place) / name).write_bytes(content)
        module = custom_objects.run_module(Path(place) / "model.py", "cbtool_keras_model")
        found = module.Model().scores(samples.images)
    comparison = equivalence.compare_scores("rebuilt with Keras", found, reference)
    changed = equivalence.count_changed_labels(found, reference)
    if equivalence.exceeds_limit(changed, len(pixels)):
        raise SubmissionError(
            f"the rebuilt network labels {changed} of {len(pixels)} images differently from the "
            "model.",
            "Save the model again, with layers of keras.layers alone.",
        )
    return comparison, float(np.mean(found.argmax(axis=1) == samples.labels))
