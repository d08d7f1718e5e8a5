"""docs/configuration.md, made from the descriptions of the configuration's keys."""

from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from toolkit.core import config_schema
from toolkit.core.files import write_text

# In the order of the document: the TOML table and the dataclass of its keys.
TABLES = {
    "[model]": config_schema.ModelConfig,
    "[train]": config_schema.TrainConfig,
    "[[train.phases]]": config_schema.Phase,
    "[train.blocks]": config_schema.BlockConfig,
    "[[augment]]": config_schema.Operation,
    "[data]": config_schema.DataConfig,
    "[clean]": config_schema.CleanConfig,
    "[split]": config_schema.SplitConfig,
}
TYPE_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false"}
COMPARISONS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}  # attributes of pydantic's metadata
HEAD = """# Configuration

`make docs-generated` generates this file; change the descriptions in the code instead.

A TOML file (`cbtool train --config FILE`) or a preset, which is such a file with a name
(`cbtool train --preset NAME`), configures a run. `--set KEY=VALUE` changes a single value, for
example `--set train.phases.0.epochs=3`. Unknown keys are errors. The run folder's `config.toml`
lists every value that was used.
"""


def configuration_markdown() -> str:
    """The document: a section per TOML table, a row per key."""
    sections = [HEAD, *(_section(table, kind) for table, kind in TABLES.items())]
    return "\n".join(sections)


def list_keys() -> dict[str, str]:
    """The dotted keys outside of lists, such as train.seed, with their meanings."""
    return {
        f"{table.strip('[]')}.{name}": field.description or ""
        for table, kind in TABLES.items()
        if not table.startswith("[[")
        for name, field in _fields_of(kind).items()
        if not _tables_of(field.annotation)
    }


def _section(table: str, kind: Any) -> str:
    summary = " ".join(line.strip() for line in kind.__doc__.strip().splitlines())
    summary = summary.replace("  ", "\n\n")
    lines = [f"## `{table}`", "", summary, "", "| key | value | default | meaning |"]
    lines.append("| --- | --- | --- | --- |")
    for name, field in _fields_of(kind).items():
        if get_args(field.annotation) and _tables_of(field.annotation):
            continue  # it has a section of its own
        cells = (f"`{name}`", _values(field), _default(field), field.description or "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _fields_of(kind: Any) -> dict[str, FieldInfo]:
    """The fields of a pydantic dataclass, by name."""
    return dict(kind.__pydantic_fields__)


def _tables_of(annotation: Any) -> list[Any]:
    """The dataclasses with a section of their own in a type such as tuple[Phase, ...]."""
    return [part for part in get_args(annotation) if part in TABLES.values()]


def _values(field: FieldInfo) -> str:
    """The values that a key takes, in words."""
    annotation = field.annotation
    bounds = []
    for limit in field.metadata:
        for attribute, sign in COMPARISONS.items():
            if hasattr(limit, attribute):
                bounds.append(f"{sign} {getattr(limit, attribute)}")
    return ", ".join([_type_name(annotation), *bounds])


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(annotation))
    # int | str is the first, int | Literal["auto"] the second.
    if get_origin(annotation) in (UnionType, Union):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        return " or ".join(_type_name(part) for part in parts)
    if get_origin(annotation) is tuple:
        return "list of whole numbers"
    return TYPE_NAMES[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return f"`{value}`"


if __name__ == "__main__":
    write_text(Path("docs/configuration.md"), configuration_markdown())
