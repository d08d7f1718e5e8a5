"""The sections of a run's page that tell of its evaluation."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from toolkit.core.metrics import LOWER_IS_BETTER
from toolkit.data.dataset import Samples
from toolkit.evaluation.metrics import Scores
from toolkit.evaluation.shift_benchmark import CHAINED, CLEAN
from toolkit.export.manifest import PLAIN_VIEW
from toolkit.report import charts, examples, grad_cam
from toolkit.report.contents import Contents, Evaluated
from toolkit.training.best_network import load_best_network

CONDITIONS = {CLEAN: "clean images", CHAINED: "chains of corruptions"}
MATRIX_LIMIT = 40  # classes; nobody reads a larger matrix, and a page of it is slow


def describe_scores(contents: Contents, found: Evaluated) -> dict[str, Any]:
    """What run.html shows of `found`, the evaluation of the run that `contents` are of."""
    severities = len(next(iter(found.families.values())))
    labels = {name: _label(found, name) for name in CONDITIONS}
    names = contents.class_names
    mistakes = _list_mistakes(contents.samples, found) if contents.samples else []
    corrupted = found.scores[CHAINED].per_class
    recalls = [(name, recall) for name, (_, recall, _, _) in zip(names, corrupted)]
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
        "corruptions": _draw_corruptions(contents.samples, found) if contents.samples else [],
        "class_rows": [
            (labels[condition], _list_classes(names, found.scores[condition]))
            for condition in CONDITIONS
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


def _list_classes(names: Sequence[str], scores: Scores) -> list[tuple[Any, ...]]:
    return [(name, *row) for name, row in zip(names, scores.per_class)]


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


def _list_mistakes(samples: Samples, found: Evaluated) -> list[tuple[str, list[examples.Mistake]]]:
    """The worst mistakes in each condition."""
    return [
        (title, examples.list_mistakes(samples, found.predictions[name], name == CHAINED))
        for name, title in CONDITIONS.items()
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


def _draw_corruptions(samples: Samples, found: Evaluated) -> list[examples.Strip]:
    """The first held-out image through each family."""
    first = found.predictions[CLEAN].ids[0]
    row = int(np.flatnonzero(samples.ids == first)[0])
    return examples.list_corruptions(samples, row)


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
