"""What a saved model says of its layers, as data: known classes, and numbers, texts and lists as
their settings. Anything else in it is left out or refused before Keras reads it."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolkit.core.errors import InputError
from toolkit.export.functions import FUNCTIONS
from toolkit.export.layers import TRAINING_LAYERS, TRANSLATIONS

AGAIN = "Save the model again: model.save('model.keras')."
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
# All layers of Keras but those that wrap others or run code of somebody's own.
LAYERS_OF_KERAS = frozenset(
    name
    for name, value in vars(keras.layers).items()
    if inspect.isclass(value)
    and issubclass(value, keras.layers.Layer)
    and not issubclass(value, (keras.layers.Wrapper, keras.layers.RNN))
    and name
    not in (
        "Layer",
        "Lambda",
        "TFSMLayer",
        "TorchModuleWrapper",
        "JaxLayer",
        "FlaxLayer",
        "Wrapper",
    )
)
# Settings that only training needs; some are functions.
DROPPED = ("_initializer", "_regularizer", "_constraint")


@dataclass(frozen=True)
class Place:
    """Where in which file a layer is, for the sentence about it. any_layer: whether each layer of
    Keras may be there, or those alone that can be exported. custom: further layers, by name."""

    where: str
    path: Path
    any_layer: bool
    custom: Mapping[str, type] = field(default_factory=dict)


def clean(config: Any, place: Place) -> Any:
    """`config` of a layer or model with known classes and plain settings only. Raises InputError
    for a class that is not known."""
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise InputError(f"{place.path} does not describe {place.where}.", AGAIN)
    kind, settings = config.get("class_name"), config["config"]
    name = config.get("name") or settings.get("name")
    if kind in CONTAINERS:
        return _clean_container(config, kind, place)
    if config.get("module") in FUNCTION_MODULES:
        module = FUNCTION_MODULES[config["module"]]
        settings = _clean_function(kind, module, name, settings, place)
    elif kind in PRIVATE:
        module = PRIVATE[kind]
        settings = _keep_plain(settings)
    elif kind in place.custom:
        module = None
        settings = _clean_custom(name, settings, place)
    else:
        module = "keras.layers"
        settings = _clean_layer(kind, name, settings, place)
    cleaned = {"class_name": kind, "config": settings, "name": name}
    if "inbound_nodes" in config:
        cleaned["inbound_nodes"] = _clean_nodes(config["inbound_nodes"])
    if "module" in config:
        registered = kind if kind in place.custom else None
        cleaned |= {"module": module, "registered_name": registered}
    return cleaned


def _clean_custom(name: object, settings: dict[str, Any], place: Place) -> dict[str, Any]:
    if _has_objects(settings):
        raise _refuse_objects(name, place)
    return _keep_plain(settings)


def _refuse_objects(name: object, place: Place) -> InputError:
    return InputError(
        f"the layer {name} in {place.where} of {place.path} has a setting that is an object.",
        "Only numbers, texts and lists of them are read from a file; use another layer.",
    )


def _clean_function(
    kind: object, module: str, name: object, settings: dict[str, Any], place: Place
) -> dict[str, Any]:
    function = getattr(importlib.import_module(module), str(kind), None)
    if function is None or not (place.any_layer or kind in FUNCTIONS):
        raise InputError(
            f"the function {name} ({kind}) in {place.where} of {place.path} cannot be exported.",
            "Replace it by layers of Keras that docs/manifest.md lists; or build a zip that runs "
            "Keras, where it is evaluated with it: --as keras.",
        )
    taken = set(inspect.signature(function.__init__).parameters) - {"dtype"}
    kept = {key: value for key, value in settings.items() if key in taken}
    return _keep_plain(kept) | {"name": str(name)}


def _clean_layer(
    kind: object, name: object, settings: dict[str, Any], place: Place
) -> dict[str, Any]:
    known = {each.__name__ for each in TRANSLATIONS} | set(TRAINING_LAYERS)
    known |= {"InputLayer", "Activation", "MultiHeadAttention"}
    if place.any_layer:
        known |= set(LAYERS_OF_KERAS)
    if kind not in known or not hasattr(keras.layers, str(kind)):
        what = "a Lambda layer, which is code" if kind == "Lambda" else f"of the class {kind}"
        hint = "Replace it by layers of Keras that docs/manifest.md lists."
        if kind not in LAYERS_OF_KERAS and kind != "Lambda":
            hint += " Or give its code: --as keras --custom-objects FILE.py."
        if kind in LAYERS_OF_KERAS:
            hint = "Build a zip that runs Keras, where it is evaluated with it: --as keras."
        raise InputError(
            f"the layer {name} in {place.where} of {place.path} is {what}: it cannot be exported.",
            hint,
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
            f"the layer {name} in {place.where} of {place.path} has an activation that is no plain "
            "function of Keras: it cannot be exported.",
            "Give the activation by its name; or as a layer of its own.",
        )
    if place.any_layer and _has_objects(kept):
        raise _refuse_objects(name, place)
    axis = kept.get("axis")
    if isinstance(axis, list) and len(axis) == 1:  # as Keras 2 writes it
        kept["axis"] = axis[0]
    return _keep_plain(kept)


def _has_objects(settings: dict[str, Any]) -> bool:
    """Whether leaving objects out of `settings` would change what the layer computes."""
    return any(isinstance(value, dict) and not _is_dropped(key) for key, value in settings.items())


def _is_dropped(key: str) -> bool:
    """Whether a setting means nothing for prediction."""
    return key.endswith(DROPPED) or key in ("dtype", "build_config")


def _keep_plain(settings: dict[str, Any]) -> dict[str, Any]:
    """`settings` without those that only training needs, and without objects."""
    kept = {}
    for key, value in settings.items():
        if _is_dropped(key) or isinstance(value, dict):
            continue
        kept[key] = value
    return kept


def _clean_container(config: dict[str, Any], kind: str, place: Place) -> dict[str, Any]:
    settings = config["config"]
    name = str(settings.get("name") or config.get("name") or "model")
    layers = settings.get("layers")
    if not isinstance(layers, list):
        raise subclassed(place.path, name)
    cleaned: dict[str, Any] = {
        "name": name,
        "layers": [clean(layer, replace(place, where=f"'{name}'")) for layer in layers],
    }
    _convert_calls(cleaned["layers"])
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


def _convert_calls(layers: list[dict[str, Any]]) -> None:
    """Makes of the calls that Keras 2 wrote what Keras 3 reads.

    Keras 2 counts the making of a Sequential model as the first call of it, Keras 3 does not; and
    Keras 3 does not look for results among the named arguments, as those of attention are.
    """
    kinds = {layer["name"]: layer["class_name"] for layer in layers if "module" not in layer}

    def is_result(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) >= 3
            and isinstance(value[0], str)
            and value[0] in kinds
            and all(isinstance(number, int) for number in value[1:3])
        )

    def count(value: list[Any], containers: tuple[str, ...]) -> int:
        made = kinds[value[0]] in containers
        return max(value[1] - 1, 0) if made else int(value[1])

    def as_tensor(value: list[Any]) -> dict[str, Any]:
        history = [value[0], count(value, CONTAINERS), value[2]]
        settings = {"shape": [None], "dtype": "float32", "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": settings}

    def convert(call: Any) -> Any:
        if not isinstance(call, list) or not call or not all(map(is_result, call)):
            return call
        named = call[0][3] if len(call[0]) > 3 and isinstance(call[0][3], dict) else {}
        if not any(map(is_result, named.values())):
            return [[each[0], count(each, ("Sequential",)), *each[2:]] for each in call]
        inputs = [as_tensor(each) for each in call]
        return {
            "args": inputs if len(inputs) == 1 else [inputs],
            "kwargs": {
                key: as_tensor(value) if is_result(value) else value for key, value in named.items()
            },
        }

    for layer in layers:
        if isinstance(layer.get("inbound_nodes"), list):
            layer["inbound_nodes"] = [convert(call) for call in layer["inbound_nodes"]]


def subclassed(path: Path, name: object) -> InputError:
    """The error about the model `name` in `path`, which is a class of its own."""
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
