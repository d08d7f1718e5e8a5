"""The folder that becomes the zip, and the zip: model.py, manifest.json, weights.h5."""

import io
import json
import shutil
import zipfile
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path

import h5py
import keras
import numpy as np

from toolkit.augment.families import known
from toolkit.core import config
from toolkit.core.errors import InputError, SubmissionError
from toolkit.core.files import atomic, digest, open_zip, write_text
from toolkit.core.progress import Progress, silent
from toolkit.evaluation.calibration import Steps
from toolkit.export import equivalence
from toolkit.export.graph import Operation
from toolkit.models import pretrained
from toolkit.models.network import build as build_network
from toolkit.training.run_folder import Run, read_provenance

FORMAT = 2
# The same for every file, so that the same run gives the same bytes: the earliest date a zip can
# hold.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def is_current(run: Run, dtype: str | None = None) -> bool:
    """Whether the package of `run` is whole, has kernels of `dtype` (any, if None), and this
    version's code."""
    try:
        manifest = read_manifest(run.package)
        same_code = (run.package / "model.py").read_bytes() == model_source()
    except (OSError, ValueError):
        return False
    whole = all((run.package / name).exists() for name in ("weights.h5", "verification.json"))
    if manifest.get("format") != FORMAT or not (same_code and whole):
        return False
    return dtype in (None, manifest["networks"][0]["weights"]["dtype"])


def export_run(
    run: Run, images: np.ndarray, dtype: str = "float16", progress: Progress = silent
) -> None:
    """Writes the best network of `run` as its package folder: model.py, manifest.json, weights.h5,
    verification.json.

    images: held-out ones, uint8 [n, h, w, 3], on which each rewrite is compared with the trained
    network. dtype: of the kernels, "float16" or "float32". Raises SubmissionError, and writes
    nothing, when the labels change. The manifest comes last: a folder without it is not a package.
    """
    network = trained(run)
    provenance = read_provenance(run)
    stored, verification = equivalence.rewritten(
        network, images, lambda operations: rounded(operations, dtype), progress
    )
    shares, chosen = _chosen(run.package)  # before the old manifest goes
    (run.package / "manifest.json").unlink(missing_ok=True)
    with atomic(run.package / "model.py") as temporary:
        temporary.write_bytes(model_source())
    with atomic(run.package / "weights.h5") as temporary:
        temporary.write_bytes(hdf5(stored))
    write_text(run.package / "verification.json", json.dumps(verification.values, indent=1) + "\n")
    manifest = {
        "format": FORMAT,
        "image_shape": provenance["image_shape"],
        "class_names": provenance["class_names"],
        "class_shares": shares,
        "networks": [
            {
                "backbone": network.name,
                "gflop": round(verification.gflop, 4),
                "bfloat16": verification.bfloat16,
                "families": known(config.read(run.config)),
                **chosen,
                "weights": {
                    "file": "weights.h5",
                    "dtype": dtype,
                    "sha256": digest(run.package / "weights.h5"),
                },
                "operations": [operation.entry for operation in stored],
            }
        ],
    }
    write_text(run.package / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def trained(run: Run) -> keras.Model:
    """The Keras network of `run` with its best weights: pixels to scores before the softmax."""
    settings = config.read(run.config)
    provenance = read_provenance(run)
    # The checkpoint holds every weight: nothing pretrained is needed to fill them first.
    blank = config.without_weights(settings.model)
    network = build_network(
        blank, tuple(provenance["image_shape"]), len(provenance["class_names"])
    ).model
    pretrained.restore(network, run.checkpoint)
    return network


def rounded(operations: list[Operation], dtype: str) -> list[Operation]:
    """`operations` with their weights as they are stored: kernels in `dtype`, what is small in
    float32.

    Raises SubmissionError for a kernel beyond the range of `dtype`.
    """
    return [replace(operation, weights=_stored(operation, dtype)) for operation in operations]


def _stored(operation: Operation, dtype: str) -> dict[str, np.ndarray]:
    stored = {}
    for key, values in operation.weights.items():
        with np.errstate(over="ignore"):
            stored[key] = values.astype(dtype) if key == "kernel" else values
        if not np.isfinite(stored[key]).all():
            raise SubmissionError(
                f"weights of {operation.name} do not fit in {dtype}.",
                "Store them whole, with --weights float32, or train with a lower learning rate.",
            )
    return stored


def hdf5(operations: list[Operation]) -> memoryview:
    """An HDF5 file with one contiguous dataset a weight, in a group an operation.

    Equal weights give equal bytes. Made in memory: HDF5's library crashes the process when the disk
    is full.
    """
    memory = io.BytesIO()
    with h5py.File(memory, "w", libver="earliest") as file:
        for operation in operations:
            for key, values in operation.weights.items():
                file.create_dataset(f"{operation.name}/{key}", data=values)
    return memory.getbuffer()


def choose(run: Run, views: list[str], steps: Steps) -> None:
    """Makes `views`, best first, those that the package of `run` looks at each image in, and
    `steps` those it takes afterwards."""
    manifest = read_manifest(run.package)
    manifest["class_shares"] = steps.shares
    manifest["networks"][0] |= {"views": views, "temperature": steps.temperature}
    write_text(run.package / "manifest.json", json.dumps(manifest, indent=1) + "\n")


def without_steps(manifest: dict) -> None:
    """Takes the steps after training out of `manifest`."""
    manifest["class_shares"] = None
    for network in manifest["networks"]:
        network["temperature"] = None


def read_manifest(folder: Path) -> dict:
    """The manifest of the package in `folder`. Raises OSError or ValueError when there is none."""
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def families(path: Path) -> tuple[str, ...]:
    """The families of corruptions that the networks in the zip at `path` were trained on; none
    where it does not tell."""
    with open_zip(path) as archive, suppress(KeyError, ValueError):
        networks = json.loads(archive.read("manifest.json"))["networks"]
        return tuple(
            dict.fromkeys(family for network in networks for family in network["families"])
        )
    return ()


def write_zip(folders: list[Path], path: Path, time_limit: float = 0.0, images: int = 0) -> str:
    """Writes the packages in `folders` as one zip: files at the root, stored, in a fixed order.
    Returns its SHA-256.

    Several are an ensemble: their probabilities are averaged. time_limit: seconds that predict
    keeps to, from the start of the process; images: how many there will be in all its calls; 0 for
    unknown. Raises InputError for packages of different images or classes.
    """
    manifest, files = _together(folders)
    if time_limit:
        manifest |= {"time_limit": time_limit, "images": images}
    with atomic(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_entry("manifest.json"), json.dumps(manifest, indent=1) + "\n")
            for name, file in files.items():
                with (
                    file.open("rb") as source,
                    archive.open(_entry(name), "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 20)
        return digest(temporary)


def _together(folders: list[Path]) -> tuple[dict, dict[str, Path]]:
    """One manifest for all packages, and the files that go into the zip, by name."""
    manifest = read_manifest(folders[0]) | {"networks": []}
    files = {"model.py": folders[0] / "model.py"}
    for number, folder in enumerate(folders, 1):
        other = read_manifest(folder)
        for key, what in (("image_shape", "images"), ("class_names", "classes")):
            if other[key] != manifest[key]:
                raise InputError(
                    f"{folder.parent} was trained on other {what} than {folders[0].parent}.",
                    "Average runs of one training file.",
                )
        if not other.get("class_shares"):  # a step that does not pay for all of them
            manifest["class_shares"] = None
        name = "weights.h5" if number == 1 else f"weights_{number}.h5"
        other["networks"][0]["weights"]["file"] = name
        manifest["networks"] += other["networks"]
        files[name] = folder / "weights.h5"
    return manifest, files


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.external_attr = 0o644 << 16
    return info


def _chosen(folder: Path) -> tuple[list[float] | None, dict]:
    """What `choose` wrote into the package in `folder`, if anything: class shares; views and
    temperature."""
    try:
        manifest = read_manifest(folder)
        network = manifest["networks"][0]
        return manifest["class_shares"], {
            "views": network["views"],
            "temperature": network["temperature"],
        }
    except (OSError, ValueError, KeyError):
        return None, {"views": ["identity"], "temperature": None}


def model_source() -> bytes:
    """The one file of code in every zip."""
    return (resources.files("submission") / "model.py").read_bytes()
