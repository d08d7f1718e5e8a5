"""The SavedModel folder that Keras 2 wrote: its description of the layers and its weights, both
read as data. The graph of functions beside them is left alone: to load it would run it."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2
from tensorflow.python.keras.protobuf import saved_metadata_pb2

from toolkit.core import documents
from toolkit.core.damage import guard, require_file
from toolkit.core.errors import InputError

DESCRIPTION = "keras_metadata.pb"
WEIGHTS = Path("variables") / "variables"
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
AGAIN = "In the program that made it: model.save('model.keras'), of Keras 2 model.save('model.h5')."
# How Keras 2 writes tuples in its description.
SEQUENCES = ("__tuple__", "TensorShape")


def read_description(path: Path, size_limit: int, values_limit: int) -> Any:
    """The class and configuration of the model in the folder `path`, as an .h5 file has them.

    Raises InputError for a folder without it, such as Keras 3's model.export writes, and for one
    that is damaged or above the limits, in bytes and values.
    """
    file = path / DESCRIPTION
    if not file.exists():
        raise InputError(
            f"{path} is a folder without {DESCRIPTION}: it does not say which layers it has.", AGAIN
        )
    require_file(file)
    with guard(file, AGAIN, "does not describe a model of Keras"):
        if file.stat().st_size > size_limit:
            raise ValueError(f"it has more than {size_limit:,} bytes")
        nodes = saved_metadata_pb2.SavedMetadata.FromString(file.read_bytes()).nodes
        roots = [node.metadata for node in nodes if node.node_path == "root"]
        if not roots:
            raise ValueError("it has no root")
        return _as_lists(documents.parse_json(roots[0], values_limit))


def load_weights(path: Path, model: keras.Model) -> None:
    """Gives `model` the weights in the folder `path`.

    Raises InputError where they are missing or damaged, or do not fit.
    """
    with guard(path / WEIGHTS, AGAIN, "has weights that do not fit its layers"):
        reader = tf.train.load_checkpoint(str(path / WEIGHTS))
        shapes = reader.get_variable_to_shape_map()
        keys = _list_keys(reader.get_tensor(OBJECTS))
        if len(keys) != len(model.weights):
            raise ValueError(f"{len(keys)} weights for {len(model.weights)}")
        for key, weight in zip(keys, model.weights):
            # Before the values are read: a damaged file may claim any size.
            if tuple(shapes.get(key, ())) != tuple(weight.shape):
                raise ValueError(f"{weight.path} has another shape")
        model.set_weights([np.asarray(reader.get_tensor(key)) for key in keys])


def _list_keys(objects: bytes) -> list[str]:
    """The names of the weights in the checkpoint, in the order in which the model has them."""
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(objects).nodes

    def children(number: int) -> dict[str, int]:
        return {child.local_name: child.node_id for child in nodes[number].children}

    variables = children(children(0)["variables"])
    ordered = [variables[str(place)] for place in range(len(variables))]
    return [nodes[number].attributes[0].checkpoint_key for number in ordered]


def _as_lists(value: Any) -> Any:
    """`value` with Keras 2's marks of tuples as plain lists."""
    if isinstance(value, list):
        return [_as_lists(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in SEQUENCES and isinstance(value.get("items"), list):
        return _as_lists(value["items"])
    return {key: _as_lists(each) for key, each in value.items()}
