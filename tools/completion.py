"""The values that a shell completes: click asks for them when the user presses Tab.

A function for each kind of value. None imports TensorFlow, and none fails: there is nobody to
read an error.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import catalogue, config_docs
    from toolkit.core import presets as heads
    from toolkit.runtime import environments


def presets(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The presets, with what each trains."""
    found = {head.name: head.summary for head in heads.list_heads()}
    return _begin_with(incomplete, found.items())


def backbones(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The backbones, with their sizes."""
    found = {
        name: f"{facts.parameters:g} million parameters"
        for name, facts in catalogue.BACKBONES.items()
    }
    return _begin_with(incomplete, found.items())


def evaluators(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The evaluators' environments, and none."""
    names = [*environments.EVALUATORS, environments.NONE]
    return _begin_with(incomplete, [(name, "") for name in names])


def preprocessing(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The named ways of preparing pixels. Written out, because what uses them imports Keras."""
    names = ("none", "rescale", "tf", "imagenet", "caffe")
    return _begin_with(incomplete, [(name, "") for name in names])


def setting_keys(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The keys of a configuration that have one place, such as train.seed=."""
    keys = config_docs.list_keys()
    return _begin_with(incomplete, [(f"{key}=", meaning) for key, meaning in keys.items()])


def _begin_with(incomplete: str, found: Iterable[tuple[str, str]]) -> list[CompletionItem]:
    return [
        CompletionItem(name, help=meaning or None)
        for name, meaning in found
        if name.startswith(incomplete)
    ]
