"""The configuration of a run: strict frozen dataclasses, read from named presets or TOML files."""

import dataclasses
import difflib
import sys
import typing
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from toolkit.core.errors import InputError
from toolkit.core.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def _trainable(value: Any) -> Any:
    whole, part = isinstance(value, int) and not isinstance(value, bool), isinstance(value, float)
    if value in ("head", "all") or (whole and value >= 1) or (part and 0 < value < 1):
        return value
    raise ValueError(
        "it should be 'head', 'all', the number of a layer, or a fraction of the layers such as 0.5"
    )


_strict = dataclass(frozen=True, config=ConfigDict(extra="forbid"))

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


@_strict
class DataConfig:
    """classes: how many there are, when the file has no class names of its own."""

    classes: Annotated[int, Field(ge=2, le=256)] = 8


@_strict
class CleanConfig:
    """outlier_score: robust z-score of the log distance in whitened PCA space, above which an image
    is dropped.

    On the reference data the irrelevant pictures score 4.9 and 7.1, the farthest cell 3.7; on
    subsets of 20 cells a class 5.9 against 4.0. components: axes of that space. near_copy_bits: of
    256 in the perceptual hash; unrelated cells differ in more than 40.
    """

    enabled: bool = True
    outlier_score: Positive = 4.3
    components: Annotated[int, Field(ge=2, le=1000)] = 200
    near_copy_bits: Annotated[int, Field(ge=0, le=128)] = 30


@_strict
class SplitConfig:
    """The shares of the cleaned images held out for validation and test."""

    validation: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    test: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


@_strict
class ModelConfig:
    """backbone: a name in `toolkit.models.backbones`. weights: "imagenet", "none", or the path of a
    weights file.

    head_units: widths of the dense layers, each with `head_norm`, ReLU and dropout; () for the
    class scores alone. head_norm: "batch" after each dense layer, as in the report, or one "layer"
    norm of the features before the first, as the winners had it. input_size: side in pixels that
    images are resized to, 0 for their own.
    """

    backbone: str
    weights: str = "imagenet"
    head_units: tuple[Count, ...] = (1024, 512, 256)
    head_norm: Literal["batch", "layer"] = "batch"
    dropout: Share = 0.3
    input_size: Annotated[int, Field(ge=0, le=1024)] = 0


@_strict
class Operation:
    """One augmentation: its name in `toolkit.augment.registry`, how often it is drawn, and how
    strong it is.

    rate: share of the images it changes. factor: strength in 0..1, 0 changes nothing.
    """

    name: str
    rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    factor: Annotated[float, Field(ge=0, le=1)] = 0.5


@_strict
class BlockConfig:
    """The report's block scheme: augmented images are made `size` at a time, fed, and dropped.

    copies: differently augmented copies of each image in an epoch. Memory holds a few blocks,
    however many copies.
    """

    size: Count = 1024
    copies: Count = 1


@_strict
class Phase:
    """A stretch of training with one optimiser, one learning rate and one set of trainable layers.

    trainable: "head"; "all"; a whole number N for the layers from the N-th of the backbone on (the
    report's 124); or a fraction for that last part of its layers (0.5). Without `augment`, a "head"
    phase runs the backbone once and trains on its stored features.
    schedule: of the learning rate, over the phase's epochs: constant; cosine down to 0; or
    exponential, by the share `decay` an epoch. warmup: epochs of linear rise before that. plateau:
    epochs without a better `monitor` before the learning rate is multiplied by plateau_factor;
    patience: before the phase ends. All off at 0. frozen_norm: batch norms of the backbone keep
    their statistics and are not trained. accumulate: steps whose gradients are averaged before the
    weights change.
    """

    trainable: Annotated[str | int | float, BeforeValidator(_trainable)]
    epochs: Count
    learning_rate: Positive
    optimizer: Literal["adam", "adamw", "lion", "sgd"] = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    decay: Share = 0.03
    warmup: Annotated[float, Field(ge=0)] = 0.0
    plateau: Annotated[int, Field(ge=0)] = 2
    plateau_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 5
    frozen_norm: bool = False
    accumulate: Count = 1
    augment: bool = True


@_strict
class TrainConfig:
    """What holds for all phases.

    batch_size: images in a step. seed: of initialisation, order and augmentation. monitor: what
    plateau, patience and the best epoch follow; val_shift_accuracy is that of corrupted copies of
    the validation part (`toolkit.data.shift`): undamaged images say little about damaged test
    images. augmented_validation: val_loss and val_accuracy are those of a copy of the validation
    part that went through the augmentations once, the same for every epoch.
    label_smoothing: share of each label spread over all classes. focal: gamma of the focal loss
    (Lin et al., arXiv:1708.02002), 0 for cross-entropy. class_weights: rarer classes weigh more,
    all the same in total. oversample: rarer classes are shown more often instead. ema: momentum of
    an exponential moving average of the weights, which is then what is validated and kept; 0 for
    none. precision: of the layers' arithmetic; "auto" is mixed_bfloat16 on GPUs that have it,
    mixed_float16 on others, float32 on CPUs, where bfloat16 won nothing. deterministic: the same
    weights bit for bit from the same seed, on CPUs, a little slower.
    """

    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    batch_size: Count = 64
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    monitor: Literal["val_shift_accuracy", "val_loss", "val_accuracy"] = "val_shift_accuracy"
    augmented_validation: bool = False
    label_smoothing: Share = 0.0
    focal: Annotated[float, Field(ge=0)] = 0.0
    class_weights: bool = False
    oversample: bool = False
    ema: Share = 0.0
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    deterministic: bool = False
    blocks: BlockConfig | None = None


@_strict
class Config:
    """Everything that decides a run, beside the data."""

    model: ModelConfig
    train: TrainConfig
    data: DataConfig = DataConfig()
    clean: CleanConfig = CleanConfig()
    split: SplitConfig = SplitConfig()
    augment: tuple[Operation, ...] = ()


def preset_names() -> list[str]:
    """The names that `preset` takes."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in resources.files("toolkit.presets").iterdir()
        if file.name.endswith(".toml")
    )


def preset(name: str, settings: tuple[str, ...] = ()) -> Config:
    """The named preset with `settings` ("train.phases.0.epochs=3") applied."""
    if name not in preset_names():
        raise InputError(
            f"there is no preset '{name}'.{_nearest(name, preset_names())}",
            f"Presets: {', '.join(preset_names())}.",
        )
    return _build(
        (resources.files("toolkit.presets") / f"{name}.toml").read_text(encoding="utf-8"),
        f"preset {name}",
        settings,
    )


def read(path: Path, settings: tuple[str, ...] = ()) -> Config:
    """The configuration file at `path` with `settings` applied."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot read the configuration {path}: {error.strerror}.", "Check the path."
        ) from error
    return _build(text, str(path), settings)


def write(config: Config, path: Path) -> None:
    """Writes every value of `config`, defaults included, as TOML."""
    values = dataclasses.asdict(config)
    if values["train"]["blocks"] is None:
        del values["train"]["blocks"]  # TOML has no word for nothing
    write_text(path, tomli_w.dumps(values))


def without_weights(model: ModelConfig) -> ModelConfig:
    """The same network, to be built without loading pretrained weights."""
    return dataclasses.replace(model, weights="none")


def _build(text: str, source: str, settings: tuple[str, ...]) -> Config:
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source} is not valid TOML: {error}.", "Correct that line.") from error
    for setting in settings:
        _apply(values, setting)
    try:
        return TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        raise InputError(
            _sentence(error.errors()[0], source),
            "Correct the key or the value; see toolkit/core/config.py for all of them.",
        ) from error


def _apply(values: dict[str, Any], setting: str) -> None:
    """Puts one "dotted.key=value" into the nested `values`; the value is read as TOML, else as
    plain text."""
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(
            f"--set {setting} is not of the form key=value.",
            "For example --set train.phases.0.epochs=3.",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.split(".")
    place: Any = values
    for name in parents:
        place = place.setdefault(name, {}) if isinstance(place, dict) else _item(place, name, key)
    if isinstance(place, dict):
        place[last] = value
    else:
        _item(place, last, key)
        place[int(last)] = value


def _item(place: Any, name: str, key: str) -> Any:
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place[int(name)]
    size = (
        f"a list of {len(place)}, numbered from 0" if isinstance(place, list) else "a single value"
    )
    raise InputError(
        f"--set {key}: '{name}' does not exist, as it would lie in {size}.",
        "Name an existing place.",
    )


def _sentence(error: dict[str, Any], source: str) -> str:
    """One of pydantic's errors as a sentence about the dotted key."""
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "unexpected_keyword_argument":
        *parents, name = error["loc"]
        return f"unknown key {place} in {source}.{_nearest(str(name), _keys_at(parents))}"
    if error["type"] == "missing":
        return f"{source} lacks the key {place}."
    reason = error["msg"].removeprefix("Value error, ")
    return f"{place} in {source} is {error['input']!r}: {reason[0].lower()}{reason[1:]}."


def _keys_at(parents: list[str | int]) -> list[str]:
    """The keys that exist under `parents` ("train", "phases", 0, ...)."""
    kind: Any = Config
    for part in parents:
        hints = (
            typing.get_type_hints(kind, include_extras=False)
            if dataclasses.is_dataclass(kind)
            else {}
        )
        kind = typing.get_args(kind)[0] if isinstance(part, int) else hints.get(part, kind)
    return (
        [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    )


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""
