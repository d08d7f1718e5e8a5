"""Which Keras saved the models in a zip, and whether the evaluator's can read them. Nothing of a
model is executed or imported."""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from toolkit.core import archives
from toolkit.core.damage import guard
from toolkit.core.errors import InputError
from toolkit.runtime.checks.check import Check, Subject, failed, passed, skipped, warning

OWN_MODULES = re.compile(r"(keras|builtins)(\.|$)")
CONFIG_LIMIT = 50_000_000  # bytes of a model's description
REBUILD_HINT = (
    "Build the network in code in model.py and load a .weights.h5 file: weights load in every "
    "Keras 3. A network that cbtool trained: cbtool build --run DIR."
)


def check_saved_models(subject: Subject) -> Check:
    """Every saved model was written by a Keras that the evaluator's can read, of its own layers."""
    contract = subject.contract
    if not contract.keras:
        return skipped("keras", "the competition names no version of Keras")
    found: list[str] = []
    judged: list[Check] = []
    with zipfile.ZipFile(subject.path) as archive:
        for name in sorted(subject.names):
            if not name.endswith((".keras", ".h5", ".hdf5")):
                continue
            with archive.open(name) as file:
                version, custom = _read(name, file)
            if custom:
                said = f"{name} has layers that Keras does not know by itself: {', '.join(custom)}"
                hint = "model.py must define them, and pass them as custom_objects."
                judged.append(warning("keras", said, hint))
            if version is None:
                continue
            found.append(f"{name} by Keras {version}")
            judged += _judge(subject, name, version)
    # The gravest of all, whichever model it is of.
    for status in ("failed", "warning", "ok"):
        for check in judged:
            if check.status == status:
                return check
    if not found:
        return passed("keras", "no saved model: nothing depends on the version of Keras")
    return passed("keras", f"{', '.join(found)}; the evaluator has {contract.keras}")


def _judge(subject: Subject, name: str, version: str) -> list[Check]:
    """What is to be told of a model that Keras `version` saved; nothing where that is no newer than
    what is known to load."""
    contract = subject.contract
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    said = f"{name} was saved by Keras {version}, the evaluator has {contract.keras}"
    if numbers[:1] < (3,):
        return [warning("keras", f"{said}: older files often do not load", REBUILD_HINT)]
    if numbers <= contract.newest_keras:
        return []
    # Simple models may load all the same: the evaluator's own environment knows.
    loaded = subject.outcome is not None and subject.outcome.stage in ("predict", "done")
    if subject.in_evaluator and loaded:
        return [passed("keras", f"{said}; it loads there all the same")]
    return [failed("keras", f"{said}, which cannot read it", REBUILD_HINT)]


def _read(name: str, file: Any) -> tuple[str | None, list[str]]:
    """The version that saved a model, None where the file does not say, and its foreign layers."""
    try:
        with guard(name, ""):
            return _read_keras(file) if name.endswith(".keras") else (_read_hdf5(file), [])
    except InputError:
        return None, []  # damaged, which is the matter of the check of the weights


def _read_keras(file: BinaryIO) -> tuple[str | None, list[str]]:
    with zipfile.ZipFile(file) as archive:
        metadata = _read_json(archive, "metadata.json")
        custom = sorted(set(_find_custom_layers(_read_json(archive, "config.json"))))
    return str(metadata["keras_version"]), custom


def _read_json(archive: zipfile.ZipFile, name: str) -> Any:
    return json.loads(archives.read_entry(Path(), archive, name, CONFIG_LIMIT))


def _read_hdf5(file: BinaryIO) -> str | None:
    with h5py.File(file) as model:
        version = model.attrs.get("keras_version")
        # Files of weights alone have the version, too, and load whatever it is.
        if version is None or "model_config" not in model.attrs:
            return None
        return version.decode() if isinstance(version, bytes) else str(version)


def _find_custom_layers(config: Any) -> Iterator[str]:
    """The classes in a model's description that are not Keras' own, and Lambda layers."""
    # A list of places to look at, not a recursion: a description may be nested without end.
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            name = value.get("class_name")
            if not isinstance(name, str) or "config" not in value:
                continue
            module, registered = value.get("module"), value.get("registered_name")
            # A class that a user registered has no module.
            foreign = not OWN_MODULES.match(module) if isinstance(module, str) else bool(registered)
            if foreign or name == "Lambda":
                yield name
