"""How many wrong labels `cbtool data labels` finds, among labels that are flipped here:

    python -m tests.support.label_errors [FILE]

5 % of the labels of FILE, by default of drawn cells, get another class at random, in each of
SEEDS draws. For drawn cells, two more rows: with a near copy of each image that has the same label,
wrong or not, the copies in one fold, and apart. Labels of FILE count as right before they are
flipped, so a mistake that it already has lowers the precision.
"""

import sys
import time
from pathlib import Path

import numpy as np

from toolkit.core import config
from toolkit.data import cleaning, dataset, label_errors, synthetic
from toolkit.training.features import extract_features

SHARE = 0.05  # of the labels
SEEDS = 3
FOLDS = 5
CELLS = 100  # drawn for each class
COLUMNS = (
    "data",
    "images",
    "flipped",
    "suspected",
    "recall",
    "precision",
    "surest half",
    "seconds",
)


def load_relevant(path: Path | None) -> tuple[dataset.Samples, np.ndarray]:
    """The images that `data labels` would examine, and their groups."""
    samples = dataset.load(path) if path else synthetic.draw(CELLS)
    found = cleaning.clean(samples, config.CleanConfig())
    rows = label_errors.list_relevant(found)
    return samples.take(rows), found.groups[rows]


def add_near_copies(samples: dataset.Samples) -> dataset.Samples:
    brighter = np.clip(samples.images.astype(np.int16) + 3, 0, 255).astype(np.uint8)
    return dataset.concatenate([samples, samples.with_images(brighter)])


def flip(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(labels), round(SHARE * len(labels)), replace=False)
    flipped = labels.copy()
    flipped[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return flipped


def measure(features: np.ndarray, truth: dataset.Samples, labels: np.ndarray, groups: np.ndarray):
    """Numbers of flipped labels and of suspects; recall; precision, also of the surest half;
    seconds."""
    rows = np.arange(len(truth))
    samples = dataset.Samples(truth.images, labels, rows, truth.class_names)
    started = time.monotonic()
    probabilities = label_errors.predict_out_of_fold(features, samples, groups, FOLDS)
    found = label_errors.find_suspects(samples, probabilities)
    seconds = time.monotonic() - started
    flipped = labels != truth.labels
    right = flipped[found.ids]
    half = right[: max(1, len(right) // 2)]
    return (
        flipped.sum(),
        len(found),
        right.sum() / flipped.sum(),
        right.mean() if len(right) else 0.0,
        half.mean() if len(right) else 0.0,
        seconds,
    )


def print_row(name: str, images: int, measured: list[tuple]) -> None:
    flipped, suspected, recall, precision, surest, seconds = np.mean(measured, axis=0)
    print(
        f"| {name} | {images:,} | {flipped:,.0f} | {suspected:,.0f} | {recall:.2f} | "
        f"{precision:.2f} | {surest:.2f} | {seconds:.0f} |",
        flush=True,
    )


def main(path: Path | None) -> None:
    samples, groups = load_relevant(path)
    settings = config.preset("lite")
    cases = {"as it is": (samples, extract_features(samples, settings), groups)}
    if path is None:  # three times the work
        copied = add_near_copies(samples)
        features = extract_features(copied, settings)
        cases["copies in one fold"] = (copied, features, np.tile(groups, 2))
        cases["copies apart"] = (copied, features, np.arange(len(copied)))
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}", flush=True)
    for name, (truth, features, together) in cases.items():
        measured = []
        for seed in range(SEEDS):
            labels = flip(samples.labels, len(samples.class_names), seed)
            # A copy has the label of its image, right or wrong.
            repeated = np.tile(labels, len(truth) // len(samples))
            measured.append(measure(features, truth, repeated, together))
        print_row(name, len(truth), measured)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
