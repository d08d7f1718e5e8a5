"""The folder that becomes the zip, and the zip: model.py, manifest.json, weights.h5."""

import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np

from submission.model import Model
from toolkit.core import config, records
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, SubmissionError
from toolkit.core.files import atomic, digest
from toolkit.core.progress import Progress, silent
from toolkit.data import splitting
from toolkit.data.dataset import Samples
from toolkit.export import equivalence, manifest, zip_ledger
from toolkit.export.equivalence import Comparison
from toolkit.export.interface import write_source
from toolkit.export.layers import Operation
from toolkit.export.manifest import (
    FORMAT,
    Manifest,
    NetworkEntry,
    WeightsEntry,
    read_inference,
    read_manifest,
    write_manifest,
)
from toolkit.training.best_network import load_best_network
from toolkit.training.families import list_covered_families
from toolkit.training.run_folder import Run, read_provenance

EQUIVALENCE = "equivalence.json"  # how the rewrites compare with the trained network
# The same for every file, so that the same run gives the same bytes: the earliest date a zip can
# hold.
ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def is_current(run: Run, dtype: str | None = None) -> bool:
    """Whether the package of `run` is whole, has kernels of `dtype` (any, if None), and this
    version's code."""
    try:
        manifest = read_manifest(run.package)
        read_comparison(run)
        same_code = (run.package / "model.py").read_bytes() == write_source()
    except (OSError, InputError):
        return False
    if not (run.package / "weights.h5").exists():
        return False
    if manifest.format != FORMAT or not same_code:
        return False
    return dtype in (None, manifest.networks[0].weights.dtype)


def export_run(
    run: Run, images: np.ndarray, dtype: str | None = None, progress: Progress = silent
) -> None:
    """Writes the best network of `run` as its package folder: model.py, manifest.json, weights.h5,
    equivalence.json.

    It predicts as inference.json says. images: held-out ones, uint8 [n, h, w, 3], on which each
    rewrite is compared with the trained network. dtype: of the kernels, "float16" or "float32";
    None for that of the package before, else float16. Raises SubmissionError, and writes nothing,
    when more than one label in a thousand changes; one label may change in any case.
    """
    network = load_best_network(run)
    provenance = read_provenance(run)
    inference = read_inference(run)
    # Before the old manifest is removed. An inner function cannot narrow the type of `dtype`.
    kernels = dtype or _stored_dtype(run)
    stored, comparison = equivalence.rewrite_and_compare(
        network, images, lambda operations: round_kernels(operations, kernels), progress
    )
    described = Manifest(
        format=FORMAT,
        image_shape=tuple(provenance["image_shape"]),
        class_names=tuple(provenance["class_names"]),
        class_shares=inference.class_shares,
        networks=(),
    )
    families = list_covered_families(config.read(run.config))
    _write(run.package, network.name, described, stored, comparison, kernels, families, inference)


def export_model(
    model: keras.Model,
    samples: Samples,
    folder: Path,
    dtype: str = "float16",
    progress: Progress = silent,
) -> Comparison:
    """Writes `model`, of scores [n, classes], as a package into `folder`; returns how the rewrites
    compare.

    samples: images that it was not trained on, of its size and classes, on which each rewrite is
    compared with it. Raises InputError for another number of classes or a layer that cannot be
    exported, SubmissionError as `export_run`.
    """
    classes = model.outputs[0].shape[-1]
    if classes != len(samples.class_names):
        raise InputError(
            f"the model has {classes} classes, the data file {len(samples.class_names)}.",
            "Give the data of the same classes, or their number: --classes N.",
        )
    stored, comparison = equivalence.rewrite_and_compare(
        model, samples.images, lambda operations: round_kernels(operations, dtype), progress
    )
    height, width, channels = samples.images.shape[1:]
    described = Manifest(FORMAT, (height, width, channels), samples.class_names, None, ())
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, model.name, described, stored, comparison, dtype, (), manifest.Inference())
    return comparison


def measure_accuracy(folder: Path, samples: Samples) -> float:
    """The share of `samples` that the package in `folder` labels as they are."""
    predicted = Model(folder).predict(samples.images)
    return float(np.mean(predicted == samples.labels))


def _write(
    folder: Path,
    name: str,
    described: Manifest,
    operations: list[Operation],
    comparison: Comparison,
    dtype: str,
    families: tuple[str, ...],
    inference: manifest.Inference,
) -> None:
    """The files of a package with the one network `name`. described: its manifest but for that."""
    # The manifest goes first and comes last: a folder without it is not a package.
    (folder / manifest.FILE).unlink(missing_ok=True)
    with atomic(folder / "model.py") as temporary:
        temporary.write_bytes(write_source())
    with atomic(folder / "weights.h5") as temporary:
        temporary.write_bytes(to_hdf5(operations))
    records.write(comparison, folder / EQUIVALENCE)
    entry = NetworkEntry(
        backbone=name,
        gflop=round(comparison.gflop, 4),
        bfloat16=comparison.bfloat16,
        families=families,
        views=inference.views,
        temperature=inference.temperature,
        weights=WeightsEntry("weights.h5", dtype, digest(folder / "weights.h5")),
        operations=tuple(operation.entry for operation in operations),
    )
    write_manifest(replace(described, networks=(entry,)), folder)


def read_comparison(run: Run) -> Comparison:
    """How the rewrites of the package of `run` compare with the trained network. Raises InputError
    when equivalence.json is missing or damaged."""
    return records.read(Comparison, run.package / EQUIVALENCE, manifest.HINT)


def _stored_dtype(run: Run) -> str:
    """The type of the kernels in the package of `run`, also in one that is out of date; float16
    where there is none."""
    try:
        return read_manifest(run.package).networks[0].weights.dtype
    except InputError:
        return "float16"


def apply_inference(run: Run) -> None:
    """Makes the package of `run` predict as its inference.json says."""
    changed = read_manifest(run.package).with_inference(read_inference(run))
    write_manifest(changed, run.package)


def round_kernels(operations: list[Operation], dtype: str) -> list[Operation]:
    """`operations` with their weights as they are stored: kernels in `dtype`, what is small in
    float32.

    Raises SubmissionError for a kernel beyond the range of `dtype`.
    """
    return [
        replace(operation, weights=_stored_weights(operation, dtype)) for operation in operations
    ]


def _stored_weights(operation: Operation, dtype: str) -> dict[str, np.ndarray]:
    stored = {}
    for key, values in operation.weights.items():
        if key == "kernel":
            with np.errstate(over="ignore"):  # found below, and named
                values = values.astype(dtype)
        if not np.isfinite(values).all():
            raise SubmissionError(
                f"weights of {operation.name} exceed the range of {dtype}.",
                "Store float32 weights: cbtool build --weights float32; or train with a "
                "lower learning rate.",
            )
        stored[key] = values
    return stored


def to_hdf5(operations: list[Operation]) -> memoryview:
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


def export_on_validation(
    run: Run, samples: Samples, dtype: str | None = None, progress: Progress = silent
) -> None:
    """`export_run` with the validation part of `samples`, those that `run` was trained on."""
    rows = splitting.read(run.split).rows("validation", samples)
    export_run(run, samples.images[rows], dtype, progress)


def build(
    runs: list[Run],
    path: Path,
    load_samples: Callable[[Run], Samples] | None = None,
    dtype: str | None = None,
    time_limit: float | None = None,
    images: int = 0,
    progress: Progress = silent,
    contract: Contract = AN2DL2024,
) -> str:
    """Writes the networks of `runs` as the zip that is submitted, and notes it in the ledger beside
    them. Returns its SHA-256.

    load_samples: gives the samples that a run was trained on; called only for runs that have no
    package of this version; evaluated ones have. dtype: of the kernels; None for what the package
    has, or float16. time_limit: that of the contract by default. images, contract: as in
    `write_zip`. Raises InputError for a run without a package where `load_samples` is None, and
    what `export_run` and `write_zip` raise.
    """
    for run in runs:
        if is_current(run, dtype):
            # An evaluation that was interrupted may have chosen, but not updated the package.
            apply_inference(run)
            continue
        if load_samples is None:
            raise InputError(
                f"the run {run.folder} has no package of this version.",
                f"Evaluate it first: cbtool evaluate --run {run.folder}.",
            )
        export_on_validation(run, load_samples(run), dtype, progress)
    if time_limit is None:
        time_limit = contract.time_limit
    sha256 = write_zip([run.package for run in runs], path, time_limit, images, contract)
    zip_ledger.note_build(runs, path, sha256)
    return sha256


def write_zip(
    folders: list[Path],
    path: Path,
    time_limit: float = 0.0,
    images: int = 0,
    contract: Contract = AN2DL2024,
) -> str:
    """Writes the packages in `folders` as one zip: files at the root, stored, in a fixed order.
    Returns its SHA-256.

    Several are an ensemble: their probabilities are averaged. time_limit: seconds that predict
    keeps to, from the start of the process; images: how many there will be in all its calls; 0 for
    unknown. contract: of the competition, whose interface model.py gets. Raises InputError for
    packages of different images or classes, or of others than the contract's.
    """
    merged, files = _merge(folders)
    _require_fitting(merged, contract)
    merged = replace(merged, time_limit=time_limit, images=images if time_limit else 0)
    with atomic(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zip_entry(manifest.FILE), manifest.manifest_text(merged))
            archive.writestr(zip_entry("model.py"), write_source(contract))
            for name, file in files.items():
                with (
                    file.open("rb") as source,
                    archive.open(zip_entry(name), "w", force_zip64=True) as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 20)
        return digest(temporary)


def _require_fitting(merged: Manifest, contract: Contract) -> None:
    """Raises InputError where a described competition has other classes than the networks."""
    if contract != AN2DL2024 and len(merged.class_names) != contract.classes:
        raise InputError(
            f"the network has {len(merged.class_names)} classes, {contract.name} has "
            f"{contract.classes}.",
            "Build a network of that competition; or correct competition.toml.",
        )


def _merge(folders: list[Path]) -> tuple[Manifest, dict[str, Path]]:
    """One manifest for all packages, and the weights files that go into the zip, by name."""
    first = read_manifest(folders[0])
    files = {}
    networks: list[NetworkEntry] = []
    class_shares = first.class_shares
    for folder in folders:
        package = read_manifest(folder)
        for key, what in (("image_shape", "images"), ("class_names", "classes")):
            if getattr(package, key) != getattr(first, key):
                raise InputError(
                    f"{folder.parent} was trained with other {what} than {folders[0].parent}.",
                    "Average only runs with the same training file.",
                )
        if not package.class_shares:  # a correction that does not help all of them
            class_shares = None
        for network in package.networks:
            name = f"weights_{len(networks) + 1}.h5" if networks else "weights.h5"
            files[name] = folder / network.weights.file
            networks.append(replace(network, weights=replace(network.weights, file=name)))
    return replace(first, class_shares=class_shares, networks=tuple(networks)), files


def zip_entry(name: str) -> zipfile.ZipInfo:
    """The entry `name` of a zip, the same on every machine."""
    info = zipfile.ZipInfo(name, ZIP_DATE)
    info.external_attr = 0o644 << 16
    return info
