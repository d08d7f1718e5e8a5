"""How a configuration differs from a preset, or from another run's."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from toolkit.core import config
from toolkit.core.config import Config

ABSENT = "—"  # where one of several configurations lacks a key


def find_nearest_preset(settings: Config) -> tuple[str, list[tuple[str, list[str]]]]:
    """The preset that differs from `settings` in the fewest keys, and these: (key, [the preset's
    value, that of `settings`])."""
    differences = {
        name: list_differences([config.preset(name), settings]) for name in config.preset_names()
    }
    nearest = min(differences, key=lambda name: len(differences[name]))
    return nearest, differences[nearest]


def list_differences(several: Sequence[Config]) -> list[tuple[str, list[str]]]:
    """The keys in which `several` configurations differ, with the value in each."""
    flat = [_flatten(dataclasses.asdict(settings)) for settings in several]
    keys = list(dict.fromkeys(key for values in flat for key in values))
    rows = [(key, [values.get(key, ABSENT) for values in flat]) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _flatten(value: Any, place: str = "") -> dict[str, str]:
    """The values in nested tables and lists, as text by dotted key; an augmentation is one value,
    by its name."""
    if isinstance(value, dict) and "rate" in value and "factor" in value:
        return {place: f"{value['name']}, rate {value['rate']:g}, factor {value['factor']:g}"}
    items: list[tuple[str, Any]]
    if isinstance(value, dict):
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        items = [(str(number), inner) for number, inner in enumerate(value)]
    else:
        return {place: _format(value)}
    found: dict[str, str] = {}
    for key, inner in items:
        found |= _flatten(inner, f"{place}.{key}" if place else key)
    return found


def _format(value: Any) -> str:
    """A value as a TOML file has it, but for the quotes of a text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value) if isinstance(value, tuple) else value)
