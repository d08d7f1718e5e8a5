"""What a program did with the pixels before it called its model: it becomes part of the network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import keras
import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from toolkit.core import documents
from toolkit.core.config import describe_error
from toolkit.core.errors import InputError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Preprocessing:
    """Pixels x in 0..255 become (x / divide - mean) / std.

    channels: the order in which the model takes them. mean, std: in that order; one number for all
    channels, or one for each.
    """

    channels: Literal["rgb", "bgr"] = "rgb"
    divide: Positive = 1.0
    mean: tuple[Finite, ...] = (0.0,)
    std: tuple[Positive, ...] = (1.0,)


# keras.applications.imagenet_utils.preprocess_input has the last three, as its modes "tf", "torch"
# and "caffe".
NAMED = {
    "rescale": Preprocessing(divide=255),
    "tf": Preprocessing(divide=127.5, mean=(1.0,)),
    "imagenet": Preprocessing(divide=255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "caffe": Preprocessing(channels="bgr", mean=(103.939, 116.779, 123.68)),
}
NONE = "none"


def read(text: str) -> Preprocessing | None:
    """The preprocessing with the name `text`, or in the TOML file at that path; None for "none".

    Raises InputError for a name that none has, and a file that is not as `Preprocessing` says.
    """
    if text == NONE:
        return None
    if text in NAMED:
        return NAMED[text]
    path = Path(text)
    if not path.suffix:
        raise InputError(
            f"there is no preprocessing '{text}'.",
            f"Names: {', '.join((NONE, *NAMED))}; or give a TOML file (docs/commands.md).",
        )
    values = documents.parse_toml(documents.read_text(path), str(path))
    try:
        return TypeAdapter(Preprocessing).validate_python(values)
    except ValidationError as error:
        raise InputError(
            describe_error(error, str(path), Preprocessing),
            "Its keys are channels, divide, mean and std; docs/commands.md has an example.",
        ) from error


def add(
    model: keras.Model, wanted: Preprocessing | None, image_shape: tuple[int, int, int]
) -> keras.Model:
    """`model` behind the preprocessing of pixels in 0..255. Raises InputError where it is of
    another number of channels than the images, (height, width, channels)."""
    if wanted is None:
        return model
    count = image_shape[2]
    if wanted.channels == "bgr" and count != 3:
        raise InputError(
            f"the images have {count} channels, which have no order blue, green, red.",
            "Choose another --preprocess.",
        )
    deviation = _spread(wanted.std, count)
    scale = 1 / (wanted.divide * deviation)
    offset = -_spread(wanted.mean, count) / deviation
    images = keras.Input(image_shape)
    if wanted.channels == "bgr":
        layer = keras.layers.Conv2D(count, 1, name="preprocessing")
        pixels = layer(images)
        # The channels in the other order, as a product.
        kernel = np.eye(count)[::-1] * scale
        layer.set_weights([kernel.reshape(1, 1, count, count), offset])
    else:
        layer = keras.layers.Rescaling(scale.tolist(), offset.tolist(), name="preprocessing")
        pixels = layer(images)
    return keras.Model(images, model(pixels), name=f"{model.name}_with_preprocessing")


def _spread(values: Sequence[float], count: int) -> np.ndarray:
    """One number for each of `count` channels."""
    if len(values) not in (1, count):
        raise InputError(
            f"the preprocessing is of {len(values)} channels, the images have {count}.",
            "Give one number for all channels, or one for each.",
        )
    return np.broadcast_to(np.array(values, np.float64), (count,))
