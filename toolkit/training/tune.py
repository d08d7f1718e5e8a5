"""The search for good settings: trials of a study, each a training, until the time is spent."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import Trial, TrialState

from toolkit.core import config
from toolkit.core.config import Config
from toolkit.core.errors import CbtoolError, InputError
from toolkit.core.files import write_text
from toolkit.core.progress import Progress, silent
from toolkit.training import tune_space
from toolkit.training.tune_space import Build, Space
from toolkit.training.tune_study import Epoch, Spans, Study, make_pruner

BEST = "best.toml"
KEPT = 3  # trials whose weights are kept
FAILURES = 3  # trials that fail one after another, after which more would, too


@dataclass(frozen=True)
class Plan:
    """A study. build: makes the base configuration with settings applied. fingerprint: of the
    samples. hours: in which trials are trained, all calls together. trials: after which the study
    ends, None for no limit. keep: trials whose weights are kept. pruner: one of PRUNERS. storage:
    a database's address, None for a file in `folder`. command: for a person."""

    folder: Path
    space: Space
    build: Build
    fingerprint: str
    hours: float
    trials: int | None = None
    keep: int = KEPT
    pruner: str = "median"
    storage: str | None = None
    command: str = "cbtool tune"


class Pruned(Exception):
    """The trial is worse than others at the same epoch."""


class OutOfTime(Exception):
    """The hours of the study are over."""


class Watch:
    """What a training tells of itself while it runs; raises what ends it before its end.

    deadline: in seconds since 1970. tell: takes a note about the training.
    """

    def __init__(self, study: Study, trial: Trial, deadline: float, tell: Callable[[str], None]):
        self.study, self.trial, self.deadline, self.tell = study, trial, deadline, tell
        self.spans = Spans(trial)
        self.reported = 0
        self.best = math.nan

    def check(self) -> None:
        """Raises OutOfTime when the hours of the study are over."""
        if time.time() >= self.deadline:
            raise OutOfTime

    def report(self, epochs: list[Epoch]) -> None:
        """Takes the epochs so far, all of them. Raises Pruned when others were better."""
        with self.study.guard():
            for number, epoch in enumerate(epochs[self.reported :], self.reported):
                self.trial.report(epoch.value, number)
            self.reported = len(epochs)
            measured = [(epoch.phase, epoch.seconds) for epoch in epochs]
            self.trial.set_user_attr("epochs", measured)
            self.spans.note()
            values = [epoch.value for epoch in epochs if math.isfinite(epoch.value)]
            if values:
                self.best = min(values) if self.study.is_lower_better else max(values)
            if self.trial.should_prune():
                raise Pruned


# Trains a configuration in a folder, which holds an interrupted training or nothing.
Objective = Callable[[Config, Path, Watch], None]


def open_study(plan: Plan) -> Study:
    """The study of `plan`, a new one or that of an earlier call.

    Raises InputError for a space that does not fit the configuration, a database that cannot be
    used, and a folder with another study.
    """
    base = plan.build(())
    tune_space.require_valid(plan.space, plan.build)
    identity = {
        "configuration": config.to_text(base),
        "space": plan.space.text,
        "training file": plan.fingerprint,
    }
    direction = "minimize" if base.train.monitor.endswith("loss") else "maximize"
    pruner = make_pruner(plan.pruner, base)
    return Study(plan.folder, plan.storage, direction, identity, pruner, base.train.seed)


def search(plan: Plan, study: Study, objective: Objective, progress: Progress = silent) -> None:
    """Runs trials until the hours or the trials of `plan` are used up, or no trial could end in
    time.

    An interrupted trial of an earlier call is continued first. The first trial is the base
    configuration, if the space holds its values. Writes BEST whenever a trial is the best so far.
    Raises InputError when the database fails, and the error of a trial when FAILURES in a row have
    failed.
    """
    with study.guard():
        deadline = time.time() + 3600 * plan.hours - study.spent_seconds()
        base = plan.build(())
        longest = plan.build(tune_space.list_largest(plan.space))
        first = tune_space.find_base(plan.space, base)
        failures = 0

        def tell(note: str) -> None:
            total = round(3600 * plan.hours)
            progress(max(0, total - round(deadline - time.time())), total, note)

        while _may_start(study, deadline, longest):
            with study.take(first, plan.trials) as trial:
                if trial is None:
                    return
                watch = Watch(study, trial, deadline, tell)
                error = _run_trial(plan, watch, objective)
            failures = failures + 1 if error else 0
            if error and failures >= FAILURES:
                raise error
            _write_best(plan, study)
            study.remove_weights(plan.keep)


def _may_start(study: Study, deadline: float, longest: Config) -> bool:
    left = deadline - time.time()
    if left <= 0:
        return False
    if study.has_interrupted():
        return True
    return study.expected_seconds(longest) <= left


def _run_trial(plan: Plan, watch: Watch, objective: Objective) -> CbtoolError | None:
    """Trains a trial and notes how it ended. Returns the error of a training that failed."""
    study, trial = watch.study, watch.trial
    run = study.run(trial.number)
    # The trial of a process that ends in here stays open: the next call continues it.
    try:
        settings = plan.build(tune_space.suggest(plan.space, trial))
        objective(settings, run.folder, watch)
    except OutOfTime:
        watch.spans.note()
        return None
    except KeyboardInterrupt:
        watch.spans.note()
        raise
    except Pruned:
        study.optuna.tell(trial, state=TrialState.PRUNED)
        return None
    except CbtoolError as error:
        trial.set_user_attr("reason", error.sentence)
        watch.spans.note()
        study.optuna.tell(trial, state=TrialState.FAIL)
        return error
    watch.spans.note()
    if math.isfinite(watch.best):
        study.optuna.tell(trial, watch.best)
        return None
    study.optuna.tell(trial, state=TrialState.FAIL)
    return InputError("no epoch had a finite value.", "Search lower learning rates.")


def _write_best(plan: Plan, study: Study) -> None:
    """Writes the best trial's configuration as a preset, whose first lines say what it is."""
    best = next(iter(study.rank()), None)
    if best is None:
        return
    # From the parameters: the run folder may be another machine's.
    settings = plan.build(tune_space.suggest(plan.space, _Known(best.params)))
    rows = {row.number: row for row in study.rows()}
    row = rows[best.number]
    ended = [each for each in rows.values() if each.state in ("complete", "pruned")]
    text = (
        f"# The best of {len(ended)} trials of a study; {row.run} is its run.\n"
        f"# Command:  {plan.command}\n"
        f"# Cost:     {study.spent_seconds() / 3600:.2f} hours for the study, {row.seconds:.0f} "
        f"seconds for this trial of {row.epochs} epochs\n"
        f"# Measured: {settings.train.monitor} {row.value:.4f} (seed {settings.train.seed}), the "
        "best of many on one\n"
        "#           validation part, so it is optimistic: train it with another seed, and "
        "evaluate that run\n\n"
    )
    write_text(study.folder / BEST, text + config.to_text(settings))


class _Known:
    """The values of an ended trial, which `suggest` asks for."""

    def __init__(self, values: dict[str, Any]):
        self.values = values

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self.values[name])

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self.values[name])

    def suggest_categorical(self, name: str, choices: list[str]) -> Any:
        return self.values[name]
