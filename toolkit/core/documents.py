"""JSON, TOML and YAML from files that somebody else may have written: bounded in size and depth,
one error sentence."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from toolkit.core.damage import guard, read_bytes
from toolkit.core.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SMALL_LIMIT = 1_000_000  # bytes of a text that people write
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
    content = read_bytes(path)
    with guard(path, hint, "cannot be read"):
        return json.loads(content)


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """The values of the TOML `text`. Raises InputError, with the name `source`."""
    if len(text) > SMALL_LIMIT:
        raise InputError(f"{source} is too large.", "Check that it is the file you mean.")
    with guard(source, "Correct that line.", "is not valid TOML"):
        return tomllib.loads(text)


def parse_yaml(text: str) -> Any:
    """The value of the YAML `text`, made of plain types only. Raises ValueError."""
    if len(text) > YAML_LIMIT:
        raise ValueError(f"it has more than {YAML_LIMIT:,} characters")
    try:
        _require_small(text)
        loader = yaml.SafeLoader(text)
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
