"""A competition of one's own: the bundle in which CodaBench runs `Model().predict` and scores its
accuracy."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import yaml
from PIL import Image

from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.data.dataset import Samples

DOCKER_IMAGE = "tensorflow/tensorflow:2.17.0"  # the TensorFlow of AN2DL 2024's evaluator
LOGO_SIDE = 2  # images in a row
MAX_SUBMISSIONS = 100  # a person, in a phase


@dataclass(frozen=True)
class HostedPhase:
    """A phase with its hidden images and labels. start: a day; end: to the second, by the server's
    clock, which is UTC; None: it stays open."""

    name: str
    samples: Samples
    start: date
    end: datetime | None = None


def write_bundle(
    path: Path, title: str, phases: list[HostedPhase], docker_image: str, limit: int, per_day: int
) -> None:
    """Writes the bundle to `path`: a zip, which CodaBench takes, where it is called so, else a new
    folder.

    limit: seconds a step; per_day: submissions of a person. Raises InputError when `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists.", "Remove it, or choose another name with --out.")
    with tempfile.TemporaryDirectory(prefix="cbtool-") as temporary, atomic(path) as unfinished:
        # Written whole before it takes its name: half a bundle could be uploaded by mistake.
        folder = Path(temporary) / "bundle"
        _write_folder(folder, title, phases, docker_image, limit, per_day)
        if path.suffix == ".zip":
            shutil.make_archive(str(unfinished.with_suffix("")), "zip", folder)
        else:
            shutil.move(folder, unfinished)


def _write_folder(
    folder: Path, title: str, phases: list[HostedPhase], docker_image: str, limit: int, per_day: int
) -> None:
    first = phases[0].samples
    words = {
        "title": title,
        "height": first.images.shape[1],
        "width": first.images.shape[2],
        "classes": len(first.class_names),
        "class_names": ", ".join(first.class_names),
        "docker_image": docker_image,
        "limit": limit,
    }
    for part in ("ingestion_program", "scoring_program", "pages"):
        (folder / part).mkdir(parents=True)
        for file in resources.files("toolkit.codabench.hosted").joinpath(part).iterdir():
            if file.is_file():
                text = file.read_text(encoding="utf-8")
                if part == "pages":  # in programs a dollar sign may stand for itself
                    text = Template(text).substitute(words)
                (folder / part / file.name).write_text(text, encoding="utf-8")
    for number, phase in enumerate(phases):
        images, labels = folder / f"input_data_{number}", folder / f"reference_data_{number}"
        images.mkdir()
        np.savez_compressed(images / "images.npz", images=phase.samples.images)
        labels.mkdir()
        hidden = {"class_names": phase.samples.class_names, "labels": phase.samples.labels.tolist()}
        (labels / "labels.json").write_text(json.dumps(hidden) + "\n", encoding="utf-8")
    # The unpacker insists on an image of the competition, so its first images become one.
    rows = first.images[: LOGO_SIDE**2].reshape(-1, LOGO_SIDE, *first.images.shape[1:])
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(
        folder / "logo.png"
    )
    description = _describe(title, phases, docker_image, limit, per_day)
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / "competition.yaml").write_text(text, encoding="utf-8")


def _describe(
    title: str, phases: list[HostedPhase], docker_image: str, limit: int, per_day: int
) -> dict[str, Any]:
    """The contents of competition.yaml."""
    return {
        "version": 2,
        "title": title,
        "description": "Image classification: submissions are code, run on hidden images.",
        "image": "logo.png",
        "docker_image": docker_image,
        "registration_auto_approve": True,
        "enable_detailed_results": True,
        "terms": "pages/terms.md",
        "pages": [
            {"title": "Overview", "file": "pages/overview.md"},
            {"title": "Evaluation", "file": "pages/evaluation.md"},
        ],
        "tasks": [
            {
                "index": number,
                "name": f"{phase.name} images",
                "input_data": f"input_data_{number}",
                "reference_data": f"reference_data_{number}",
                "ingestion_program": "ingestion_program",
                "scoring_program": "scoring_program",
            }
            for number, phase in enumerate(phases)
        ],
        "phases": [
            _describe_phase(number, phase, limit, per_day) for number, phase in enumerate(phases)
        ],
        "leaderboards": [
            {
                "title": "Results",
                "key": "results",
                "submission_rule": "Force_Best",
                "columns": [
                    {
                        "title": "Accuracy",
                        "key": "accuracy",
                        "index": 0,
                        "sorting": "desc",
                        "precision": 4,
                    }
                ],
            }
        ],
    }


def _describe_phase(number: int, phase: HostedPhase, limit: int, per_day: int) -> dict[str, Any]:
    # As texts, which YAML writes in quotes: of a time without quotes the server keeps the day.
    dates = {"start": f"{phase.start:%Y-%m-%d}"}
    if phase.end:
        dates["end"] = f"{phase.end:%Y-%m-%d %H:%M:%S}"
    return {
        "index": number,
        "name": phase.name,
        "description": f"{len(phase.samples)} hidden images",
        **dates,
        "tasks": [number],
        "execution_time_limit": limit,
        "max_submissions": MAX_SUBMISSIONS,
        "max_submissions_per_day": per_day,
    }
