"""Layers of a user's own: classes in a Python file that is run here, and travels in the zip."""

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import keras

from toolkit.core.damage import describe, require_file
from toolkit.core.errors import InputError

FILE = "custom_objects.py"  # in the zip
MODULE = "cbtool_custom_objects"  # here; no package has that name


@dataclass(frozen=True)
class CustomObjects:
    """source: of the file. layers: its classes that are layers of Keras, by name."""

    source: bytes
    layers: Mapping[str, type[keras.layers.Layer]]


def load(path: Path) -> CustomObjects:
    """Runs the file at `path`, with all that it may do, and finds its layers.

    Raises InputError where there is no such file, it fails, or it has no layer, or one that is
    named as one of keras.layers.
    """
    if not path.exists():
        raise InputError(f"there is no file {path}.", "Give the Python file with your layers.")
    require_file(path)
    source = path.read_bytes()
    if path.suffix != ".py":
        raise InputError(f"{path} is no Python file.", "Give a file that ends in .py.")
    try:
        module = run_module(path, MODULE)
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        raise InputError(
            f"{path} fails when it is run: {type(error).__name__}: {describe(error)}.",
            "It must run by itself, with the packages of the evaluator.",
        ) from error
    layers = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, keras.layers.Layer)
        and value.__module__ == MODULE
    }
    if not layers:
        raise InputError(
            f"{path} defines no layer.", "Define a subclass of keras.layers.Layer there."
        )
    for name in layers:
        if hasattr(keras.layers, name):
            raise InputError(
                f"{path} defines {name}, which is the name of a layer of Keras.",
                "Give your layer another name, and save the model again.",
            )
    return CustomObjects(source, layers)


def run_module(path: Path, name: str) -> ModuleType:
    """The module in the Python file at `path`, run as `name`. Raises whatever its code raises."""
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # classes look their own module up
    try:
        specification.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module
