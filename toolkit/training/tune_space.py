"""The space of a study: which keys of a configuration it searches, and among which values."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, field
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from pydantic import StrictFloat, StrictInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from toolkit.core import config, documents
from toolkit.core.config import Config
from toolkit.core.config_schema import STRICT
from toolkit.core.errors import CbtoolError, InputError

Number = StrictInt | StrictFloat
Build = Callable[[tuple[str, ...]], Config]  # the base configuration with settings applied

HINT = "docs/training.md describes the file of a space."
# With other values of these, trials would be scored on other images, with other luck, or by another
# measure: the study could not compare them.
FIXED = ("data.", "clean.", "split.", "train.seed", "train.monitor")


class Suggester(Protocol):
    """What `suggest` needs of Optuna's trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: list[str]) -> Any: ...


@dataclass(frozen=True, config=STRICT)
class Parameter:
    """The values of one key: from low to high, evenly or evenly in the logarithm, or choices.

    A range between whole numbers holds whole numbers only.
    """

    low: Number | None = None
    high: Number | None = None
    log: bool = False
    choices: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        is_range = self.low is not None or self.high is not None
        if is_range == bool(self.choices):
            raise ValueError("it must have low and high, or choices with two or more values")
        if is_range:
            self._require_range()
        else:
            self._require_choices()

    @property
    def is_whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> list[str]:
        """The values that have to be valid for all to be, as TOML."""
        return [_write(value) for value in self.choices or (self.low, self.high)]

    def _require_range(self) -> None:
        if self.low is None or self.high is None:
            raise ValueError("a range must have both low and high")
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("a range must end at finite numbers")
        if self.low >= self.high:
            raise ValueError(f"the range from {self.low} to {self.high} is empty")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range must begin above 0")

    def _require_choices(self) -> None:
        written = [_write(value) for value in self.choices]
        if self.log:
            raise ValueError("log is for a range")
        if len(written) < 2:
            raise ValueError("there must be two or more choices")
        if len(set(written)) < len(written):
            raise ValueError("a choice is listed twice")


@dataclass(frozen=True)
class Space:
    """The parameters by key, as `--set` names it. source: where they were read."""

    source: str
    parameters: dict[str, Parameter]

    @property
    def text(self) -> str:
        """All of it but the source, the same text for the same space."""
        values = {key: asdict(each) for key, each in sorted(self.parameters.items())}
        return json.dumps(values)


def space_names() -> list[str]:
    """The presets that have a space of their own."""
    folder = resources.files("toolkit.presets") / "spaces"
    names = (file.name for file in folder.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def read(path: Path) -> Space:
    """The space in the TOML file at `path`. Raises InputError when it is missing or wrong."""
    return _parse(documents.read_text(path), str(path))


def of_preset(name: str) -> Space:
    """The space that is made for the preset `name`. Raises InputError when there is none."""
    if name not in space_names():
        raise InputError(
            f"there is no space for '{name}'.",
            f"Give one with --space FILE; there are spaces for {', '.join(space_names())}.",
        )
    file = resources.files("toolkit.presets") / "spaces" / f"{name}.toml"
    return _parse(file.read_text(encoding="utf-8"), f"space {name}")


def require_valid(space: Space, build: Build) -> None:
    """Raises InputError unless every key exists in the configuration that `build` makes, and takes
    the ends of its range, or each choice."""
    for key, parameter in space.parameters.items():
        for text in parameter.ends:
            try:
                build((f"{key}={text}",))
            except CbtoolError as error:
                raise InputError(f"{space.source}: {error.sentence}", error.hint) from error


def suggest(space: Space, trial: Suggester) -> tuple[str, ...]:
    """The values of `trial`, as settings that `--set` takes."""
    settings = []
    for key, parameter in space.parameters.items():
        value: Any
        if parameter.choices:
            # As text: Optuna stores no lists.
            settings.append(f"{key}={trial.suggest_categorical(key, parameter.ends)}")
            continue
        assert parameter.low is not None and parameter.high is not None
        if parameter.is_whole:
            low, high = int(parameter.low), int(parameter.high)
            value = trial.suggest_int(key, low, high, log=parameter.log)
        else:
            low_end, high_end = float(parameter.low), float(parameter.high)
            value = trial.suggest_float(key, low_end, high_end, log=parameter.log)
        settings.append(f"{key}={_write(value)}")
    return tuple(settings)


def find_base(space: Space, base: Config) -> dict[str, Any] | None:
    """The values that `base` has, as a trial stores them; None where the space lacks one of
    them."""
    found: dict[str, Any] = {}
    for key, parameter in space.parameters.items():
        value = _look_up(base, key)
        if parameter.choices:
            value = _write(value) if _is_plain(value) else None
            if value not in parameter.ends:
                return None
        else:
            assert parameter.low is not None and parameter.high is not None
            if not isinstance(value, (int, float)) or not parameter.low <= value <= parameter.high:
                return None
        found[key] = value
    return found


def list_largest(space: Space) -> tuple[str, ...]:
    """Settings with the most epochs that the space allows."""
    return tuple(
        f"{key}={max(parameter.ends, key=float)}"
        for key, parameter in space.parameters.items()
        if key.endswith(".epochs")
    )


def _parse(text: str, source: str) -> Space:
    tables = dict(_flatten(documents.parse_toml(text, source), ""))
    if not tables:
        raise InputError(f"{source} names no key to search.", HINT)
    return Space(source, {key: _read(key, table, source) for key, table in tables.items()})


def _flatten(values: dict[str, Any], above: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables with values, by dotted key: TOML reads [a.b] and ["a.b"] differently, and a
    person means the same."""
    for name, value in values.items():
        key = f"{above}{name}"
        if not isinstance(value, dict):
            yield above.rstrip("."), values
            return
        if value and all(isinstance(each, dict) for each in value.values()):
            yield from _flatten(value, f"{key}.")
        else:
            yield key, value


def _read(key: str, table: dict[str, Any], source: str) -> Parameter:
    place = f"[{key}] of {source}" if key else source
    if key.startswith(FIXED):
        raise InputError(
            f"{place}: {key} is the same in all trials of a study, which it compares.",
            "Remove it from the space; --set changes it for all trials.",
        )
    try:
        return TypeAdapter(Parameter).validate_python(table)
    except ValidationError as error:
        raise InputError(config.describe_error(error, place, Parameter), HINT) from error


def _write(value: Any) -> str:
    """`value` as TOML, which JSON is for these types."""
    if not _is_plain(value):
        raise ValueError("a choice must be a text, a number, true or false, or a list of these")
    return json.dumps(value, ensure_ascii=False)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(each) for each in value)
    return isinstance(value, (str, int, float))


def _look_up(base: Config, key: str) -> Any:
    place: Any = base
    for name in key.split("."):
        if isinstance(place, tuple):
            place = place[int(name)]
        else:
            place = getattr(place, name, None)  # of the blocks, where there are none
    return place
