"""JSON, TOML and YAML from files that somebody else may have written: bounded in size and depth,
one error sentence."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from toolkit.core.damage import VALUES_LIMIT, guard, read_bytes, require_few_values
from toolkit.core.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SMALL_LIMIT = 1_000_000  # bytes of a text that people write
TOML_LIMIT = 100_000  # characters; the presets have 2,000
# Points in a line of TOML: for a key of many parts the parser keeps each of its beginnings, which
# takes gigabytes for 25,000.
TOML_POINTS = 200
DIGITS_LIMIT = 100  # characters of a number; Python converts long ones, but writes none of them
BITS_LIMIT = 64  # of an integer
# Values of a YAML text, where an alias counts for all that it stands for: ten lines can stand for
# billions.
YAML_LIMIT = 200_000  # bytes
YAML_VALUES = 20_000
YAML_DEPTH = 50


def read_text(path: Path, limit: int = SMALL_LIMIT) -> str:
    """The UTF-8 text of the file at `path`. Raises InputError when it is missing, larger than
    `limit` bytes, or no UTF-8."""
    content = read_bytes(path, limit)
    with guard(path, "Save it as UTF-8.", "is not text in UTF-8"):
        return content.decode("utf-8")


def read_json(path: Path, hint: str) -> Any:
    """What the JSON file at `path` holds. Raises InputError when it cannot be read; hint: the way
    out."""
    with guard(path, hint, "cannot be read"):
        return parse_json(read_bytes(path))


def parse_json(text: str | bytes, values_limit: int = VALUES_LIMIT) -> Any:
    """The value of the JSON `text`. Raises ValueError and RecursionError; for more than
    `values_limit` values, and for integers of many digits, too."""
    require_few_values(text, values_limit)
    return json.loads(text, parse_int=_read_integer)


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The values of the TOML `text`. Raises InputError, with the name `source`."""
    if len(text) > TOML_LIMIT:
        raise InputError(f"{source} is too large.", "Check that it is the file you mean.")
    with guard(source, "Correct that line.", "is not valid TOML"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.count(".") > TOML_POINTS:
                raise ValueError(f"line {number} has more than {TOML_POINTS} points")
        values = tomllib.loads(text)
        _require_short_integers(values)
        return values


def parse_yaml(text: str) -> Any:
    """The value of the YAML `text`, made of plain types only. Raises ValueError."""
    if len(text) > YAML_LIMIT:
        raise ValueError(f"it has more than {YAML_LIMIT:,} characters")
    try:
        _require_small(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _count(node, {}) > YAML_VALUES:
                raise ValueError(f"it has more than {YAML_VALUES:,} values")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{error.problem or 'a mistake'}{where}") from error
    # An unhashable key, a character that YAML does not allow.
    except (yaml.YAMLError, TypeError, ArithmeticError) as error:
        raise ValueError(str(error).strip().splitlines()[0]) from error


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """Makes plain types only, and no number of many digits."""

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        _require_short(node.value)
        return super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        _require_short(node.value)
        return super().construct_yaml_float(node)


# They are looked up by tag, not by name.
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def _require_short(number: str) -> None:
    if len(number) > DIGITS_LIMIT:
        raise ValueError(f"a number has more than {DIGITS_LIMIT} characters")


def _read_integer(digits: str) -> int:
    _require_short(digits)
    return int(digits)


def _require_short_integers(values: Any) -> None:
    """Raises ValueError for an integer of more than BITS_LIMIT bits in `values`."""
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int) and value.bit_length() > BITS_LIMIT:
            raise ValueError(f"an integer has more than {BITS_LIMIT} bits")


def _require_small(text: str) -> None:
    """Raises ValueError for a text of more than YAML_VALUES values, or nested deeper than
    YAML_DEPTH, before a parser recurses into it."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if number > YAML_VALUES:
            raise ValueError(f"it has more than {YAML_VALUES:,} values")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > YAML_DEPTH:
            raise ValueError(f"it is nested more than {YAML_DEPTH} deep")


def _count(node: yaml.Node, counted: dict[int, int]) -> int:
    """The values below `node`; each alias counts as what it stands for."""
    key = id(node)
    if key in counted:
        if counted[key] == 0:
            raise ValueError("an alias stands for what it is part of")
        return counted[key]
    counted[key] = 0  # being counted
    total = 1
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            total += _count(name, counted) + _count(value, counted)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            total += _count(value, counted)
    counted[key] = total
    return total
