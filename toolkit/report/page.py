"""The page of a run, and that of several runs side by side: one HTML file each, with all that it
shows."""

import base64
import hashlib
import re
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from toolkit.core import config
from toolkit.core.files import write_text
from toolkit.core.metrics import LOWER_IS_BETTER
from toolkit.core.progress import Progress, silent
from toolkit.data.dataset import Samples
from toolkit.evaluation.metrics import Scores
from toolkit.evaluation.shift_benchmark import CHAINED, CLEAN
from toolkit.export.manifest import PLAIN_VIEW
from toolkit.report import charts, examples, grad_cam, recipe
from toolkit.report.contents import Contents, Evaluated, read
from toolkit.training.best_network import load_best_network
from toolkit.training.history import Epoch
from toolkit.training.run_folder import Run

FILE = "report.html"  # in the run folder
CONDITIONS = {CLEAN: "clean images", CHAINED: "chains of corruptions"}
SECTIONS = {
    "scores": "Scores",
    "corruptions": "Corruptions",
    "classes": "Classes",
    "mistakes": "Mistakes",
    "confidence": "Confidence",
    "views": "Views",
    "training": "Training",
    "augmentation": "Augmentation",
    "cleaning": "Cleaning",
    "zip": "Zip",
    "recipe": "Recipe",
}
MATRIX_LIMIT = 40  # classes; nobody reads a larger matrix, and a page of it is slow
NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?")
NO_PICTURES = "The training file is not there, so no pictures are shown: give it with --data."


def write_report(run: Run, samples: Samples, progress: Progress = silent) -> None:
    """Writes FILE into the folder of `run`. samples: of its training file."""
    write_run_page(read(run).with_samples(samples), run.folder / FILE, progress)


def write_run_page(contents: Contents, path: Path, progress: Progress = silent) -> None:
    """Writes the page of a run. Pictures of images need `contents.samples`."""
    write_text(path, render("run.html", _describe_run(contents, progress)))


def render(template: str, values: dict[str, Any]) -> str:
    """The page that `template` makes of `values`; whatever is text in them is shown as text."""
    environment = Environment(
        loader=PackageLoader("toolkit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = format_cell
    environment.tests["numeric"] = is_numeric
    loaded = {name: _read_template(environment, name) for name in ("page.css", "page.js")}
    digest = base64.b64encode(hashlib.sha256(loaded["page.js"].encode()).digest()).decode()
    return environment.get_template(template).render(
        values,
        style=Markup(loaded["page.css"]),
        script=Markup(loaded["page.js"]),
        script_hash=f"sha256-{digest}",
        version=metadata.version("cbtool"),
        written=f"{datetime.now():%d %B %Y, %H:%M}",
    )


def is_numeric(value: Any) -> bool:
    """Whether a cell is a number, or the text of one, such as "+0.25"."""
    return isinstance(value, (int, float)) or NUMBER.fullmatch(str(value)) is not None


def format_cell(value: Any) -> str:
    """A cell of a table, as a person reads it."""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _read_template(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _describe_run(contents: Contents, progress: Progress) -> dict[str, Any]:
    """All that run.html shows; what is not known is empty."""
    values: dict[str, Any] = {
        "title": contents.run.folder.resolve().name,
        "summary": _summarise(contents),
        "class_names": contents.class_names,
        "evaluated": contents.evaluated,
        "next_command": _find_next_command(contents),
        "cleaned": contents.cleaned,
        "no_pictures": NO_PICTURES,
        "configuration": config.to_text(contents.settings),
        "provenance_rows": _list_provenance(contents),
        "zip_rows": _list_zips(contents),
    }
    nearest, differences = recipe.find_nearest_preset(contents.settings)
    values["nearest"] = nearest
    values["recipe_rows"] = [(key, *pair) for key, pair in differences]
    values |= _describe_evaluation(contents)
    values |= _describe_training(contents)
    values |= _describe_cleaning(contents)
    values["augmentations"] = _draw_augmentations(contents, progress)
    absent = {"corruptions", "classes", "mistakes", "confidence"} if not values["tiles"] else set()
    for key, section in (
        ("view_rows", "views"),
        ("history_chart", "training"),
        ("augmentations", "augmentation"),
        ("cleaned", "cleaning"),
    ):
        if not values[key]:
            absent.add(section)
    values["sections"] = [(id_, name) for id_, name in SECTIONS.items() if id_ not in absent]
    return values


def _summarise(contents: Contents) -> str:
    height, width = contents.provenance["image_shape"][:2]
    backbone, classes = contents.settings.model.backbone, len(contents.class_names)
    return (
        f"{contents.contract.name}: {backbone}, {classes} classes, images of {width} × {height} "
        f"pixels, seed {contents.provenance['seed']}."
    )


def _find_next_command(contents: Contents) -> str:
    folder = contents.run.folder
    if contents.training is None:
        return f"cbtool train --resume {folder}"
    if contents.evaluated is None:
        return f"cbtool evaluate --run {folder}"
    if not contents.zips:
        return f"cbtool build --run {folder} --out submission.zip"
    return f"cbtool validate {contents.zips[-1].shown_path}"


def _describe_evaluation(contents: Contents) -> dict[str, Any]:
    found = contents.evaluated
    if found is None:
        empty = "tiles worst_classes family_columns family_rows corruptions class_rows confusions "
        empty += "mistakes explained view_rows"
        values: dict[str, Any] = {name: [] for name in empty.split()}
        return values | {"severity_chart": "", "reliability_chart": "", "bounded": False}
    severities = len(next(iter(found.families.values())))
    labels = {name: _label(found, name) for name in CONDITIONS}
    names = contents.class_names
    mistakes = _list_mistakes(contents)
    recalls = [(names[number], row[1]) for number, row in enumerate(_per_class(found, CHAINED))]
    return {
        "tiles": _list_tiles(found),
        "bounded": found.metric not in LOWER_IS_BETTER,
        "worst_classes": sorted(recalls, key=lambda entry: entry[1])[:3],
        "severity_chart": charts.draw_severities(found.families, found.metric),
        "family_columns": ["family", *(f"severity {number + 1}" for number in range(severities))],
        "family_rows": [
            (family, *(f"{one.value:.3f} ±{(one.high - one.low) / 2:.3f}" for one in row))
            for family, row in found.families.items()
        ],
        "corruptions": _draw_corruptions(contents),
        "class_rows": [
            (labels[name], [(names[i], *row) for i, row in enumerate(_per_class(found, name))])
            for name in CONDITIONS
        ],
        "confusions": [
            (labels[name], _shade(found.scores[name]))
            for name in CONDITIONS
            if len(names) <= MATRIX_LIMIT
        ],
        "mistakes": mistakes,
        "explained": _explain(contents, mistakes),
        "reliability_chart": charts.draw_reliability(
            {CONDITIONS[name]: found.predictions[name] for name in CONDITIONS}
        ),
        "view_rows": _list_views(contents),
    }


def _label(found: Evaluated, condition: str) -> str:
    """A title that says part, condition and accuracy."""
    return (
        f"{found.part} part, {CONDITIONS[condition]}: accuracy "
        f"{found.scores[condition].accuracy:.3f}"
    )


def _per_class(found: Evaluated, condition: str) -> tuple[tuple[float, float, float, int], ...]:
    return found.scores[condition].per_class


def _list_tiles(found: Evaluated) -> list[dict[str, Any]]:
    headline = found.headline
    estimate = {
        "name": "estimated for a hidden test set",
        "value": headline.estimated_score,
        "low": headline.estimated_low,
        "high": headline.estimated_high,
    }
    measured = [
        {"name": CONDITIONS[name], "value": one.value, "low": one.low, "high": one.high}
        for name, one in found.intervals.items()
    ]
    return [estimate, *measured]


def _shade(scores: Scores) -> list[list[dict[str, Any]]]:
    """The confusion matrix with the share of each cell in its row."""
    totals = np.maximum(scores.confusion.sum(axis=1, keepdims=True), 1)
    shares = scores.confusion / totals
    return [
        [{"count": int(count), "share": float(share)} for count, share in zip(*row)]
        for row in zip(scores.confusion, shares)
    ]


def _list_mistakes(contents: Contents) -> list[tuple[str, list[examples.Mistake]]]:
    if contents.samples is None or contents.evaluated is None:
        return []
    found = contents.evaluated.predictions
    return [
        (CONDITIONS[name], examples.list_mistakes(contents.samples, found[name], name == CHAINED))
        for name in CONDITIONS
    ]


def _explain(
    contents: Contents, mistakes: list[tuple[str, list[examples.Mistake]]]
) -> dict[str, list[examples.Strip]]:
    """Grad-CAM of a few mistakes, by condition; nothing for a network without a feature map."""
    if not any(found for _, found in mistakes) or not contents.run.checkpoint.exists():
        return {}
    model = load_best_network(contents.run)
    explained = {}
    for name, found in mistakes:
        if found:
            with suppress(grad_cam.NoMap):
                explained[name] = examples.explain_mistakes(model, found)
    return explained


def _draw_corruptions(contents: Contents) -> list[examples.Strip]:
    if contents.samples is None or contents.evaluated is None:
        return []
    first = contents.evaluated.predictions[CLEAN].ids[0]
    row = int(np.flatnonzero(contents.samples.ids == first)[0])
    return examples.list_corruptions(contents.samples, row)


def _list_views(contents: Contents) -> list[tuple[Any, ...]]:
    if contents.tta is None:
        return []
    chosen = contents.tta["chosen"]["views"]
    rows = []
    for alone in contents.tta["alone"]:
        view, gain = alone["views"][-1], alone["gain"]
        used = "yes" if view in chosen else ""
        rows.append((view, *_format_gain(gain), used))
    gain = contents.tta["chosen"]["gain"]
    together = "all that are used" if chosen != [PLAIN_VIEW] else "none is used"
    return [*rows, (together, *_format_gain(gain), "")]


def _format_gain(gain: dict[str, float]) -> tuple[str, str, str]:
    return f"{gain['value']:+.4f}", f"{gain['low']:+.4f}", f"{gain['high']:+.4f}"


def _describe_training(contents: Contents) -> dict[str, Any]:
    epochs = contents.epochs
    if not epochs:
        return {"history_chart": "", "training_summary": "", "phase_rows": []}
    monitor = contents.settings.train.monitor
    summary = f"{len(epochs)} epochs; the kept one is chosen by {monitor}."
    if contents.training:
        minutes = contents.training["seconds"] / 60
        devices = ", ".join(str(device) for device in contents.training["devices"])
        summary += f" {minutes:.0f} minutes on {devices}."
    else:
        summary += " The training is not finished."
    return {
        "history_chart": charts.draw_history(epochs, monitor),
        "training_summary": summary,
        "phase_rows": [_summarise_phase(contents, number) for number in _list_phases(epochs)],
    }


def _list_phases(epochs: list[Epoch]) -> list[int]:
    return sorted({epoch.phase for epoch in epochs})


def _summarise_phase(contents: Contents, phase: int) -> tuple[Any, ...]:
    epochs = [epoch for epoch in contents.epochs if epoch.phase == phase]
    planned = contents.settings.train.phases[phase].epochs
    return (
        phase + 1,
        f"{len(epochs)} of {planned}",
        round(sum(epoch.seconds for epoch in epochs)),
        max(epoch.val_accuracy for epoch in epochs),
        max(epoch.val_shift_accuracy for epoch in epochs),
    )


def _describe_cleaning(contents: Contents) -> dict[str, Any]:
    found = contents.cleaned
    if found is None:
        return {"cleaning_rows": [], "cleaning_chart": "", "dropped": []}
    rows = [("kept", int(found.kept.sum()))]
    rows += [(f"dropped: {reason}", count) for reason, count in found.counts]
    chart = "" if found.points is None else charts.draw_cleaning(found.points, found.kept)
    dropped = examples.list_dropped(contents.samples, found) if contents.samples else []
    return {"cleaning_rows": rows, "cleaning_chart": chart, "dropped": dropped}


def _draw_augmentations(contents: Contents, progress: Progress) -> list[examples.Strip]:
    if contents.samples is None or not contents.settings.augment:
        return []
    samples, total = contents.samples, len(contents.settings.augment) + 4
    if contents.cleaned is not None and len(contents.cleaned.ids) == len(samples):
        samples = samples.take(np.flatnonzero(contents.cleaned.kept))
    strips = []
    for number, strip in enumerate(examples.list_augmentations(samples, contents.settings)):
        progress(number, total, strip.name)
        strips.append(strip)
    return strips


def _list_zips(contents: Contents) -> list[tuple[Any, ...]]:
    rows = []
    for entry in contents.zips:
        path = entry.shown_path
        megabytes = f"{path.stat().st_size / 1e6:.1f}" if path.is_file() else "gone"
        online = ", ".join(f"{one.phase} {one.score:g}" for one in entry.online)
        seconds = "not timed" if entry.seconds is None else f"{entry.seconds:.0f}"
        rows.append((entry.file, entry.built, megabytes, seconds, entry.images or "", online))
    return rows


def _list_provenance(contents: Contents) -> list[tuple[str, str]]:
    known = contents.provenance
    keys = ("created", "data", "fingerprint", "git", "python", "machine")
    rows: list[tuple[str, str]] = [(key, str(known[key])) for key in keys if known.get(key)]
    rows += [(name, str(number)) for name, number in (known.get("versions") or {}).items()]
    return rows
