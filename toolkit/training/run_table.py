"""All runs of a folder side by side, in the columns of the report's Table 1."""

import csv
import io
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from toolkit.core import config, documents
from toolkit.core.config import Config, Phase
from toolkit.core.errors import CbtoolError, InputError
from toolkit.training import headline
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class Row:
    """One run. Scores are shares in 0..1 of `part`, the test part where it was opened; None until
    it is evaluated.

    shift: accuracy on chains of corruptions. estimated_score: for a hidden test set.
    test_openings: how often the test part was opened. seconds: of training. megabytes: of the
    package, 10^6 bytes.
    """

    name: str
    backbone: str
    augmentation: str
    fine_tuning: str
    part: str | None
    accuracy: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    shift: float | None
    estimated_score: float | None
    test_openings: int
    seconds: float | None
    megabytes: float | None


COLUMNS = tuple(field.name for field in fields(Row))


def rows(folder: Path) -> list[Row]:
    """The runs directly in `folder`, by name. Raises InputError when there are none."""
    found = sorted(path.parent for path in Path(folder).glob("*/config.toml"))
    if not found:
        raise InputError(
            f"there are no runs in {folder}.", "Train one: cbtool train --preset lite --data FILE."
        )
    return [_make_row(Run(path)) for path in found]


def as_csv(table: list[Row]) -> str:
    """`table` as CSV with a header; what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, column) for column in COLUMNS] for row in table)
    return text.getvalue()


def _make_row(run: Run) -> Row:
    try:
        settings = config.read(run.config)
    except CbtoolError as error:
        raise InputError(
            f"the run {run.folder} cannot be read: {error.sentence}", "Move it to another folder."
        ) from error
    part, found = headline.read_part(run)
    scores_of_part = headline.take_headline(found)
    scores = found.get("scores", {}).get("clean", {})
    megabytes = None
    if run.package.exists():
        size = sum(path.stat().st_size for path in run.package.glob("*"))
        megabytes = round(size / 1e6, 1)
    return Row(
        name=run.folder.name,
        backbone=settings.model.backbone,
        augmentation=_describe_augmentation(settings),
        fine_tuning=", ".join(_describe_phase(phase) for phase in settings.train.phases),
        part=part,
        accuracy=scores.get("accuracy"),
        precision=scores.get("macro_precision"),
        recall=scores.get("macro_recall"),
        f1=scores.get("macro_f1"),
        shift=scores_of_part.shift,
        estimated_score=scores_of_part.estimated_score,
        test_openings=len(_read_json(run.test_openings)),
        seconds=_read_json(run.finished).get("seconds"),
        megabytes=megabytes,
    )


def _describe_augmentation(settings: Config) -> str:
    names = list(dict.fromkeys(operation.name for operation in settings.augment))
    text = ", ".join(names)
    if len(names) > 4:
        text = f"{', '.join(names[:3])} and {len(names) - 3} more"
    if settings.train.blocks:
        return f"{text}, in blocks"
    return text or "none"


def _describe_phase(phase: Phase) -> str:
    layers = str(phase.trainable)
    if isinstance(phase.trainable, float):
        layers = f"last {phase.trainable:.0%}"
    elif isinstance(phase.trainable, int):
        layers = f"from layer {phase.trainable}"
    return f"{layers} × {phase.epochs}"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = documents.read_json(path, "")
    except InputError:
        values = None
    # One damaged or missing file leaves empty cells, not a table without the other runs.
    return values if isinstance(values, dict) else {}
