"""The folder that becomes the zip, and the zip: model.py, manifest.json, weights.h5."""

import io
import json
import shutil
import zipfile
from importlib import resources
from pathlib import Path

import h5py
import keras
import numpy as np

from toolkit import config, export, models, weights
from toolkit.errors import SubmissionError
from toolkit.files import atomic, digest, write_text
from toolkit.runs import Run, read_provenance

FORMAT = 1
FILES = ("manifest.json", "model.py", "weights.h5")
# The same for every file, so that the same run gives the same bytes: the earliest date a zip can hold.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
DISAGREEMENT = 0.001  # share of labels that may change between the trained network and the package
TIE = 0.01  # of probability; float16 weights move it by some 1e-3


def export_run(run: Run) -> Path:
    """Writes the best network of `run` as its package folder, unless that exists. Returns the folder.

    The manifest comes last: a folder without it is not a package and is written again.
    """
    if (run.package / "manifest.json").exists():
        return run.package
    network = trained(run)
    provenance = read_provenance(run)
    operations = export.operations(network)
    with atomic(run.package / "model.py") as temporary:
        temporary.write_bytes((resources.files("submission") / "model.py").read_bytes())
    with atomic(run.package / "weights.h5") as temporary:
        temporary.write_bytes(hdf5(operations))
    manifest = {
        "format": FORMAT,
        "backbone": network.name,
        "image_shape": provenance["image_shape"],
        "class_names": provenance["class_names"],
        "weights": {"file": "weights.h5", "dtype": "float16", "sha256": digest(run.package / "weights.h5")},
        "operations": [operation.entry for operation in operations],
    }
    write_text(run.package / "manifest.json", json.dumps(manifest, indent=1) + "\n")
    return run.package


def trained(run: Run) -> keras.Model:
    """The Keras network of `run` with its best weights: pixels to scores before the softmax."""
    settings = config.read(run.config)
    provenance = read_provenance(run)
    # The checkpoint holds every weight: nothing pretrained is needed to fill them first.
    blank = config.without_weights(settings.model)
    network = models.build(blank, tuple(provenance["image_shape"]), len(provenance["class_names"])).model
    weights.restore(network, run.checkpoint)
    return network


def hdf5(operations: list[export.Operation]) -> bytes:
    """An HDF5 file with one float16 dataset a weight, contiguous, in a group an operation.

    Equal weights give equal bytes. Made in memory: HDF5's library crashes the process when the disk is full.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="earliest") as file:
        for operation in operations:
            for key, values in operation.weights.items():
                with np.errstate(over="ignore"):
                    halves = values.astype(np.float16)
                if not np.isfinite(halves).all():
                    raise SubmissionError(
                        f"weights of {operation.name} do not fit in float16.", "Train with a lower learning rate."
                    )
                file.create_dataset(f"{operation.name}/{key}", data=halves)
    return memory.getvalue()


def verify(run: Run, probabilities: np.ndarray, reference: np.ndarray) -> None:
    """Compares what the package of `run` gives with what its trained network does, both probabilities [n, classes].

    A label counts as changed when the trained network preferred its own by more than TIE: between two classes that
    it holds equally likely, float16 weights may tip the balance either way. Withdraws the package and raises
    SubmissionError when more than one label has changed, and more than one in a thousand.
    """
    labels, best = probabilities.argmax(axis=1), reference.argmax(axis=1)
    rows = np.arange(len(reference))
    changed = int(np.count_nonzero(reference[rows, best] - reference[rows, labels] > TIE))
    if changed > max(1, DISAGREEMENT * len(labels)):
        (run.package / "manifest.json").unlink()
        raise SubmissionError(
            f"the package labels {changed} of {len(labels)} images differently from the trained network.",
            "Train it again: its weights lose too much in float16.",
        )


def write_zip(folder: Path, path: Path) -> str:
    """Writes the package in `folder` as a zip: files at the root, stored, in a fixed order. Returns its SHA-256."""
    with atomic(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name in FILES:
                info = zipfile.ZipInfo(name, ZIP_DATE)
                info.external_attr = 0o644 << 16
                with (folder / name).open("rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
        return digest(temporary)
