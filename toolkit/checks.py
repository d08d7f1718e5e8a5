"""What can be wrong with a submission zip: one function a check, all reported at once."""

import ast
import io
import json
import stat
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from PIL import Image
from pyflakes import messages
from pyflakes.checker import Checker

from toolkit import sandbox, synthetic
from toolkit.data import COMPETITION_CLASSES
from toolkit.errors import SubmissionError
from toolkit.sandbox import Outcome

STRAYS = ("__MACOSX", ".DS_Store", "Thumbs.db", "__pycache__")
FILE_ENDINGS = (
    ".h5",
    ".hdf5",
    ".keras",
    ".npz",
    ".npy",
    ".json",
    ".pkl",
    ".onnx",
    ".tflite",
    ".pb",
    ".txt",
    ".toml",
    ".csv",
)
LARGEST = 10**9  # bytes; larger uploads to CodaBench hang or fail for many users
NOT_STARTED = ("process", "import", "load")  # stages of an outcome before predict was called
COUNTS = (1, 7, 300)  # images in a call


@dataclass(frozen=True)
class Check:
    """name: what was looked at. status: "ok", "warning" or "failed". detail: what was found."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str


@dataclass(frozen=True)
class Subject:
    """A zip and what it did: its entries, the text of its model.py and manifest, the outcome of running it."""

    entries: tuple[zipfile.ZipInfo, ...]
    source: str | None
    manifest: dict
    size: int
    outcome: Outcome | None

    @property
    def names(self) -> set[str]:
        return {entry.filename for entry in self.entries}


def validate(path: Path, python: str = sys.executable, time_limit: float = sandbox.TIME_LIMIT) -> list[Check]:
    """Runs every check on the zip at `path`. Raises InputError when it is no zip, LimitError out of time."""
    with sandbox.open_zip(path) as archive:
        entries = tuple(archive.infolist())
        source = _text(archive, "model.py")
    manifest = read_manifest(path)
    outcome = None
    if source is not None:
        try:
            outcome = sandbox.run(path, _inputs(manifest), python, time_limit)
        except SubmissionError as error:
            outcome = Outcome("process", error.sentence)
    subject = Subject(entries, source, manifest, Path(path).stat().st_size, outcome)
    return [check(subject) for check in CHECKS]


def layout(subject: Subject) -> Check:
    """model.py lies at the root of the zip."""
    if subject.source is not None:
        return Check("layout", "ok", "model.py at the root")
    nested = [name for name in subject.names if PurePosixPath(name).name == "model.py"]
    where = f"it is at {nested[0]}; CodaBench does not flatten folders" if nested else "there is none"
    return Check("layout", "failed", f"no model.py at the root: {where}")


def entry_names(subject: Subject) -> Check:
    """No entry leaves the folder, is a link, or is a stray of some desktop."""
    for entry in subject.entries:
        parts = PurePosixPath(entry.filename).parts
        if entry.filename.startswith("/") or ".." in parts:
            return Check("entries", "failed", f"{entry.filename} would lie outside of the folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            return Check("entries", "failed", f"{entry.filename} is a link; CodaBench unpacks it as a small text file")
        if any(part in STRAYS for part in parts):
            return Check("entries", "warning", f"{entry.filename} does not belong in a submission")
        if entry.filename in ("metadata", "metadata.yaml"):
            return Check("entries", "warning", f"{entry.filename} changes how CodaBench runs the zip")
    return Check("entries", "ok", f"{len(subject.entries)} files")


def size(subject: Subject) -> Check:
    """The zip stays below what uploads well."""
    megabytes = f"{subject.size / 1e6:,.1f} MB"
    if subject.size > LARGEST:
        return Check("size", "warning", f"{megabytes}; uploads over 1,000 MB hang or fail for many users")
    return Check("size", "ok", megabytes)


def interface(subject: Subject) -> Check:
    """model.py defines a class Model with predict(self, X) and a constructor that needs no argument."""
    try:
        tree = ast.parse(subject.source or "")
    except SyntaxError as error:
        return Check("interface", "failed", f"model.py line {error.lineno}: {error.msg}")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Model"]
    imported = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    if not classes and "Model" in imported:
        return Check("interface", "ok", "class Model, imported from another file")
    if not classes:
        return Check("interface", "failed", "model.py has no class Model")
    methods = {node.name: node.args for node in classes[-1].body if isinstance(node, ast.FunctionDef)}
    if "__init__" in methods and _required(methods["__init__"]) > 1:
        return Check("interface", "failed", "Model() must work without arguments")
    if "predict" in methods and _required(methods["predict"]) != 2:
        return Check("interface", "failed", "predict must take one argument, X")
    if "predict" not in methods and not classes[-1].bases:
        return Check("interface", "failed", "class Model has no method predict")
    return Check("interface", "ok", "class Model with predict(X)")


def undefined_names(subject: Subject) -> Check:
    """Every name model.py uses is defined in it: notebooks import what the file forgot."""
    try:
        found = Checker(ast.parse(subject.source or "")).messages
    except SyntaxError:
        return Check("names", "failed", "model.py is not valid Python")
    missing = [message for message in found if isinstance(message, messages.UndefinedName)]
    if missing:
        lines = ", ".join(f"{message.message_args[0]} (line {message.lineno})" for message in missing)
        return Check("names", "failed", f"used but never defined: {lines}")
    return Check("names", "ok", "every name is defined")


def references(subject: Subject) -> Check:
    """Every file that model.py or the manifest names is in the zip."""
    try:
        tree = ast.parse(subject.source or "")
    except SyntaxError:
        return Check("references", "failed", "model.py is not valid Python")
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    files = {
        text
        for text in texts
        if text.endswith(FILE_ENDINGS) and len(text.split()) == len(text.splitlines()) == 1 and text not in FILE_ENDINGS
    }
    files |= {subject.manifest["weights"]["file"]} if "weights" in subject.manifest else set()
    missing = sorted(name for name in files if name.removeprefix("./") not in subject.names)
    if missing:
        return Check("references", "failed", f"model.py names files that are not in the zip: {', '.join(missing)}")
    return Check("references", "ok", f"{len(files)} named, all there" if files else "none named")


def starts(subject: Subject) -> Check:
    """The module imports and Model() works in a clean process whose folder is the unzipped zip."""
    outcome = subject.outcome
    if outcome is None:
        return Check("start", "failed", "not run: there is no model.py at the root")
    if outcome.stage in NOT_STARTED:
        return Check("start", "failed", f"{outcome.stage} failed: {outcome.error}")
    return Check("start", "ok", f"import {outcome.import_seconds:.1f} s, Model() {outcome.load_seconds:.1f} s")


def predicts(subject: Subject) -> Check:
    """predict returns integers (n,) within the classes for each kind and number of images."""
    outcome = subject.outcome
    if outcome is None or outcome.stage in NOT_STARTED:
        return Check("predict", "failed", "not run: the submission does not start")
    if outcome.error:
        return Check("predict", "failed", outcome.error)
    for name, call in outcome.calls.items():
        n, classes = int(name.split("-")[1]), _classes(subject.manifest)
        images = f"{n} {name.split('-')[0]} image{'s' if n > 1 else ''}"
        if call.error:
            return Check("predict", "failed", f"{images}: {call.error}")
        if call.output is None:
            return Check("predict", "failed", f"{images}: returned {call.kind}, not a numpy array of numbers")
        if call.output.shape != (n,):
            return Check("predict", "failed", f"{images}: returned the shape {call.output.shape}, not ({n},)")
        if not np.issubdtype(call.output.dtype, np.integer):
            return Check("predict", "failed", f"{images}: returned {call.output.dtype}, not integers")
        if call.output.min() < 0 or call.output.max() >= classes:
            return Check("predict", "failed", f"{images}: returned labels outside 0..{classes - 1}")
    return Check("predict", "ok", "n = 1, 7, 300 as uint8 and float32")


def slices_agree(subject: Subject) -> Check:
    """The labels of an image depend neither on its neighbours in the call nor on its number type."""
    if predicts(subject).status == "failed":
        return Check("slices", "failed", "not compared: predict failed")
    outputs = {name: call.output for name, call in subject.outcome.calls.items()}
    whole = outputs[f"uint8-{COUNTS[-1]}"]
    for name, labels in outputs.items():
        differing = int(np.count_nonzero(labels != whole[: len(labels)]))
        if differing:
            return Check(
                "slices",
                "failed",
                f"{name}: {differing} labels differ from those of the same images in one call of {len(whole)}",
            )
    return Check("slices", "ok", "the same labels whole and in slices, uint8 and float32")


def no_network(subject: Subject) -> Check:
    """It opened no connection."""
    if subject.outcome is None:
        return Check("network", "failed", "not run")
    if subject.outcome.connections:
        return Check("network", "failed", f"it tried to connect: {subject.outcome.connections[0]}")
    return Check("network", "ok", "none used")


def no_writes(subject: Subject) -> Check:
    """It wrote no file outside of its folder and the temporary one."""
    if subject.outcome is None:
        return Check("writes", "failed", "not run")
    if subject.outcome.writes:
        return Check("writes", "failed", f"it tried to write {subject.outcome.writes[0]}")
    return Check("writes", "ok", "nothing outside of its folder")


CHECKS: tuple[Callable[[Subject], Check], ...] = (
    layout,
    entry_names,
    size,
    interface,
    undefined_names,
    references,
    starts,
    predicts,
    slices_agree,
    no_network,
    no_writes,
)


def read_manifest(path: Path) -> dict:
    """The manifest of a zip that cbtool built; {} for anybody else's. Raises InputError when `path` is no zip."""
    with sandbox.open_zip(path) as archive:
        try:
            manifest = json.loads(_text(archive, "manifest.json") or "{}")
        except ValueError:
            return {}
    return manifest if isinstance(manifest, dict) and "operations" in manifest else {}


def sample_images(manifest: dict, n: int) -> np.ndarray:
    """`n` drawn cells of the size the manifest states, or the competition's: uint8 [n, h, w, 3]."""
    images = synthetic.draw(-(-min(n, 320) // len(synthetic.KINDS))).images[: min(n, 320)]
    height, width = manifest.get("image_shape", images.shape[1:3])[:2]
    if (height, width) != images.shape[1:3]:
        images = np.stack([np.asarray(Image.fromarray(image).resize((width, height))) for image in images])
    return images[np.arange(n) % len(images)]


def _inputs(manifest: dict) -> dict[str, np.ndarray]:
    images = sample_images(manifest, COUNTS[-1])
    return {f"{dtype}-{n}": images[:n].astype(dtype) for dtype in ("uint8", "float32") for n in COUNTS}


def _classes(manifest: dict) -> int:
    return len(manifest.get("class_names", ())) or COMPETITION_CLASSES


def _required(arguments: ast.arguments) -> int:
    return len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)


def _text(archive: zipfile.ZipFile, name: str) -> str | None:
    try:
        with archive.open(name) as file:
            return io.TextIOWrapper(file, encoding="utf-8", errors="replace").read()
    except (KeyError, zipfile.BadZipFile):
        return None
