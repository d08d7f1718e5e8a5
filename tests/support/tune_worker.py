"""Studies whose trials train nothing. As a program, tune_worker.py FOLDER TRIALS, one of several
workers of a study."""

import sys
import time
from pathlib import Path

from toolkit.core import config
from toolkit.training import tune
from toolkit.training.tune_space import Parameter, Space
from toolkit.training.tune_study import Epoch

SPACE = Space("a space", {"model.dropout": Parameter(low=0.0, high=0.6)})


def make_plan(folder: Path, **changes) -> tune.Plan:
    """A study of `tiny`'s dropout."""
    values = {
        "folder": folder,
        "space": SPACE,
        "build": lambda settings: config.preset("tiny", settings),
        "fingerprint": "f",
        "hours": 1.0,
        "pruner": "none",
    }
    return tune.Plan(**(values | changes))


def search(plan: tune.Plan, objective=None):
    """Runs the study, and returns it."""
    study = tune.open_study(plan)
    tune.search(plan, study, objective or score_dropout)
    return study


def list_epochs(values, seconds: float = 0.0) -> list[Epoch]:
    """The epochs of a trial: one of the first phase, then those of the second."""
    return [Epoch(min(number, 1), value, seconds) for number, value in enumerate(values)]


def score_dropout(settings, folder: Path, watch: tune.Watch) -> None:
    """Pretends to train: the less dropout, the better."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.npz").write_text(watch.study.worker)
    value = 1 - settings.model.dropout
    watch.check()
    watch.report(list_epochs([value]))


def score_slowly(settings, folder: Path, watch: tune.Watch) -> None:
    """The same, for long enough that two workers overlap."""
    time.sleep(0.05)
    score_dropout(settings, folder, watch)


if __name__ == "__main__":
    search(make_plan(Path(sys.argv[1]), trials=int(sys.argv[2])), score_slowly)
