"""What an evaluation found, and the JSON object that it becomes in metrics.json and on stdout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.core import records
from toolkit.evaluation.shift_benchmark import CHAINED, CLEAN, BenchmarkResult

if TYPE_CHECKING:  # they import TensorFlow and SciPy, which scoring a zip does without
    from toolkit.evaluation.calibration import PostProcessing
    from toolkit.evaluation.tta import ViewChoice


@dataclass(frozen=True)
class Part:
    """The scores of a held-out part. calibration: how well confidence fits, for the images as they
    are and their chains, without post-processing and with it."""

    result: BenchmarkResult
    calibration: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Evaluation:
    """parts: by name. views: of test-time augmentation, None where they were not tried.
    post_processing: the corrections that raise the score."""

    parts: dict[str, Part]
    views: ViewChoice | None
    post_processing: PostProcessing

    @property
    def confusions(self) -> dict[str, np.ndarray]:
        """The confusion matrices, int64 [classes, classes], by "PART_CONDITION"."""
        found = {}
        for name, part in self.parts.items():
            for condition, scores in part.result.scores.items():
                found[f"{name}_{condition}"] = scores.confusion
        return found


def benchmark_values(result: BenchmarkResult) -> dict[str, Any]:
    """`result` as a dictionary, ready for JSON."""
    families = {
        family: [records.values(score) for score in row] for family, row in result.families.items()
    }
    return records.values(result.headline) | {
        "metric": result.metric,
        "absent_families": list(result.estimate.absent),
        "stand_in_family": result.estimate.stand_in,
        "intervals": {
            CLEAN: records.values(result.clean),
            CHAINED: records.values(result.shift),
        },
        "families": families,
        "scores": {condition: scores.summary for condition, scores in result.scores.items()},
    }


def evaluation_values(evaluation: Evaluation) -> dict[str, Any]:
    """`evaluation` as a dictionary, ready for JSON."""
    values: dict[str, Any] = {}
    for name, part in evaluation.parts.items():
        values[name] = benchmark_values(part.result) | {"calibration": part.calibration}
    chosen = evaluation.post_processing
    values["steps"] = {
        "temperature": chosen.temperature,
        "class_shares": chosen.shares,
        "log_loss_gain": records.values(chosen.loss_gain),
        "accuracy_gain": records.values(chosen.score_gain),
    }
    if evaluation.views:
        values["tta"] = records.values(evaluation.views)
    return values
