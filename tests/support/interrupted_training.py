"""Trains once to the end, and once with a stop after every epoch, and compares the two.

A program, because deterministic mode holds for a whole process: interrupted_training.py DATA FOLDER
prints JSON with both histories, and whether the kept weights are the same bits.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tests.support.commands import history_of
from toolkit.core import config
from toolkit.core.progress import Progress
from toolkit.data import dataset
from toolkit.training import fit
from toolkit.training.prepare import prepare
from toolkit.training.run_folder import Run

EPOCHS = (2, 3)  # of the two phases
SETTINGS = (
    "split.validation=0.2",
    "split.test=0.2",
    "model.dropout=0.3",  # draws numbers in every step
    "train.deterministic=true",
    "train.ema=0.9",
    f"train.phases.0.epochs={EPOCHS[0]}",  # on stored features
    f"train.phases.1.epochs={EPOCHS[1]}",
    "train.phases.1.plateau=1",
    "train.phases.1.accumulate=2",
    # It draws everything that can be drawn: order, rate, place, size and share.
    "augment=[{name='cut-mix', rate=0.3}]",
)


class Stop(Exception):
    """The training is interrupted."""


def stop_after(epochs: int) -> Progress:
    """Stops a training in the first step after that many epochs."""

    def report(done: int, total: int, note: str = "") -> None:
        if done > 1000 * epochs:
            raise Stop

    return report


def main(data: Path, folder: Path) -> None:
    settings = config.preset("tiny", SETTINGS)
    prepared = prepare(dataset.load(data), settings)
    whole, cut = Run(folder / "whole"), Run(folder / "cut")
    fit.fit(prepared, settings, whole.folder)
    for epochs in range(1, sum(EPOCHS)):
        try:
            if epochs == 1:
                fit.fit(prepared, settings, cut.folder, progress=stop_after(epochs))
            else:
                fit.resume(cut, prepared.samples, stop_after(epochs))
        except Stop:
            continue
        raise AssertionError("it was not stopped")
    fit.resume(cut, prepared.samples)
    histories = [history_of(run) for run in (whole, cut)]
    with np.load(whole.checkpoint) as first, np.load(cut.checkpoint) as second:
        same = all(np.array_equal(first[name], second[name]) for name in first.files)
    print(json.dumps({"whole": histories[0], "cut": histories[1], "same_weights": same}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
