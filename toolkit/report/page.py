"""The page of a run: one HTML file with all that is known of it."""

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import config
from toolkit.core.files import write_text
from toolkit.core.progress import Progress, silent
from toolkit.data.cleaning import list_counts
from toolkit.data.dataset import Samples
from toolkit.report import charts, examples, recipe
from toolkit.report.contents import Contents, read
from toolkit.report.html import render
from toolkit.report.score_sections import describe_scores
from toolkit.training.history import Epoch
from toolkit.training.run_folder import Run

FILE = "report.html"  # in the run folder
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
# A section is left out where the run lacks what it tells of.
NEEDED = {
    "corruptions": "evaluated",
    "classes": "evaluated",
    "mistakes": "evaluated",
    "confidence": "evaluated",
    "views": "view_rows",
    "training": "history_chart",
    "augmentation": "augmentations",
    "cleaning": "cleaned",
}
NO_PICTURES = "The training file is not there, so no pictures are shown: give it with --data."


def write_report(run: Run, samples: Samples, progress: Progress = silent) -> None:
    """Writes FILE into the folder of `run`. samples: of its training file."""
    write_run_page(read(run).with_samples(samples), run.folder / FILE, progress)


def write_run_page(contents: Contents, path: Path, progress: Progress = silent) -> None:
    """Writes the page of a run. Pictures of images need `contents.samples`."""
    write_text(path, render("run.html", _describe_run(contents, progress)))


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
    if contents.evaluated is not None:
        values |= describe_scores(contents, contents.evaluated)
    values |= _describe_training(contents)
    values |= _describe_cleaning(contents)
    values["augmentations"] = _draw_augmentations(contents, progress)
    absent = {section for section, key in NEEDED.items() if not values.get(key)}
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
    chart = "" if found.points is None else charts.draw_cleaning(found.points, found.kept)
    dropped = examples.list_dropped(contents.samples, found) if contents.samples else []
    return {
        "cleaning_rows": list_counts(found.reasons),
        "cleaning_chart": chart,
        "dropped": dropped,
    }


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
