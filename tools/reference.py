"""docs/reference.md, made from the commands and their options.

As a program, `python -m tools.reference`, it writes the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from toolkit.core.files import write_text
from tools.cli import cli

HEAD = """# Reference

`make docs-generated` makes this page of the commands; change their docstrings and options instead.
[Commands](commands.md) says what they are for.
"""
WIDTH = 110  # characters of a usage line


def reference_markdown() -> str:
    """The document: a section for each command, in the order of their names."""
    sections = [_describe(context) for context in walk()]
    return "\n".join([HEAD, *sections])


def walk() -> Iterator[click.Context]:
    """The contexts of all commands, groups before their commands."""
    yield from _walk(cli.make_context("cbtool", [], resilient_parsing=True))


def _walk(context: click.Context) -> Iterator[click.Context]:
    yield context
    group = context.command
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from _walk(command.make_context(name, [], parent=context, resilient_parsing=True))


def _describe(context: click.Context) -> str:
    command = context.command
    lines = [f"## {context.command_path}", ""]
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines += ["```", usage, "```", "", *_text(command.help or ""), ""]
    records = [
        (parameter, parameter.get_help_record(context))
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts
    ]
    if records:
        lines += ["| option | meaning |", "| --- | --- |"]
        for _, record in records:
            if record:
                names, meaning = record
                lines.append(f"| `{names.strip()}` | {_cell(meaning)} |")
        lines.append("")
    if isinstance(command, click.Group):
        lines += ["| command | |", "| --- | --- |"]
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            path = f"{context.command_path} {name}"
            lines.append(f"| [{path}](#{_anchor(path)}) | {inner.get_short_help_str(WIDTH)} |")
        lines.append("")
    return "\n".join(lines)


def _text(help_text: str) -> list[str]:
    """A docstring as paragraphs, a line each."""
    paragraphs = re.split(r"\n\s*\n", help_text.replace("\b", "").strip())
    joined = [" ".join(paragraph.split()) for paragraph in paragraphs]
    return "\n\n".join(joined).split("\n")


def _cell(text: str) -> str:
    """`text` as a cell of a table: what is in square brackets is no link, a bar no border."""
    return " ".join(text.split()).replace("|", "\\|").replace("[", "\\[")


def _anchor(title: str) -> str:
    return title.replace(" ", "-")


if __name__ == "__main__":
    write_text(Path("docs/reference.md"), reference_markdown())
