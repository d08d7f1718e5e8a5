"""What a large training file costs, stage by stage, from the file to one epoch of training:

    python -m tests.support.scale IMAGES [FOLDER]

Writes IMAGES different cells of 96 × 96 pixels to FOLDER, by default a temporary one, and prints
for each stage its seconds and the most memory that the process has held so far.
"""

import dataclasses
import multiprocessing
import resource
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from toolkit.core import config
from toolkit.data import cleaning, dataset, splitting, synthetic
from toolkit.training import fit, prepare

CELLS = 25  # drawn for each class; the others are these, moved and recoloured


def write_cells(path: Path, count: int) -> None:
    """Writes `count` cells that are alike as cells are, without near copies."""
    drawn = synthetic.draw(CELLS)
    cells, labels = drawn.images[: 8 * CELLS], drawn.labels[: 8 * CELLS]
    rng = np.random.default_rng(0)
    images = np.empty((count, *cells.shape[1:]), np.uint8)
    chosen = rng.integers(0, len(cells), count)
    for row, cell in enumerate(chosen):
        moved = np.roll(cells[cell], rng.integers(-20, 21, 2), (0, 1))
        turned = np.rot90(moved, rng.integers(4))
        # Large blots make the hashes of two copies differ, as those of two photographs do.
        blots = np.kron(rng.normal(0, 25, (6, 6, 3)), np.ones((16, 16, 1)))
        images[row] = np.clip(turned + blots, 0, 255)
    dataset.save(dataset.Samples(images, labels[chosen], np.arange(count), drawn.class_names), path)


@contextmanager
def stage(name: str):
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"| {name} | {seconds:,.0f} | {peak:,.0f} |", flush=True)


def main(count: int, folder: Path) -> None:
    path = folder / "cells.npz"
    # Another process, so that the memory it takes is not counted here.
    writer = multiprocessing.get_context("spawn").Process(target=write_cells, args=(path, count))
    writer.start()
    writer.join()
    settings = config.preset("tiny")
    last = dataclasses.replace(settings.train.phases[-1], epochs=1)
    train = dataclasses.replace(settings.train, phases=(last,))
    settings = dataclasses.replace(settings, train=train)
    print("| stage | seconds | peak MB |\n| --- | --- | --- |")
    with stage("start"):
        pass
    with stage("load"):
        samples = dataset.load(path)
        assert samples.fingerprint
    with stage("clean"):
        found = cleaning.clean(samples, settings.clean)
    with stage("split"):
        kept = np.flatnonzero(found.kept)
        parts = splitting.split(samples, kept, found.groups[kept], settings.split)
    with stage("one epoch"):
        fit.fit(prepare.Prepared(samples, found, parts), settings, folder / "run", path)
    print(
        f"{count:,} images of {samples.images.nbytes / 1e6:,.0f} MB, {len(kept):,} kept, "
        f"{len(parts.train):,} trained on"
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        main(int(sys.argv[1]), Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as name:
            main(int(sys.argv[1]), Path(name))
