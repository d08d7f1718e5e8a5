"""What a page says of a run: everything is read from the run folder, and from the training file
where it is there."""

import csv
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.core import config, records
from toolkit.core.config import Config
from toolkit.core.contract import Contract
from toolkit.core.damage import guard
from toolkit.core.errors import InputError
from toolkit.data.dataset import Samples
from toolkit.evaluation import metrics
from toolkit.evaluation.metrics import Estimate, Scores
from toolkit.evaluation.predictions import Predictions, read_predictions
from toolkit.evaluation.shift_benchmark import CHAINED, CLEAN
from toolkit.export import zip_ledger
from toolkit.training import headline, run_folder
from toolkit.training.headline import Headline
from toolkit.training.history import Epoch, read_history
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class Cleaned:
    """What cleaning found. ids: int64 [n]; reasons: "" where an image is kept; points: float [n,
    2], None for runs that did not store them."""

    ids: np.ndarray
    reasons: tuple[str, ...]
    points: np.ndarray | None

    @property
    def kept(self) -> np.ndarray:
        """bool [n]"""
        return np.array([reason == "" for reason in self.reasons])


@dataclass(frozen=True)
class Evaluated:
    """The scores of a held-out part. families: by severity. scores, predictions: of the clean
    images, and of their chains of corruptions. absent: families that the training lacks.
    stand_in: the one that stands for an unknown one in the estimate, where one does."""

    part: str
    metric: str
    headline: Headline
    intervals: dict[str, Estimate]
    families: dict[str, list[Estimate]]
    absent: list[str]
    stand_in: str | None
    scores: dict[str, Scores]
    predictions: dict[str, Predictions]


@dataclass(frozen=True)
class Contents:
    """A run. None: what it has not come to yet. tta: the choice of views, as metrics.json has it.
    zips: those that were built from it alone. samples: of the training file."""

    run: Run
    settings: Config
    contract: Contract
    provenance: dict[str, Any]
    class_names: tuple[str, ...]
    epochs: list[Epoch]
    training: dict[str, Any] | None
    cleaned: Cleaned | None
    evaluated: Evaluated | None
    tta: dict[str, Any] | None
    zips: list[zip_ledger.Entry]
    samples: Samples | None = None

    def with_samples(self, samples: Samples | None) -> "Contents":
        """The same, with the images of the training file."""
        return replace(self, samples=samples)


def read(run: Run) -> Contents:
    """Everything that the folder of `run` holds. Raises InputError for a folder that is no run, or
    whose files are damaged."""
    provenance = run_folder.read_provenance(run)
    names = tuple(provenance["class_names"])
    training = None
    if run.finished.exists():
        training = records.read(dict[str, Any], run.finished, "Train the run again.")
    part, values = headline.read_part(run)
    evaluated = _read_evaluated(run, part, values, len(names)) if part else None
    found = records.read(dict[str, Any], run.metrics, "") if evaluated else {}
    ledger = zip_ledger.read(run.folder.parent)
    return Contents(
        run=run,
        settings=config.read(run.config),
        contract=run_folder.read_contract(run),
        provenance=provenance,
        class_names=names,
        epochs=read_history(run) if run.history.exists() else [],
        training=training,
        cleaned=_read_cleaned(run) if run.clean.exists() else None,
        evaluated=evaluated,
        tta=found.get("tta"),
        zips=[entry for entry in ledger if entry.runs == (run.folder.name,)],
    )


def _read_evaluated(run: Run, part: str, values: dict[str, Any], classes: int) -> Evaluated:
    hint = f"Run: cbtool evaluate --run {run.folder}."
    predictions = {name: read_predictions(run, part, name) for name in (CLEAN, CHAINED)}
    with guard(run.metrics, hint, "is damaged or from an earlier version"):
        return Evaluated(
            part=part,
            metric=str(values.get("metric", "accuracy")),
            headline=headline.take_headline(values),
            intervals={name: Estimate(**values["intervals"][name]) for name in (CLEAN, CHAINED)},
            families={
                family: [Estimate(**score) for score in row]
                for family, row in values["families"].items()
            },
            absent=list(values["absent_families"]),
            stand_in=values.get("stand_in_family"),
            scores={
                name: metrics.score(found.labels, found.predicted, classes)
                for name, found in predictions.items()
            },
            predictions=predictions,
        )


def _read_cleaned(run: Run) -> Cleaned:
    with guard(run.clean, "Train the run again."):
        with run.clean.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise InputError(f"{run.clean} is empty.", "Train the run again.")
        points = None
        if "x" in rows[0]:
            points = np.array([(float(row["x"]), float(row["y"])) for row in rows])
        return Cleaned(
            np.array([int(row["id"]) for row in rows]),
            tuple(row["reason"] for row in rows),
            points,
        )
