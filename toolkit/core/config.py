"""The configuration of a run, read from named presets or TOML files; config_schema has its keys."""

import dataclasses
import typing
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from toolkit.core import documents
from toolkit.core.config_schema import BlockConfig as BlockConfig
from toolkit.core.config_schema import CleanConfig as CleanConfig
from toolkit.core.config_schema import Config as Config
from toolkit.core.config_schema import DataConfig as DataConfig
from toolkit.core.config_schema import ModelConfig as ModelConfig
from toolkit.core.config_schema import Operation as Operation
from toolkit.core.config_schema import Phase as Phase
from toolkit.core.config_schema import SplitConfig as SplitConfig
from toolkit.core.config_schema import TrainConfig as TrainConfig
from toolkit.core.config_schema import without_weights as without_weights
from toolkit.core.damage import abridge, find_similar, quote
from toolkit.core.errors import InputError
from toolkit.core.files import write_text

PRESETS = "toolkit.presets"  # the package of their files


def preset_names() -> list[str]:
    """The names that `preset` takes."""
    return sorted(
        file.name.removesuffix(".toml")
        for file in resources.files(PRESETS).iterdir()
        if file.name.endswith(".toml")
    )


def preset(name: str, settings: tuple[str, ...] = ()) -> Config:
    """The named preset with `settings` ("train.phases.0.epochs=3") applied."""
    if name not in preset_names():
        raise InputError(
            f"there is no preset '{name}'.{_suggest(name, preset_names())}",
            f"Presets: {', '.join(preset_names())}.",
        )
    return _build(preset_text(name), f"preset {name}", settings)


def preset_text(name: str) -> str:
    """The file of the preset `name`, which is one of `preset_names`."""
    return (resources.files(PRESETS) / f"{name}.toml").read_text(encoding="utf-8")


def read(path: Path, settings: tuple[str, ...] = ()) -> Config:
    """The configuration file at `path` with `settings` applied."""
    return _build(documents.read_text(path), str(path), settings)


def write(config: Config, path: Path) -> None:
    """Writes every value of `config`, defaults included, as TOML."""
    write_text(path, to_text(config))


def to_text(config: Config) -> str:
    """Every value of `config`, defaults included, as TOML."""
    values = dataclasses.asdict(config)
    if values["train"]["blocks"] is None:
        del values["train"]["blocks"]  # TOML has no word for nothing
    return tomli_w.dumps(values)


def _build(text: str, source: str, settings: tuple[str, ...]) -> Config:
    values = documents.parse_toml(text, source)
    for setting in settings:
        _apply(values, setting)
    try:
        return TypeAdapter(Config).validate_python(values)
    except ValidationError as error:
        raise InputError(
            describe_error(error, source, Config),
            "Correct the key or the value; docs/configuration.md lists all keys.",
        ) from error


def _apply(values: dict[str, Any], setting: str) -> None:
    """Puts one "dotted.key=value" into the nested `values`; the value is read as TOML, else as
    plain text."""
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(
            f"--set {setting} is not of the form key=value.",
            "For example: --set train.phases.0.epochs=3.",
        )
    try:
        value = documents.parse_toml(f"value = {text}", "--set")["value"]
    except InputError:
        value = text
    *parents, last = key.split(".")
    place: Any = values
    for name in parents:
        if isinstance(place, dict):
            place = place.setdefault(name, {})
        else:
            place = _item(place, name, key)
    if isinstance(place, dict):
        place[last] = value
    else:
        _item(place, last, key)
        place[int(last)] = value


def _item(place: Any, name: str, key: str) -> Any:
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place[int(name)]
    size = "a single value"
    if isinstance(place, list):
        size = f"a list of {len(place)}, numbered from 0"
    raise InputError(
        f"--set {key}: '{name}' does not exist in {size}.",
        "Use an existing key; docs/configuration.md lists all keys.",
    )


def describe_error(error: ValidationError, source: str, kind: Any) -> str:
    """The first of pydantic's errors as a sentence about the dotted key. kind: the dataclass of the
    whole file."""
    # Unknown keys first: a misspelled one is also missing.
    found = sorted(error.errors(), key=lambda each: each["type"] != "unexpected_keyword_argument")
    return _sentence(found[0], source, kind)


def _sentence(error: ErrorDetails, source: str, kind: Any) -> str:
    place = abridge(".".join(str(part) for part in error["loc"]))
    if error["type"] == "unexpected_keyword_argument":
        *parents, name = error["loc"]
        return f"unknown key {place} in {source}.{_suggest(str(name), _keys_at(parents, kind))}"
    if error["type"] == "missing":
        return f"{source} lacks the key {place}."
    reason = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict) or not place:  # a table whose keys do not go together
        return f"{place or 'the description'} in {source}: {reason}."
    return f"{place} in {source} is {quote(error['input'])}: {reason[0].lower()}{reason[1:]}."


def _keys_at(parents: list[str | int], kind: Any) -> list[str]:
    """The keys that exist under `parents` ("train", "phases", 0, ...) in a file of `kind`."""
    for part in parents:
        if isinstance(part, int):
            kind = typing.get_args(kind)[0]
        elif dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(part, kind)
    if not dataclasses.is_dataclass(kind):
        return []
    return [field.name for field in dataclasses.fields(kind)]


def _suggest(name: str, names: list[str]) -> str:
    near = find_similar(name, names)
    return f" Did you mean {near}?" if near else ""
