"""Runs in a process of its own: says what the saved models and weights in a zip are.

The HDF5 library can crash, or never come back, in a file that is made for that. So it does not read
a stranger's file in the toolkit's own process. Standard library and h5py only.
Usage: python -I outline_child.py ZIP; prints a JSON object, an entry a file.
"""

import json
import re
import resource
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

import h5py

ENDINGS = (".h5", ".hdf5", ".keras")
OWN_MODULES = re.compile(r"(keras|builtins)(\.|$)")
CONFIG_LIMIT = 50_000_000  # bytes of a model's description
TEXT_LENGTH = 200  # characters of a name or an error that are passed on
NAMED = 20  # layers that are named
SECONDS = 5  # of processor time: a gigabyte takes two


def read_outline(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """fault: why the file `name` cannot be read. keras_version: that saved it as a whole model.
    custom: its layers that are not Keras' own."""
    outline: dict[str, Any] = {"fault": None, "keras_version": None, "custom": []}
    try:
        with archive.open(name) as file:
            if name.endswith(".keras"):
                outline |= read_keras(file)
            else:
                outline["keras_version"] = read_hdf5(file)
    # Whatever a damaged file makes a parser raise.
    except Exception as error:
        outline["fault"] = f"{type(error).__name__}: {error}"[:TEXT_LENGTH]
    return outline


def read_keras(file: Any) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        try:
            metadata = read_json(archive, "metadata.json")
            custom = sorted(set(find_custom_layers(read_json(archive, "config.json"))))
            version = str(metadata["keras_version"])[:TEXT_LENGTH]
        except Exception:
            return {}  # a zip under this ending, which says nothing of Keras
    return {"keras_version": version, "custom": [name[:TEXT_LENGTH] for name in custom[:NAMED]]}


def read_json(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > CONFIG_LIMIT:
        raise ValueError(name)
    return json.loads(archive.read(name))


def read_hdf5(file: Any) -> str | None:
    with h5py.File(file) as model:
        # Files of weights alone have the version, too, and load whatever it is.
        if "keras_version" not in model.attrs or "model_config" not in model.attrs:
            return None
        version = model.attrs["keras_version"]
        return (version.decode() if isinstance(version, bytes) else str(version))[:TEXT_LENGTH]


def find_custom_layers(config: Any) -> Iterator[str]:
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


def main() -> None:
    # Not of the clock: on a busy machine, starting alone may take seconds.
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    with zipfile.ZipFile(sys.argv[1]) as archive:
        names = sorted(name for name in set(archive.namelist()) if name.endswith(ENDINGS))
        json.dump({name: read_outline(archive, name) for name in names}, sys.stdout)


if __name__ == "__main__":
    main()
