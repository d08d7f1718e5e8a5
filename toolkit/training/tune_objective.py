"""A trial of a study as a training: a run folder, watched after each epoch."""

import os
import shutil
from pathlib import Path

import keras

from toolkit.core.config import Config
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.progress import Progress
from toolkit.training import fit
from toolkit.training.history import read_history
from toolkit.training.prepare import Prepared
from toolkit.training.run_folder import Run
from toolkit.training.tune import Objective, Watch
from toolkit.training.tune_study import Epoch


def make_objective(prepared: Prepared, data: Path, contract: Contract = AN2DL2024) -> Objective:
    """A function that trains a trial on `prepared`, read from the file `data`."""

    def train(settings: Config, folder: Path, watch: Watch) -> None:
        run = Run(folder)
        watch_epochs = _make_observer(run, watch)
        # The graphs of the trials before would stay in memory.
        keras.backend.clear_session()
        if run.finished.exists():  # killed between the training's end and the study's note of it
            pass
        elif run.provenance.exists():
            fit.resume(run, prepared.samples, watch_epochs)
        else:
            shutil.rmtree(folder, ignore_errors=True)  # what was begun before its first file
            fit.fit(prepared, settings, folder, data, None, watch_epochs, contract)
        watch.report(read_epochs(run))

    return train


def read_epochs(run: Run) -> list[Epoch]:
    """The epochs of `run` so far. Raises InputError when its history is damaged."""
    return [Epoch(row.phase, row.monitored, row.seconds) for row in read_history(run)]


def _make_observer(run: Run, watch: Watch) -> Progress:
    """A progress of the training that looks after each step whether an epoch has ended."""
    size = 0

    def observe(done: int, total: int, note: str = "") -> None:
        nonlocal size
        watch.check()
        found = os.stat(run.history).st_size
        if found != size:
            size = found
            watch.report(read_epochs(run))
        name = run.folder.name
        watch.tell(f"{name}, {note}" if note else name)

    return observe
