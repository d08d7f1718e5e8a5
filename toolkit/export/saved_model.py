"""A model that somebody saved with Keras, read without running code from its file.

What a file says of its layers is data: here only layers by their names, with numbers, texts and
lists as their settings, reach Keras. Functions, Lambda layers and classes of a user's own do not;
they are named. So a file of another version of Keras is read, too, as long as it has these layers.
"""

import importlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras

from toolkit.core import archives, documents, hdf5
from toolkit.core.damage import guard, require_file
from toolkit.core.errors import InputError
from toolkit.export import saved_model_folder
from toolkit.export.description import AGAIN, CONTAINERS, PRIVATE, Place, clean, subclassed

LoadWeights = Callable[[keras.Model], None]

CONFIG_LIMIT = 50_000_000  # bytes of a model's description
VALUES_LIMIT = 1_000_000  # of a description; that of NASNet has a twentieth of it
WEIGHTS_LIMIT = 4_000_000_000  # bytes


def read_model(
    path: Path,
    image_shape: tuple[int, int, int],
    any_layer: bool = False,
    custom: Mapping[str, type[keras.layers.Layer]] | None = None,
) -> keras.Model:
    """The model in the .keras or .h5 file or SavedModel folder of Keras 2 at `path`, for images of
    `image_shape`, (height, width, channels).

    any_layer: also layers and functions of Keras that have no translation, but for those that run
    code of the file. custom: layers of the user's own, by name. The model's softmax is left out: it
    gives scores [n, classes]. Raises
    InputError for a file that is damaged or no such model, a layer that cannot be exported, more
    than one input or output, and images of another size than the model takes.
    """
    path = Path(path)
    if not path.is_dir():
        require_file(path)
    with _open(path) as (description, load_weights):
        if isinstance(description, dict) and description.get("class_name") not in CONTAINERS:
            raise subclassed(path, description.get("class_name"))
        with guard(path, AGAIN, "does not describe a model of Keras"):
            config = clean(description, Place("the model", path, any_layer, custom or {}))
            _set_input(config, image_shape, path)
        private = {
            name: getattr(importlib.import_module(module), name) for name, module in PRIVATE.items()
        }
        with (
            guard(path, AGAIN, "is no model that this Keras can build"),
            keras.utils.custom_object_scope(private | dict(custom or {})),
        ):
            model = _build(config)
        _require_one(model, path)
        with guard(path, AGAIN, "has weights that do not fit its layers"):
            load_weights(model)
    return _without_softmax(model)


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, LoadWeights]]:
    """The description of the model at `path`, and what loads its weights into one."""
    if path.is_dir():
        description = saved_model_folder.read_description(path, CONFIG_LIMIT, VALUES_LIMIT)
        yield description, partial(saved_model_folder.load_weights, path)
        return
    if zipfile.is_zipfile(path):
        with guard(path, AGAIN), archives.Archive(path) as archive:
            archives.require_plausible(path, archive)
            names = archive.namelist()
            for name in ("config.json", "model.weights.h5"):
                if name not in names:
                    raise InputError(f"{path} has no {name}, so it is no saved model.", AGAIN)
            text = archives.read_entry(path, archive, "config.json", CONFIG_LIMIT)
            weights = archives.read_entry(path, archive, "model.weights.h5", WEIGHTS_LIMIT)
            description = documents.parse_json(text, VALUES_LIMIT)
        with tempfile.TemporaryDirectory(prefix="cbtool-") as folder:
            copy = Path(folder) / "model.weights.h5"
            copy.write_bytes(weights)
            hdf5.require_readable(copy, AGAIN, name=f"model.weights.h5 in {path}")
            yield description, lambda model: model.load_weights(copy)
        return
    hdf5.require_readable(path, AGAIN)
    with guard(path, AGAIN, "is no saved model of Keras"):
        with h5py.File(path) as file:
            text = file.attrs.get("model_config")
        if text is None:
            raise InputError(
                f"{path} holds weights without a model.",
                "Save the whole model: model.save('model.keras').",
            )
        with guard(path, AGAIN, "is no saved model of Keras"):
            description = documents.parse_json(text, VALUES_LIMIT)
    if path.suffix not in (".h5", ".hdf5"):
        raise InputError(
            f"{path} is an HDF5 file under another ending.", "Rename it to end in .h5."
        )
    yield description, lambda model: model.load_weights(path)


def _set_input(config: dict[str, Any], image_shape: tuple[int, int, int], path: Path) -> None:
    """Makes the model in `config` take images of `image_shape`, where it leaves sides open. Raises
    InputError where it takes others."""
    layers = config["config"]["layers"]
    inputs = [layer for layer in layers if layer["class_name"] == "InputLayer"]
    if len(inputs) > 1:
        names = ", ".join(str(layer["name"]) for layer in inputs)
        raise InputError(
            f"{path} has {len(inputs)} inputs ({names}); predict(X) gives it one.",
            "Save a model of the images alone.",
        )
    if not inputs:
        if layers and layers[0]["class_name"] in CONTAINERS:
            _set_input(layers[0], image_shape, path)
            return
        raise InputError(
            f"{path} does not say what images it takes.", "Begin the model with keras.Input(shape)."
        )
    settings = inputs[0]["config"]
    shape = settings.pop("batch_input_shape", None) or settings.get("batch_shape")
    if not isinstance(shape, list) or len(shape) != 4:
        raise InputError(
            f"{path} takes arrays of shape {shape}, not images (n, height, width, channels).",
            "Save a model of images.",
        )
    for side, given in zip(shape[1:], image_shape, strict=True):
        if side is not None and side != given:
            wanted = " × ".join(str(side) for side in shape[1:])
            has = " × ".join(map(str, image_shape))
            raise InputError(
                f"{path} takes images of {wanted}, the data file has {has}.",
                "Give images of that size; or put keras.layers.Resizing before the model.",
            )
    settings.pop("shape", None)
    settings["batch_shape"] = [None, *image_shape]


def _build(config: dict[str, Any]) -> keras.Model:
    kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
    if kind is keras.Sequential:
        return keras.Sequential.from_config(config["config"])
    return keras.src.models.functional.Functional.from_config(config["config"])


def _require_one(model: keras.Model, path: Path) -> None:
    if len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        shapes = ", ".join(str(output.shape) for output in model.outputs)
        raise InputError(
            f"{path} gives {shapes}, not one score a class.", "Save a model of the classes alone."
        )


def _without_softmax(model: keras.Model) -> keras.Model:
    """`model` up to the scores before its softmax, which no label depends on."""
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax):
        return keras.Model(model.inputs, last.input, name=model.name)
    while isinstance(last, keras.Model):
        last = last.layers[-1]
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    return model
