"""A competition of one's own: the bundle in which CodaBench runs submissions and scores them, as
its contract says."""

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

from toolkit.core import metrics
from toolkit.core.contract import AN2DL2024, Contract, MetricName
from toolkit.core.errors import InputError
from toolkit.core.files import atomic
from toolkit.core.metrics import LOWER_IS_BETTER
from toolkit.data.channels import from_rgb
from toolkit.data.dataset import Samples

DOCKER_IMAGES = "tensorflow/tensorflow"
LOGO_SIDE = 2  # images in a row
MAX_SUBMISSIONS = 100  # a person, in a phase
MEANINGS: dict[MetricName, str] = {
    "accuracy": "the share of hidden images whose class was predicted",
    "macro-f1": "the mean over the classes of F1, the harmonic mean of precision and recall",
    "balanced-accuracy": "the mean over the classes of the share of their images that was found",
    "log-loss": "the mean negative logarithm of the true class's probability; lower is better",
    "quadratic-kappa": "Cohen's kappa, in which an error counts as the square of its distance",
}
RETURNED = {
    "labels": "integers (n,)",
    "one-hot": "one 1 a row among zeros, (n, classes)",
    "probabilities": "probabilities (n, classes), each row sums to 1",
    "logits": "scores before the softmax, (n, classes)",
    "csv": "the path of a CSV file with one row an image: its number, from 0 on, and its label",
}


@dataclass(frozen=True)
class HostedPhase:
    """A phase with its hidden images and labels. start: a day; end: to the second, by the server's
    clock, which is UTC; None: it stays open."""

    name: str
    samples: Samples
    start: date
    end: datetime | None = None


@dataclass(frozen=True)
class Settings:
    """title: of the competition. docker_image: that submissions run in. limit: seconds a step.
    per_day: submissions of a person."""

    title: str
    docker_image: str
    limit: int
    per_day: int


def name_docker_image(contract: Contract) -> str:
    """The image of the TensorFlow that `contract` names, or else of AN2DL 2024's."""
    return f"{DOCKER_IMAGES}:{contract.tensorflow or AN2DL2024.tensorflow}"


def write_bundle(
    path: Path,
    phases: list[HostedPhase],
    settings: Settings,
    contract: Contract = AN2DL2024,
) -> None:
    """Writes the bundle to `path`: a zip, which CodaBench takes, where it is called so, else a new
    folder.

    contract: what submissions offer, and the metric. Raises InputError when `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise InputError(f"{path} exists.", "Remove it, or choose another name with --out.")
    with tempfile.TemporaryDirectory(prefix="cbtool-") as temporary, atomic(path) as unfinished:
        # Written whole before it takes its name: half a bundle could be uploaded by mistake.
        folder = Path(temporary) / "bundle"
        _write_folder(folder, phases, settings, contract)
        if path.suffix == ".zip":
            shutil.make_archive(str(unfinished.with_suffix("")), "zip", folder)
        else:
            shutil.move(folder, unfinished)


def _write_folder(
    folder: Path, phases: list[HostedPhase], settings: Settings, contract: Contract
) -> None:
    first = phases[0].samples
    words = {
        "title": settings.title,
        "height": first.images.shape[1],
        "width": first.images.shape[2],
        "classes": len(first.class_names),
        "class_names": ", ".join(first.class_names),
        "docker_image": settings.docker_image,
        "limit": settings.limit,
        "metric": contract.metric,
        "meaning": MEANINGS[contract.metric],
        "interface": _write_interface(contract, first.images.shape[1:3]),
    }
    for part in ("ingestion_program", "scoring_program", "pages"):
        (folder / part).mkdir(parents=True)
        for file in resources.files("toolkit.codabench.hosted").joinpath(part).iterdir():
            if file.is_file():
                text = file.read_text(encoding="utf-8")
                if part == "pages":  # in programs a dollar sign may stand for itself
                    text = Template(text).substitute(words)
                (folder / part / file.name).write_text(text, encoding="utf-8")
    described = {
        "style": contract.style,
        "class_name": contract.class_name,
        "method": contract.method,
        "returns": contract.returns,
        "csv_columns": contract.csv_columns,
        "classes": len(first.class_names),
        "metric": contract.metric,
    }
    for program in ("ingestion_program", "scoring_program"):
        text = json.dumps(described, indent=1) + "\n"
        (folder / program / "contract.json").write_text(text, encoding="utf-8")
    # The very code that scores here.
    shutil.copyfile(metrics.__file__, folder / "scoring_program" / "metrics.py")
    for number, phase in enumerate(phases):
        images, labels = folder / f"input_data_{number}", folder / f"reference_data_{number}"
        images.mkdir()
        shown = from_rgb(phase.samples.images, contract.channels)
        np.savez_compressed(images / "images.npz", images=shown)
        labels.mkdir()
        hidden = {"class_names": phase.samples.class_names, "labels": phase.samples.labels.tolist()}
        (labels / "labels.json").write_text(json.dumps(hidden) + "\n", encoding="utf-8")
    # The unpacker insists on an image of the competition, so its first images become one.
    rows = first.images[: LOGO_SIDE**2].reshape(-1, LOGO_SIDE, *first.images.shape[1:])
    Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(
        folder / "logo.png"
    )
    description = _describe(phases, settings, contract)
    text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    (folder / "competition.yaml").write_text(text, encoding="utf-8")


def _write_interface(contract: Contract, size: tuple[int, ...]) -> str:
    """What a participant writes into model.py."""
    doc = (
        f'"""X: uint8 (n, {size[0]}, {size[1]}, {contract.channels}), all images at once. Returns '
        f'{RETURNED[contract.returns]}."""'
    )
    if contract.style == "function":
        return f"def {contract.method}(X):\n    {doc}"
    lines = [
        f"class {contract.class_name}:",
        "    def __init__(self):",
        '        """Loads the weights, by names relative to model.py."""',
        "",
    ]
    if contract.style == "fit":
        lines += ["    def fit(self, X, y):", '        """Is called first."""', ""]
    return "\n".join([*lines, f"    def {contract.method}(self, X):", f"        {doc}"])


def _describe(phases: list[HostedPhase], settings: Settings, contract: Contract) -> dict[str, Any]:
    """The contents of competition.yaml."""
    return {
        "version": 2,
        "title": settings.title,
        "description": "Image classification: submissions are code, run on hidden images.",
        "image": "logo.png",
        "docker_image": settings.docker_image,
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
        "phases": [_describe_phase(number, phase, settings) for number, phase in enumerate(phases)],
        "leaderboards": [
            {
                "title": "Results",
                "key": "results",
                "submission_rule": "Force_Best",
                "columns": [
                    {
                        "title": contract.metric.capitalize(),
                        "key": contract.metric.replace("-", "_"),
                        "index": 0,
                        "sorting": "asc" if contract.metric in LOWER_IS_BETTER else "desc",
                        "precision": 4,
                    }
                ],
            }
        ],
    }


def _describe_phase(number: int, phase: HostedPhase, settings: Settings) -> dict[str, Any]:
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
        "execution_time_limit": settings.limit,
        "max_submissions": MAX_SUBMISSIONS,
        "max_submissions_per_day": settings.per_day,
    }
