"""The charts of a page."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from toolkit.evaluation.metrics import CONFIDENCE_BINS, Estimate
from toolkit.evaluation.predictions import Predictions
from toolkit.report.style import (
    INK,
    MARKERS,
    PALETTE,
    add_legend,
    draw_figure,
    escape_formulas,
    to_svg,
)
from toolkit.training.history import Epoch

# Dropped images nearer to each other than this, in standard deviations, are one cross.
SAME_PLACE = 0.05
MIN_IN_BIN = 5  # images: the share of fewer says nothing


def draw_severities(families: Mapping[str, Sequence[Estimate]], metric: str) -> Markup:
    """The score in each family of corruptions over its severities."""
    figure, (axes,) = draw_figure()
    severities = range(1, 1 + len(next(iter(families.values()))))
    for number, (family, row) in enumerate(families.items()):
        values = np.array([score.value for score in row])
        colour = PALETTE[number % len(PALETTE)]
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(severities, values, color=colour, marker=marker, markersize=5, label=family)
        low, high = [score.low for score in row], [score.high for score in row]
        axes.fill_between(severities, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.set(xlabel="severity", ylabel=metric, xticks=list(severities))
    add_legend(axes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    last = ", ".join(f"{family} {row[-1].value:.2f}" for family, row in families.items())
    return to_svg(figure, f"{metric} by family and severity", f"At the highest severity: {last}")


def draw_history(epochs: Sequence[Epoch], monitor: str) -> Markup:
    """Accuracies and learning rate by epoch; a line where a phase begins, a ring at the epoch whose
    weights were kept."""
    figure, (above, below) = draw_figure(rows=2, height=4.6)
    numbers = np.arange(1, len(epochs) + 1)
    curves = {
        "training": [epoch.accuracy for epoch in epochs],
        "validation": [epoch.val_accuracy for epoch in epochs],
        "validation, corrupted": [epoch.val_shift_accuracy for epoch in epochs],
    }
    for number, (name, values) in enumerate(curves.items()):
        marker = "o" if len(epochs) == 1 else None
        above.plot(numbers, values, color=PALETTE[number], label=name, marker=marker)
    kept = find_kept(epochs)
    above.plot(
        [kept + 1],
        [epochs[kept].val_shift_accuracy],
        "o",
        markersize=10,
        markerfacecolor="none",
        markeredgecolor=INK,
        label="kept",
    )
    below.plot(
        numbers, [epoch.learning_rate for epoch in epochs], color=PALETTE[0], drawstyle="steps-mid"
    )
    for number, epoch in enumerate(epochs[1:], 1):
        if epoch.phase != epochs[number - 1].phase:
            for axes in (above, below):
                axes.axvline(number + 0.5, color=INK, linewidth=0.8, linestyle=":")
    above.set(ylabel="accuracy")
    add_legend(above, loc="lower right", ncols=2)
    below.set(xlabel="epoch", ylabel="learning rate")
    below.set_yscale("log")
    found = epochs[kept]
    return to_svg(
        figure,
        "Training by epoch",
        f"{len(epochs)} epochs; epoch {kept + 1} was kept by {monitor}: validation accuracy "
        f"{found.val_accuracy:.3f}, corrupted {found.val_shift_accuracy:.3f}",
    )


def find_kept(epochs: Sequence[Epoch]) -> int:
    """The position of the epoch whose weights were kept: the last that was the best so far."""
    return max((number for number, epoch in enumerate(epochs) if epoch.best), default=0)


def draw_reliability(predictions: Mapping[str, Predictions]) -> Markup:
    """Accuracy by confidence, for each condition, in bins of equal width; below, how many images
    have that confidence. On the diagonal, confidence is right."""
    figure, (above, below) = draw_figure(rows=2, height=4.6)
    above.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    edges = np.linspace(0, 1, CONFIDENCE_BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    width = 0.4 / CONFIDENCE_BINS
    for number, (name, found) in enumerate(predictions.items()):
        confidence = found.probabilities.max(axis=1)
        bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
        counts = np.bincount(bins, minlength=CONFIDENCE_BINS)
        correct = np.bincount(bins, found.correct, CONFIDENCE_BINS)
        filled = counts >= MIN_IN_BIN
        above.plot(
            centres[filled],
            correct[filled] / counts[filled],
            color=PALETTE[number],
            marker=MARKERS[number],
            label=name,
        )
        shares = counts / max(1, counts.sum())
        below.bar(centres + (number - 0.5) * width, shares, width, color=PALETTE[number])
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="share that is correct")
    add_legend(above, loc="upper left")
    below.set(xlim=(0, 1), xlabel="confidence", ylabel="share of images")
    return to_svg(
        figure, "Reliability", "The nearer to the diagonal, the better the confidence is to be read"
    )


def draw_cleaning(points: np.ndarray, kept: np.ndarray) -> Markup:
    """The first two whitened components of images, float [n, 2], before and after cleaning; crosses
    with their numbers mark those that are not `kept`, bool [n]."""
    figure, (before, after) = draw_figure(columns=2, height=3.4)
    _scatter(before, points[kept])
    dropped = points[~kept]
    for place, count in count_places(dropped):
        before.plot(*place, "x", color=PALETTE[1], markersize=7, markeredgewidth=2)
        if count > 1:
            before.annotate(
                f"{count:,}", place, xytext=(6, 4), textcoords="offset points", color=INK
            )
    before.set_title(f"before: {len(points):,} images", fontsize=10)
    _scatter(after, points[kept])
    after.set_title(f"after: {int(kept.sum()):,} images", fontsize=10)
    for axes in (before, after):
        axes.set(xlabel="first component", ylabel="second component")
    return to_svg(
        figure,
        "Images before and after cleaning",
        f"Whitened principal components; {len(dropped):,} images are dropped, marked by crosses",
    )


def count_places(points: np.ndarray) -> list[tuple[tuple[float, float], int]]:
    """The places of `points`, float [n, 2], with the number of points at each."""
    cells, counts = np.unique(np.round(points / SAME_PLACE), axis=0, return_counts=True)
    return [
        ((float(x * SAME_PLACE), float(y * SAME_PLACE)), int(count))
        for (x, y), count in zip(cells, counts)
    ]


def _scatter(axes: Axes, points: np.ndarray) -> None:
    # As pixels: ten thousand circles of SVG would be a megabyte.
    x, y = points.T
    axes.scatter(x, y, s=3, color=PALETTE[0], alpha=0.4, linewidths=0, rasterized=True)


def draw_comparison(histories: Mapping[str, Sequence[Epoch]]) -> Markup:
    """The accuracy on corrupted validation images by epoch, of each run."""
    figure, (axes,) = draw_figure()
    for number, (name, epochs) in enumerate(histories.items()):
        axes.plot(
            range(1, len(epochs) + 1),
            [epoch.val_shift_accuracy for epoch in epochs],
            color=PALETTE[number % len(PALETTE)],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            label=escape_formulas(name),
        )
    axes.set(xlabel="epoch", ylabel="accuracy, corrupted validation images")
    add_legend(axes, loc="lower right")
    return to_svg(
        figure, "Training of the runs", "Accuracy on corrupted validation images by epoch"
    )
