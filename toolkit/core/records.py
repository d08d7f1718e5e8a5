"""JSON files as frozen dataclasses: checked when they are read, with one error sentence."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from toolkit.core.damage import VALUES_LIMIT, abridge, read_bytes, require_few_values
from toolkit.core.errors import InputError
from toolkit.core.files import write_text

Record = TypeVar("Record")

# Decorates a dataclass whose JSON may hold no other keys than its fields; without it, unknown keys
# are ignored. Nested dataclasses need their own.
strict = with_config(ConfigDict(extra="forbid"))


def read(kind: type[Record], path: Path, hint: str, values_limit: int = VALUES_LIMIT) -> Record:
    """Reads the JSON file at `path` as `kind`: a dataclass, or a list or dictionary of such.

    Values must have the declared types: "3" is no number. Raises InputError, with `hint` as the
    way out, when the file is missing, unreadable, not JSON, does not fit `kind`, or has more than
    `values_limit` values; the sentence names the file and the key but holds no value from the file,
    which may be a secret.
    """
    if not Path(path).exists():
        raise InputError(f"there is no file {path}.", hint)
    content = read_bytes(path)
    try:
        return parse(kind, content, values_limit)
    except ValueError as error:
        raise InputError(f"{path} cannot be read: {_reason(error)}.", hint) from error


def parse(kind: type[Record], text: str | bytes, values_limit: int = VALUES_LIMIT) -> Record:
    """The JSON `text` as `kind`. Raises ValueError (pydantic's ValidationError) if it does not fit,
    or has more than `values_limit` values."""
    require_few_values(text, values_limit)
    return _adapter(kind).validate_json(text, strict=True)


def write(value: Any, path: Path, kind: Any = None, indent: int | None = 1) -> None:
    """Writes `value` as JSON to `path`, whole or not at all.

    kind: its type where that is not `type(value)`, such as list[Entry]. indent: as in json.dumps,
    None for a single line. Raises InputError when the file cannot be written.
    """
    write_text(path, to_text(value, kind, indent))


def to_text(value: Any, kind: Any = None, indent: int | None = 1) -> str:
    """`value` as the text of a JSON file; kind and indent as in `write`."""
    return json.dumps(values(value, kind), indent=indent) + "\n"


def values(value: Any, kind: Any = None) -> Any:
    """`value` as dictionaries, lists, strings and numbers, ready for JSON."""
    return _adapter(kind or type(value)).dump_python(value, mode="json")


# An adapter compiles its validator, which takes milliseconds.
_adapter = cast(Callable[[Any], TypeAdapter[Any]], cache(TypeAdapter))


def _reason(error: ValueError) -> str:
    """Why a file cannot be read, without a value from it."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = abridge(".".join(str(part) for part in first["loc"]))
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{place}: {message}" if place else message
