"""Pictures as PNG files: contact sheets, the PCA scatter, the confusion matrix, the backtest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from toolkit.core.files import atomic
from toolkit.report.style import escape_formulas

BEFORE_CLEANING, AFTER_CLEANING = "clean_before.png", "clean_after.png"
SHEET_COLUMNS = 12
SHEET_ROWS = 6
GAP = 2  # pixels between the images of a sheet
LINE, LETTERS = 12, 7  # height of a line of text in pixels, and width of a letter
# A preview has two bands. Each shows a row of images, and below it rows of their augmented copies.
PREVIEW_IMAGES = 2 * SHEET_COLUMNS
PREVIEW_COPIES = 2
# A sheet of images with captions.
LABELLED_COLUMNS = 8
LABELLED_IMAGES = 6 * LABELLED_COLUMNS


def contact_sheet(
    images: np.ndarray,
    path: Path,
    captions: Sequence[str] = (),
    row_names: Sequence[str] = (),
) -> None:
    """Writes up to 72 of `images` (uint8 [n, h, w, 3]) as one picture; of more, evenly spaced
    ones. captions: of all images, below them. row_names: of the rows, to their left."""
    captions = list(captions) or [""] * len(images)
    capacity = SHEET_COLUMNS * SHEET_ROWS
    if len(images) > capacity:
        chosen = np.linspace(0, len(images) - 1, capacity).astype(int)
        images, captions = images[chosen], [captions[row] for row in chosen]
    height, width = images.shape[1:3]
    rows = -(-len(images) // SHEET_COLUMNS)
    margin = LETTERS * max(map(len, row_names), default=0)
    step = height + GAP + (LINE if any(captions) else 0)
    size = (margin + SHEET_COLUMNS * (width + GAP) + GAP, rows * step + GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for number, (image, caption) in enumerate(zip(images, captions)):
        row, column = divmod(number, SHEET_COLUMNS)
        left, top = margin + GAP + column * (width + GAP), GAP + row * step
        sheet.paste(Image.fromarray(image), (left, top))
        pen.text((left, top + height), caption, "black")
    for row, name in enumerate(row_names):
        pen.text((GAP, GAP + row * step + height // 2), name, "black")
    with atomic(path) as temporary:
        sheet.save(temporary, "PNG")


def preview(images: np.ndarray, copies: list[np.ndarray], path: Path) -> None:
    """Writes PREVIEW_IMAGES `images` (uint8 [n, h, w, 3]), each above its augmented copies.

    copies: PREVIEW_COPIES arrays like `images`, in the same order.
    """
    rows = []
    for band in (slice(0, SHEET_COLUMNS), slice(SHEET_COLUMNS, PREVIEW_IMAGES)):
        rows.append(images[band])
        rows += [augmented[band] for augmented in copies]
    band_names = ("image", *(f"copy {number + 1}" for number in range(len(copies))))
    contact_sheet(np.concatenate(rows), path, row_names=2 * band_names)


def labelled_sheet(images: np.ndarray, captions: list[str], path: Path) -> None:
    """Writes up to LABELLED_IMAGES `images` (uint8 [n, h, w, 3]), each below its caption, of three
    lines."""
    rows = max(1, -(-len(images) // LABELLED_COLUMNS))
    figure = Figure(figsize=(1.7 * LABELLED_COLUMNS, 2.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, LABELLED_COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, caption in zip(grid, images, captions):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(escape_formulas(caption), fontsize=8)
    _write(figure, path)


def scatter(coordinates: np.ndarray, kept: np.ndarray, title: str, path: Path) -> None:
    """Draws the first two whitened components of images, float [n, 2]; crosses mark those that are
    not `kept`, bool [n]."""
    figure, axes = _figure(title)
    x, y = coordinates.T
    axes.scatter(
        x[kept],
        y[kept],
        s=4,
        color="#4878a8",
        alpha=0.4,
        linewidths=0,
        label=f"kept ({kept.sum():,})",
    )
    if not kept.all():
        label = f"dropped ({(~kept).sum():,})"
        axes.scatter(x[~kept], y[~kept], s=28, color="#c03030", marker="x", label=label)
    axes.set(
        xlabel="first component (standard deviations)",
        ylabel="second component (standard deviations)",
    )
    axes.legend(loc="upper right", frameon=False)
    _write(figure, path)


def cleaning_pictures(coordinates: np.ndarray, kept: np.ndarray, folder: Path) -> None:
    """Writes BEFORE_CLEANING and AFTER_CLEANING into `folder`: `scatter` with and without the
    dropped images."""
    before, after = folder / BEFORE_CLEANING, folder / AFTER_CLEANING
    scatter(coordinates, kept, "Whitened PCA of the images, before cleaning", before)
    remaining = coordinates[kept]
    every = np.ones(len(remaining), bool)
    scatter(remaining, every, "Whitened PCA of the images, after cleaning", after)


def backtest_picture(points: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Draws (estimated, obtained) accuracies, in 0..1, by run. On the diagonal line, the estimate
    was exact."""
    figure, axes = _figure("Estimated and obtained accuracy, one family held out at a time")
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for (name, found), marker in zip(points.items(), "osD^vP*X<>" * len(points)):
        estimated, obtained = zip(*found)
        axes.scatter(estimated, obtained, s=36, marker=marker, label=escape_formulas(name))
    axes.set(
        xlabel="estimated accuracy",
        ylabel="obtained accuracy",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    axes.legend(loc="upper left", frameon=False)
    _write(figure, path)


def confusion_pictures(
    confusions: dict[str, np.ndarray], class_names: tuple[str, ...], folder: Path
) -> None:
    """Draws each matrix of `confusions`, int [classes, classes], by "PART_CONDITION", as
    confusion_PART_CONDITION.png into `folder`, the run's."""
    for name, confusion in confusions.items():
        part, _, condition = name.partition("_")
        accuracy = np.trace(confusion) / max(1, confusion.sum())
        title = (
            f"{folder.resolve().name}: {part} part, {condition}, accuracy {accuracy:.3f}\n"
            "(shaded by the share of each true class)"
        )
        confusion_picture(confusion, class_names, title, folder / f"confusion_{name}.png")


def confusion_picture(
    confusion: np.ndarray, class_names: tuple[str, ...], title: str, path: Path
) -> None:
    """Draws a confusion matrix, int [classes, classes]: a row for each true class, a column for
    each predicted one. Cells are shaded by their share of the row."""
    figure, axes = _figure(title)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            axes.text(
                column,
                row,
                count,
                ha="center",
                va="center",
                color="white" if shares[row, column] > 0.5 else "black",
            )
    ticks, names = range(len(class_names)), [escape_formulas(name) for name in class_names]
    axes.set_xticks(ticks, names, rotation=40, ha="right")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="predicted", ylabel="true")
    _write(figure, path)


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    FigureCanvasAgg(figure)  # draws into memory: no display is needed
    axes = figure.add_subplot()
    axes.set_title(escape_formulas(title))
    return figure, axes


def _write(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
