"""Every reader of files that somebody else may have written, each with a small valid file to start
from; and random changes of such files."""

import io
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import keras
import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from tests.support.submissions import GOOD
from toolkit.codabench import bundle, bundle_checks, commands
from toolkit.core import competition_file, config
from toolkit.core.contract import AN2DL2024
from toolkit.data import (
    array_conversion,
    dataset,
    folder_conversion,
    parquet_conversion,
    relabelling,
    splitting,
)
from toolkit.export import manifest, saved_model, zip_ledger
from toolkit.models import pretrained
from toolkit.runtime import checks
from toolkit.runtime.checks import contents, saved_models
from toolkit.training import checkpointing, headline, run_folder, run_table, tune_space

IMAGE_SHAPE = (16, 16, 3)
PRESET = Path(config.__file__).parents[1] / "presets" / "tiny.toml"
SPACE = PRESET.parent / "spaces" / "tiny.toml"
YAML = """version: 2
title: Small
image: logo.png
terms: terms.md
docker_image: small:1
pages: [{title: P, file: terms.md}]
tasks: [{index: 0, name: task, scoring_program: scoring.zip}]
phases: [{index: 0, name: Main, start: 2024-01-01, tasks: [0]}]
leaderboards: [{title: R, key: main, columns: [{title: S, key: score, index: 0}]}]
anchors: [&a {x: 1}, *a]
"""
MANIFEST = """{"format": 2, "image_shape": [96, 96, 3], "class_names": ["a", "b"],
"class_shares": [0.5, 0.5], "networks": [{"backbone": "lite", "gflop": 0.8, "bfloat16": true,
"families": [], "views": ["identity"], "temperature": 1.5, "weights": {"file": "weights.h5",
"dtype": "float16", "sha256": "0"}, "operations": [{"name": "x", "op": "conv", "inputs": ["y"]}]}],
"time_limit": 60.0, "images": 0}"""
STATE = '{"phase": 1, "epochs": 2, "best": 0.5, "rows": [{"loss": 1.5}], "best_row": {"loss": 1}}'
SPLIT = '{"train": [0, 1], "validation": [2], "test": [3], "seed": 0, "fingerprint": "f"}'
METRICS = """{"test": {"clean": 0.5}, "views": ["identity"], "class_shares": null,
"temperature": null, "steps": {"temperature": 1.5, "class_shares": [0.5, 0.5]},
"tta": {"chosen": {"views": ["identity"]}}}"""
LEDGER = """[{"file": "a.zip", "sha256": "00", "built": "2024-01-01", "runs": ["first"],
"online": [{"phase": "Main", "score": 0.5, "server": "s", "competition": 1}]}]"""


@dataclass(frozen=True)
class Reader:
    """name: of its kind of file. make: the bytes of a valid one. read: reads the file at a path,
    and raises nothing else than the project's own errors for whatever it holds. starts_process:
    whether each read starts a process, which takes much longer than reading."""

    name: str
    make: Callable[[], bytes]
    read: Callable[[Path], object]
    starts_process: bool = False


def make_npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def make_zip(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def make_hdf5() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as weights:
        weights["layers/dense/vars/0"] = np.arange(6.0).reshape(2, 3)
        weights.attrs["keras_version"] = "3.4.1"
        weights.attrs["model_config"] = '{"class_name": "Sequential"}'
    return file.getvalue()


def make_hdf5_arrays() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as arrays:
        arrays["images"] = np.zeros((2, 8, 8, 3), np.uint8)
        arrays["labels"] = ["a", "b"]
    return file.getvalue()


def make_parquet() -> bytes:
    file = io.BytesIO()
    rows = [{"image": make_picture(), "label": label} for label in ("a", "b")]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()


def make_keras() -> bytes:
    layer = '{"class_name": "Lambda", "config": {}}'
    config = f'{{"class_name": "Functional", "config": {{"layers": [{layer}]}}}}'
    files = {"metadata.json": b'{"keras_version": "3.4.1"}', "config.json": config.encode()}
    return make_zip(files | {"model.weights.h5": make_hdf5()})


@cache
def make_saved_model(ending: str = ".keras") -> bytes:
    """A network of one convolution, as Keras saves it in a file of that ending."""
    model = keras.Sequential(
        [
            keras.Input(IMAGE_SHAPE),
            keras.layers.Conv2D(2, 3, name="conv"),
            keras.layers.GlobalAveragePooling2D(name="pool"),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{ending}"
        model.save(path)
        return path.read_bytes()


def read_space(path: Path) -> None:
    """The file of a space, for the preset that the valid one is made for."""
    tune_space.require_valid(tune_space.read(path), lambda more: config.preset("tiny", more))


def read_saved_hdf5(path: Path) -> None:
    saved_model.read_model(path.replace(path.with_name("model.h5")), IMAGE_SHAPE)


def read_saved_description(path: Path) -> None:
    """A .keras file, whose config.json is the one to read."""
    with zipfile.ZipFile(io.BytesIO(make_saved_model())) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    saved = path.with_name("model.keras")
    saved.write_bytes(make_zip(files | {"config.json": path.read_bytes()}))
    saved_model.read_model(saved, IMAGE_SHAPE)


def make_description() -> bytes:
    with zipfile.ZipFile(io.BytesIO(make_saved_model())) as archive:
        return archive.read("config.json")


def make_picture() -> bytes:
    file = io.BytesIO()
    pixels = np.arange(np.prod(IMAGE_SHAPE), dtype=np.uint32).astype(np.uint8)
    Image.fromarray(pixels.reshape(IMAGE_SHAPE)).save(file, "PNG")
    return file.getvalue()


def make_torch() -> bytes:
    """A state dict in the format before PyTorch 1.6, written opcode by opcode: there is no torch
    here whose names pickle could look up."""
    file = io.BytesIO()
    for value in (pretrained.LEGACY_MAGIC, pretrained.LEGACY_PROTOCOL, {}):
        pickle.dump(value, file, protocol=2)
    file.write(
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(U\x06weightctorch._utils\n"
        b"_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x06NtQK\x00K\x02K\x03"
        b"\x86K\x03K\x01\x86\x89h\x00)RtRu."
    )
    pickle.dump(["0"], file, protocol=2)
    file.write(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes())
    return file.getvalue()


def read_submission(path: Path) -> None:
    """Every check of a zip that is not run."""
    subject = checks.read_subject(path)
    for check in checks.CHECKS:
        if check.__module__ in (contents.__name__, saved_models.__name__):
            check(subject)


def read_in_zip(name: str) -> Callable[[Path], object]:
    """The same, of a zip in which the file `name` is the one to read."""

    def read(path: Path) -> None:
        archive = path.with_name("around.zip")
        archive.write_bytes(make_zip({"model.py": GOOD.encode(), name: path.read_bytes()}))
        read_submission(archive)

    return read


def read_bundle(path: Path) -> None:
    with bundle.open_bundle(path) as found:
        bundle_checks.check_bundle(found)
        for task in found.tasks:
            found.unpack(task, "scoring_program", path.with_name("unpacked"))


def read_yaml_of_bundle(path: Path) -> None:
    folder = path.with_name("bundle")
    folder.mkdir(exist_ok=True)
    (folder / "competition.yaml").write_bytes(path.read_bytes())
    (folder / "scoring.zip").write_bytes(make_zip({"metadata": b"command: python3 x.py"}))
    with bundle.open_bundle(folder) as found:
        bundle_checks.check_bundle(found)


def read_picture(path: Path) -> None:
    """As the second picture of two classes, in each kind of file that Pillow may find in it."""
    folder = path.with_name("pictures")
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "a" / "valid.png").write_bytes(make_picture())
    (folder / "b" / "changed.png").write_bytes(path.read_bytes())
    folder_conversion.convert_folder(folder)


def read_table(path: Path) -> None:
    (path.parent / "valid.png").write_bytes(make_picture())
    folder_conversion.convert_table(path, path.parent)


def read_label_table(path: Path) -> None:
    relabelling.relabel(
        dataset.Samples(
            np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 0]), np.arange(3), ("a", "b")
        ),
        path,
    )


def read_documents_of_run(path: Path) -> None:
    """A run folder, all of whose JSON files are the one to read."""
    run = run_folder.Run(path.with_name("run"))
    run.folder.mkdir(exist_ok=True)
    run.config.write_bytes(PRESET.read_bytes())
    for file in (run.metrics, run.provenance, run.inference):
        file.write_bytes(path.read_bytes())
    headline.read_part(run)
    run_table.rows(path.parent)
    manifest.read_inference(run)
    run.inference.unlink()
    manifest.read_inference(run)  # which then looks into metrics.json
    run_folder.read_provenance(run)


READERS = {
    reader.name: reader
    for reader in (
        Reader(
            "npz",
            lambda: make_npz(
                images=np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3),
                labels=np.array([0, 1]),
                class_names=np.array(["a", "b"]),
            ),
            dataset.load,
        ),
        Reader(
            "zip",
            lambda: make_zip({"model.py": GOOD.encode(), "weights.txt": b"3"}),
            read_submission,
        ),
        Reader("hdf5", make_hdf5, read_in_zip("weights.h5"), starts_process=True),
        Reader("keras", make_keras, read_in_zip("model.keras"), starts_process=True),
        Reader(
            "saved-model",
            make_saved_model,
            lambda path: saved_model.read_model(path, IMAGE_SHAPE),
            starts_process=True,
        ),
        Reader("saved-hdf5", lambda: make_saved_model(".h5"), read_saved_hdf5, starts_process=True),
        Reader("saved-description", make_description, read_saved_description, starts_process=True),
        Reader(
            "arrays",
            lambda: make_npz(X=np.zeros((2, 3, 8, 8), np.float32), y=np.array(["a", "b"])),
            array_conversion.convert_arrays,
        ),
        Reader(
            "hdf5-arrays",
            make_hdf5_arrays,
            lambda path: array_conversion.convert_arrays(path.replace(path.with_name("x.h5"))),
            starts_process=True,
        ),
        Reader("parquet", make_parquet, parquet_conversion.convert_parquet, starts_process=True),
        Reader("picture", make_picture, read_picture),
        Reader("table", lambda: b'image,label\nvalid.png,a\n"valid.png",b\n', read_table),
        Reader("label-table", lambda: b"id,given,suggested\n0,a,b\n1,b,\n", read_label_table),
        Reader("manifest", MANIFEST.encode, read_in_zip("manifest.json")),
        Reader("torch", make_torch, pretrained.read_torch),
        Reader("toml", PRESET.read_bytes, config.read),
        Reader("space", SPACE.read_bytes, read_space),
        Reader(
            "competition",
            lambda: competition_file.to_text(AN2DL2024).encode(),
            competition_file.read,
        ),
        Reader(
            "metadata",
            lambda: b"command: python3 $program/run.py\nx: [&a 1, *a]\n",
            lambda path: commands.parse_command(path.read_text(errors="replace")),
        ),
        Reader("yaml", YAML.encode, read_yaml_of_bundle),
        Reader(
            "bundle",
            lambda: make_zip(
                {
                    "competition.yaml": YAML.encode(),
                    "scoring.zip": make_zip({"metadata": b"command: python3 run.py"}),
                }
            ),
            read_bundle,
        ),
        Reader("split", SPLIT.encode, splitting.read),
        Reader("ledger", LEDGER.encode, lambda path: zip_ledger.read(_as_ledger(path))),
        Reader("metrics", METRICS.encode, read_documents_of_run),
        Reader(
            "state",
            lambda: make_npz(state=np.array(STATE), variable_0=np.ones(3)),
            checkpointing.read_state,
        ),
    )
}


def _as_ledger(path: Path) -> Path:
    """A folder with the file at `path` as its ledger."""
    folder = path.with_name("runs")
    folder.mkdir(exist_ok=True)
    (folder / zip_ledger.FILE).write_bytes(path.read_bytes())
    return folder


# Numbers at which lengths, counts and offsets go wrong, as the bytes of files.
EXTREMES = tuple(
    struct.pack(kind, value)
    for kind, values in (
        ("<B", (0, 1, 127, 128, 255)),
        ("<H", (0, 1, 0x7FFF, 0xFFFF)),
        ("<I", (0, 1, 0x7FFFFFFF, 0xFFFFFFFF)),
        ("<Q", (0, 2**31, 2**63 - 1, 2**64 - 1)),
    )
    for value in values
)
TEXTS = (
    b"[" * 2000,
    b"- - - - ",
    b"9" * 5000,
    b"&a [*a]",
    b"NaN",
    b"Infinity",
    b"\x1b[31m",
    b"../",
)


def change(content: bytes, draw: Callable[[int], int]) -> bytes:
    """`content` with one to four random changes. draw(n): a number from 0 to n - 1."""
    data = bytearray(content)
    for _ in range(1 + draw(4)):
        place = draw(len(data) + 1)
        kind = draw(7)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            del data[place : place + 1 + draw(16)]
        elif kind == 2:
            data[place : place + 1] = bytes([draw(256)])
        elif kind == 3:
            extreme = EXTREMES[draw(len(EXTREMES))]
            data[place : place + len(extreme)] = extreme
        elif kind == 4:
            data[place:place] = TEXTS[draw(len(TEXTS))]
        elif kind == 5:
            start = draw(len(data) + 1)
            data[place:place] = data[start : start + 1 + draw(64)]
        else:
            # Zips and HDF5 end with a table of all, or begin with one.
            end = draw(min(len(data), 64) + 1)
            data[-end : len(data) - end + 1] = bytes([draw(256)])
    return bytes(data)
