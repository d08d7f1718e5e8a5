"""`cbtool build`: write the zip that CodaBench takes."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from toolkit.core.contract import AN2DL2024
from tools import completion, contracts, live, options, output, recent
from tools.evaluate import load_data
from tools.lazy import lazy_imports

with lazy_imports():
    from toolkit.data import dataset
    from toolkit.export import (
        champion,
        custom_objects,
        equivalence,
        keras_package,
        manifest,
        package,
        preprocessing,
        saved_model,
    )
    from toolkit.training import run_folder


@click.command()
@click.option(
    "--run",
    "folders",
    type=options.PATH,
    multiple=True,
    metavar="DIR",
    help=(
        "The run folder. May be repeated: the zip averages the networks. [default: the latest "
        "complete one in runs/; where there is none, the champion that comes with cbtool]"
    ),
)
@click.option(
    "--model",
    "model_file",
    type=options.PATH,
    metavar="FILE|DIR",
    help="A model saved by Keras, .keras, .h5 or Keras 2's SavedModel folder, instead of a run.",
)
@click.option(
    "--preprocess",
    metavar="NAME|FILE",
    default="none",
    show_default=True,
    shell_complete=completion.preprocessing,
    help=(
        "What --model expects of pixels in 0..255, where no layer of it does that: rescale to "
        "0..1; preprocess_input in the mode tf, imagenet (torch) or caffe; or a TOML file with "
        "channels, divide, mean and std."
    ),
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["operations", "keras"]),
    default="operations",
    show_default=True,
    help=(
        "With --model: plain operations of TensorFlow, faster and the same in every version; or "
        "code that builds the network with Keras, for layers that these lack."
    ),
)
@click.option(
    "--custom-objects",
    "custom_file",
    type=options.PATH,
    metavar="FILE.py",
    help=(
        "With --as keras: the code of layers of your own in --model. It is run here and travels in "
        "the zip."
    ),
)
@click.option(
    "--out",
    type=options.PATH,
    default=Path("submission.zip"),
    show_default=True,
    metavar="FILE",
    help="The zip to write.",
)
@click.option(
    "--weights",
    type=click.Choice(["float16", "float32"]),
    help=(
        "Type of the stored kernels; float32 doubles the zip. [default: that of the package, else "
        "float16]"
    ),
)
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help=(
        "The evaluator's time limit: predict uses fewer views when time runs short. 0 for none. "
        "[default: the competition's]"
    ),
)
@click.option(
    "--images",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help=(
        "Size of the hidden test set, if the evaluator passes it in several calls. [default: one "
        "call]"
    ),
)
@click.option(
    "--data",
    "data_file",
    type=options.PATH,
    metavar="FILE",
    help=(
        "With --model: labelled images that it was not trained on. With --run: the training file. "
        "[default with --run: the path that `train` used]"
    ),
)
@options.classes
@options.json
@options.quiet
def build(
    folders: tuple[Path, ...],
    model_file: Path | None,
    preprocess: str,
    form: str,
    custom_file: Path | None,
    out: Path,
    weights: str | None,
    time_limit: float | None,
    images: int,
    data_file: Path | None,
    classes: int | None,
    as_json: bool,
) -> None:
    """Write submission.zip from runs or a Keras model.

    Without a run and a model, it is the champion that comes with cbtool, trained for AN2DL 2024.

    The zip contains model.py, manifest.json and weights.h5, without folders or compression. The
    same run gives the same bytes. If the run has no package, the network is first rewritten for
    speed, and each rewrite is compared with the trained network on validation images. The build
    stops when more than one label in a thousand changes; one label may always change.

    With --model, a network that Keras saved is rewritten and compared in the same way, on the
    images of --data. No code of its file is run: Lambda layers and classes of your own are refused.
    With --as keras, other layers of Keras are accepted, too, and classes of your own whose code is
    in --custom-objects: the zip's model.py builds the network with Keras. Validate it: versions of
    Keras differ.
    """
    if folders and model_file is not None:
        raise click.UsageError("give either --run DIR or --model FILE.")
    if custom_file is not None and form != "keras":
        raise click.UsageError("--custom-objects is for --as keras.")
    if form == "keras":
        others = weights or time_limit or images
        built = _build_with_keras(
            model_file, preprocess, custom_file, out, data_file, classes, others
        )
    elif model_file is not None:
        built = _build_model(
            model_file, preprocess, out, weights, time_limit, images, data_file, classes
        )
    elif preprocess != "none":
        raise click.UsageError("--preprocess is for --model; a run knows its own.")
    elif not folders and recent.has_no_runs():
        built = _build_champion(out, time_limit, images, weights or data_file)
    else:
        built = _build_runs(folders, out, weights, time_limit, images, data_file)
    if as_json:
        output.as_json(_describe(built))
    else:
        _show(built)
    if model_file is not None and form == "operations" and preprocess == "none":
        output.hint(
            "If that is less than you know of the model, say what it expects: --preprocess."
        )
    output.hint(f"Next: cbtool validate {out}")


@dataclass(frozen=True)
class Built:
    """A zip. networks: of its manifest, none for --as keras. time_limit: in seconds, 0 for none.
    steps: how each rewrite compares, by what was rewritten; images: on which. accuracy: on them."""

    out: Path
    digest: str
    networks: tuple[manifest.NetworkEntry, ...]
    time_limit: float
    steps: dict[str, tuple[equivalence.RewriteComparison, ...]]
    images: str = ""
    accuracy: float | None = None


def _build_runs(
    folders: tuple[Path, ...],
    out: Path,
    weights: str | None,
    time_limit: float | None,
    images: int,
    data_file: Path | None,
) -> Built:
    folders = folders or (recent.choose_run(None),)
    chosen = [run_folder.open_finished(folder) for folder in folders]
    contract = contracts.of_run(chosen[0])
    for run in chosen:
        if not run.inference.exists():
            output.hint(
                f"{run.folder} is not evaluated: its network predicts each image once, without the "
                f"views and corrections that raise the score. First: cbtool evaluate --run "
                f"{run.folder}"
            )
    if time_limit is None:
        time_limit = contract.time_limit
    # The training file is large: it is read only where a package has to be made.
    load_samples = functools.partial(load_data, data_file=data_file)
    with live.stages() as stages, stages.stage("build") as progress:
        digest = package.build(
            chosen, out, load_samples, weights, time_limit, images, progress, contract
        )
    comparisons = {str(run.folder): package.read_comparison(run) for run in chosen}
    count = next(iter(comparisons.values())).images
    return Built(
        out,
        digest,
        tuple(manifest.read_manifest(run.package).networks[0] for run in chosen),
        time_limit,
        {name: found.steps for name, found in comparisons.items()},
        f"{count:,} validation images",
    )


def _build_champion(out: Path, time_limit: float | None, images: int, others: object) -> Built:
    """others: whether options were given that only runs and models have."""
    if others:
        raise click.UsageError("--weights and --data need --run DIR or --model FILE.")
    contract = contracts.current()
    if time_limit is None:
        time_limit = contract.time_limit
    with live.stages() as stages, stages.stage("build"):
        digest = champion.write_zip(out, time_limit, images, contract)
    output.hint(
        "There is no run in runs/: this is the champion that comes with cbtool, trained for "
        f"{AN2DL2024.name} (docs/champion.md)."
    )
    return Built(out, digest, manifest.read_manifest(champion.FOLDER).networks, time_limit, {})


def _build_model(
    model_file: Path,
    preprocess: str,
    out: Path,
    weights: str | None,
    time_limit: float | None,
    images: int,
    data_file: Path | None,
    classes: int | None,
) -> Built:
    if data_file is None:
        raise click.UsageError("--model needs --data FILE: labelled images to compare it on.")
    contract = contracts.current()
    if time_limit is None:
        time_limit = contract.time_limit
    with live.stages() as stages, tempfile.TemporaryDirectory(prefix="cbtool-") as place:
        folder = Path(place) / "package"
        with stages.stage("build") as progress:
            wanted = preprocessing.read(preprocess)
            samples = dataset.load(data_file, classes, contract)
            progress(0, 1, f"reading {model_file}")
            shape = samples.images.shape[1:]
            model = saved_model.read_model(model_file, shape)
            model = preprocessing.add(model, wanted, shape)
            comparison = package.export_model(
                model, samples, folder, weights or "float16", progress
            )
            digest = package.write_zip([folder], out, time_limit, images, contract)
        with stages.stage("predict"):
            accuracy = package.measure_accuracy(folder, samples)
        written = manifest.read_manifest(folder)
    shown = f"{len(samples):,} images of {data_file}"
    steps = {str(model_file): comparison.steps}
    return Built(out, digest, written.networks, time_limit, steps, shown, accuracy)


def _build_with_keras(
    model_file: Path | None,
    preprocess: str,
    custom_file: Path | None,
    out: Path,
    data_file: Path | None,
    classes: int | None,
    others: object,
) -> Built:
    """others: whether options were given that only operations have."""
    if model_file is None or data_file is None:
        raise click.UsageError("--as keras needs --model FILE and --data FILE.")
    if others:
        raise click.UsageError("--weights, --time-limit and --images are not for --as keras.")
    contract = contracts.current()
    with live.stages() as stages, stages.stage("build") as progress:
        wanted = preprocessing.read(preprocess)
        samples = dataset.load(data_file, classes, contract)
        custom = None
        if custom_file is not None:
            output.hint(f"Warning: {custom_file} is run now. Give only code that you trust.")
            custom = custom_objects.load(custom_file)
        progress(0, 1, f"reading {model_file}")
        shape = samples.images.shape[1:]
        layers = custom.layers if custom else {}
        model = saved_model.read_model(model_file, shape, any_layer=True, custom=layers)
        model = preprocessing.add(model, wanted, shape)
        digest, step, accuracy = keras_package.write_zip(model, samples, out, contract, custom)
    shown = f"{len(samples):,} images of {data_file}"
    return Built(out, digest, (), 0.0, {str(model_file): (step,)}, shown, accuracy)


def _show(built: Built) -> None:
    for name, steps in built.steps.items():
        rows = [
            (step.rewrite, f"{step.max_relative_difference:.1e}", step.label_agreement)
            for step in steps
        ]
        output.table(
            ("rewrite", "largest relative difference", "labels agree"),
            rows,
            title=f"{name}: comparison with the trained network on {built.images}",
        )
    changed = any(step.label_agreement < 1 for steps in built.steps.values() for step in steps)
    if changed and built.networks:
        output.hint(
            "A label that changed counts only where the trained network held its own class more "
            f"likely by over {equivalence.TIE_MARGIN:g}; one may always change."
        )
    rows_of_zip: list[tuple[str, Any]] = [
        ("zip", str(built.out)),
        ("bytes", built.out.stat().st_size),
        ("sha256", built.digest),
    ]
    if built.networks:
        uses = ["use it" if each.bfloat16 else "do not use it" for each in built.networks]
        rows_of_zip += [
            ("views", "; ".join(", ".join(network.views) for network in built.networks)),
            ("CPUs with bfloat16", "; ".join(uses)),
            ("time limit", f"{built.time_limit:g} s" if built.time_limit else "none"),
        ]
    output.table(("", ""), rows_of_zip)
    if built.accuracy is not None:
        click.echo(f"accuracy {built.accuracy:.4f} on {built.images}")


def _describe(built: Built) -> dict[str, Any]:
    """`built`, ready for JSON."""
    return {
        "zip": str(built.out),
        "bytes": built.out.stat().st_size,
        "sha256": built.digest,
        "networks": [
            {
                "backbone": network.backbone,
                "views": list(network.views),
                "bfloat16": network.bfloat16,
                "gflop": network.gflop,
            }
            for network in built.networks
        ],
        "time_limit": built.time_limit or None,
        "comparisons": {
            name: [vars(step) for step in steps] for name, steps in built.steps.items()
        },
        "compared_on": built.images or None,
        "accuracy": built.accuracy,
    }
