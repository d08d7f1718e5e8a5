"""A model that somebody saved with Keras, read without running code from its file.

What a file says of its layers is data: here only layers by their names, with numbers, texts and
lists as their settings, reach Keras. Functions, Lambda layers and classes of a user's own do not;
they are named. So a file of another version of Keras is read, too, as long as it has these layers.
"""

import importlib
import inspect
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from toolkit.core import archives, documents, hdf5
from toolkit.core.damage import guard, require_file
from toolkit.core.errors import InputError
from toolkit.export.functions import FUNCTIONS
from toolkit.export.layers import TRAINING_LAYERS, TRANSLATIONS

CONFIG_LIMIT = 50_000_000  # bytes of a model's description
VALUES_LIMIT = 1_000_000  # of a description; that of NASNet has a twentieth of it
WEIGHTS_LIMIT = 4_000_000_000  # bytes
CONTAINERS = ("Functional", "Sequential", "Model")
# Private layers of keras.applications, by the module that has them.
PRIVATE = {
    "LayerScale": "keras.src.applications.convnext",
    "StochasticDepth": "keras.src.applications.convnext",
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
}
# Of functions that a network calls without a layer, by where this Keras has them.
FUNCTION_MODULES = {
    "keras.src.ops.numpy": "keras.src.ops.numpy",
    "keras.ops.numpy": "keras.src.ops.numpy",
    "keras.src.ops.nn": "keras.src.ops.nn",
    "keras.ops.nn": "keras.src.ops.nn",
}
CONSTANT_TYPES = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8")
# Settings that only training needs; some are functions.
DROPPED = ("_initializer", "_regularizer", "_constraint")
AGAIN = "Save the model again: model.save('model.keras')."
# Means and standard deviations of ImageNet's images, of channels in 0..1 and, in the other order,
# in 0..255 (keras.applications.imagenet_utils).
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)


def read_model(path: Path, image_shape: tuple[int, int, int]) -> keras.Model:
    """The model in the .keras or .h5 file at `path`, for images of `image_shape`, (height, width,
    channels).

    Its softmax is left out: it gives scores [n, classes]. Raises InputError for a file that is
    damaged or no such model, a layer that cannot be exported, more than one input or output, and
    images of another size than the model takes.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder; a SavedModel does not say which layers it has.",
            "In the program that made it: model.save('model.keras').",
        )
    require_file(path)
    with _open(path) as (description, weights):
        if isinstance(description, dict) and description.get("class_name") not in CONTAINERS:
            raise _subclassed(path, description.get("class_name"))
        with guard(path, AGAIN, "does not describe a model of Keras"):
            config = _clean(description, "the model", path)
            _set_input(config, image_shape, path)
        private = {
            name: getattr(importlib.import_module(module), name) for name, module in PRIVATE.items()
        }
        with (
            guard(path, AGAIN, "is no model that this Keras can build"),
            keras.utils.custom_object_scope(private),
        ):
            model = _build(config)
        _require_one(model, path)
        with guard(path, AGAIN, "has weights that do not fit its layers"):
            model.load_weights(weights)
    return _without_softmax(model)


def add_preprocessing(
    model: keras.Model, kind: str, image_shape: tuple[int, int, int]
) -> keras.Model:
    """`model` behind the preprocessing `kind` of pixels in 0..255.

    "none"; "rescale": to 0..1; "tf": to -1..1; "imagenet": to 0..1, then less the mean, over the
    standard deviation; "caffe": channels in the order BGR, less the mean (keras.applications'
    preprocess_input in its modes "tf", "torch" and "caffe").
    """
    if kind == "none":
        return model
    images = keras.Input(image_shape)
    if kind == "rescale":
        pixels = keras.layers.Rescaling(1 / 255, name="preprocessing")(images)
    elif kind == "tf":
        pixels = keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(images)
    elif kind == "imagenet":
        mean, deviation = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
        layer = keras.layers.Rescaling(
            (1 / (255 * deviation)).tolist(), (-mean / deviation).tolist(), name="preprocessing"
        )
        pixels = layer(images)
    else:
        layer = keras.layers.Conv2D(3, 1, name="preprocessing")
        pixels = layer(images)
        # The channels in the other order, as a product.
        layer.set_weights([np.eye(3)[::-1].reshape(1, 1, 3, 3), -np.array(CAFFE_MEAN)])
    return keras.Model(images, model(pixels), name=f"{model.name}_with_preprocessing")


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Path]]:
    """The description of the model at `path`, and a file of its weights by an ending that Keras
    knows."""
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
            yield description, copy
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
    yield description, path


def _clean(config: Any, where: str, path: Path) -> Any:
    """`config` of a layer or model with known classes and plain settings only. where: for the
    sentence about another. Raises InputError for a class that is not known."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise InputError(f"{path} does not describe {where}.", AGAIN)
    kind, settings = config.get("class_name"), config["config"]
    name = config.get("name") or settings.get("name")
    if kind in CONTAINERS:
        return _clean_container(config, kind, path)
    if config.get("module") in FUNCTION_MODULES:
        module = FUNCTION_MODULES[config["module"]]
        settings = _clean_function(kind, module, name, settings, where, path)
    elif kind in PRIVATE:
        module = PRIVATE[kind]
        settings = _keep_plain(settings)
    else:
        module = "keras.layers"
        settings = _clean_layer(kind, name, settings, where, path)
    cleaned = {"class_name": kind, "config": settings, "name": name}
    if "inbound_nodes" in config:
        cleaned["inbound_nodes"] = _clean_nodes(config["inbound_nodes"])
    if "module" in config:
        cleaned |= {"module": module, "registered_name": None}
    return cleaned


def _clean_function(
    kind: object, module: str, name: object, settings: dict[str, Any], where: str, path: Path
) -> dict[str, Any]:
    function = getattr(importlib.import_module(module), str(kind), None)
    if kind not in FUNCTIONS or function is None:
        raise InputError(
            f"the function {name} ({kind}) in {where} of {path} cannot be exported.",
            "Replace it by layers of Keras that docs/manifest.md lists.",
        )
    taken = set(inspect.signature(function.__init__).parameters) - {"dtype"}
    kept = {key: value for key, value in settings.items() if key in taken}
    return _keep_plain(kept) | {"name": str(name)}


def _clean_layer(
    kind: object, name: object, settings: dict[str, Any], where: str, path: Path
) -> dict[str, Any]:
    known = {each.__name__ for each in TRANSLATIONS} | set(TRAINING_LAYERS)
    known |= {"InputLayer", "Activation", "MultiHeadAttention"}
    if kind not in known or not hasattr(keras.layers, str(kind)):
        what = "a Lambda layer, which is code" if kind == "Lambda" else f"of the class {kind}"
        raise InputError(
            f"the layer {name} in {where} of {path} is {what}: it cannot be exported.",
            "Replace it by layers of Keras that docs/manifest.md lists.",
        )
    layer = getattr(keras.layers, str(kind))
    taken = set(inspect.signature(layer.__init__).parameters) | {"name"}
    if kind == "InputLayer":
        taken |= {"batch_input_shape"}
    kept = {key: value for key, value in settings.items() if key in taken}
    # A policy of mixed precision is for training; a package chooses its own types.
    kept.pop("dtype", None)
    if isinstance(kept.get("activation"), dict):
        raise InputError(
            f"the layer {name} in {where} of {path} has an activation that is no plain function of "
            "Keras: it cannot be exported.",
            "Give the activation by its name; or as a layer of its own.",
        )
    axis = kept.get("axis")
    if isinstance(axis, list) and len(axis) == 1:  # as Keras 2 writes it
        kept["axis"] = axis[0]
    return _keep_plain(kept)


def _keep_plain(settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` without those that only training needs, and without objects."""
    kept = {}
    for key, value in settings.items():
        if key.endswith(DROPPED) or key in ("dtype", "build_config"):
            continue
        if isinstance(value, dict):
            continue
        kept[key] = value
    return kept


def _clean_container(config: dict[str, Any], kind: str, path: Path) -> dict[str, Any]:
    settings = config["config"]
    name = str(settings.get("name") or config.get("name") or "model")
    layers = settings.get("layers")
    if not isinstance(layers, list):
        raise _subclassed(path, name)
    cleaned: dict[str, Any] = {
        "name": name,
        "layers": [_clean(layer, f"'{name}'", path) for layer in layers],
    }
    for key in ("input_layers", "output_layers"):
        if key in settings:
            places = settings[key]
            # Keras 2 writes a list where there is one, and Keras 3 would give a list back.
            only = len(places) == 1 and isinstance(places[0], list)
            cleaned[key] = places[0] if only else places
    found: dict[str, Any] = {
        "class_name": "Functional" if kind == "Model" else kind,
        "config": cleaned,
        "name": name,
    }
    if "inbound_nodes" in config:
        found["inbound_nodes"] = _clean_nodes(config["inbound_nodes"])
    if "module" in config:
        module = "keras" if kind == "Sequential" else "keras.src.models.functional"
        found |= {"module": module, "registered_name": None}
    return found


def _subclassed(path: Path, name: object) -> InputError:
    return InputError(
        f"{name} in {path} is a subclassed model: its code is not in the file.",
        "Build the same network with keras.Model(inputs, outputs), and save that.",
    )


def _clean_nodes(nodes: Any) -> Any:
    """The places of a layer in the graph: tensors, numbers, texts and lists of such."""
    if isinstance(nodes, list):
        return [_clean_nodes(value) for value in nodes]
    if not isinstance(nodes, dict):
        return nodes
    if nodes.get("class_name") == "__keras_tensor__":
        settings = nodes.get("config", {})
        settings = {
            "shape": settings.get("shape"),
            "dtype": "float32",
            "keras_history": settings.get("keras_history"),
        }
        return {"class_name": "__keras_tensor__", "config": settings}
    if nodes.get("class_name") in ("__tensor__", "__numpy__"):
        return _clean_constant(nodes.get("config", {}))
    if nodes.get("class_name") == "__slice__":
        settings = nodes.get("config", {})
        bounds = {key: settings.get(key) for key in ("start", "stop", "step")}
        return {"class_name": "__slice__", "config": bounds}
    if "class_name" in nodes:
        return None
    return {
        str(key): _clean_nodes(value)
        for key, value in nodes.items()
        if key not in ("mask", "training")
    }


def _clean_constant(settings: dict[str, Any]) -> dict[str, Any]:
    """An array that a network carries along, as an embedding of positions may be."""
    dtype = settings.get("dtype")
    kept = {
        "value": np.asarray(settings.get("value"), np.float64).tolist(),
        "dtype": dtype if dtype in CONSTANT_TYPES else "float32",
    }
    return {"class_name": "__tensor__", "config": kept}


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
