"""A study in a database that several processes share: its trials, their costs, and who runs them.

Optuna stores parameters, values and states; what resuming and the budget need are user attributes
of the trials.
"""

import shutil
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from toolkit.core import locks
from toolkit.core.config import Config
from toolkit.core.damage import describe
from toolkit.core.errors import InputError
from toolkit.training.run_folder import Run

FILE = "study.db"
NAME = "cbtool"
STORAGE_SECONDS = 60  # that a process waits while another one writes
PRUNERS = ("median", "hyperband", "none")
# Trials that are never pruned, because the median of fewer says little.
UNPRUNED_TRIALS = 4

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
Span = tuple[float, float]


@dataclass(frozen=True)
class Epoch:
    """One epoch of a trial: its phase, the monitored value, and its seconds."""

    phase: int
    value: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """One trial. state: complete, pruned, failed, running, or interrupted, which the next call
    continues. value: the best of the monitored metric. seconds: of training. settings: by key.
    run: its folder's name. reason: why it failed."""

    number: int
    state: str
    value: float | None
    epochs: int
    seconds: float
    settings: dict[str, Any]
    run: str
    reason: str | None = None


class Study:
    """The study in `folder`, or in the database `storage`, which is created where it is missing.

    identity: what all calls must have in common, by its name for a person. direction: "minimize" or
    "maximize". Raises InputError when the database cannot be used, or holds another study.
    """

    def __init__(
        self,
        folder: Path,
        storage: str | None,
        direction: str,
        identity: dict[str, str],
        pruner: optuna.pruners.BasePruner,
        seed: int,
    ):
        self.folder, self.storage, self.seed = folder.absolute(), storage, seed
        self.is_lower_better = direction == "minimize"
        self.worker = f"{socket.gethostname()}:{self.folder}"
        with self._locked(), self.guard():
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            self.optuna = optuna.create_study(
                storage=_open_storage(storage or f"sqlite:///{self.folder / FILE}"),
                study_name=NAME,
                pruner=pruner,
                direction="minimize" if self.is_lower_better else "maximize",
                load_if_exists=True,
            )
            self._require_same(identity)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Raises InputError, without a password, when the database fails in this block."""
        try:
            with warnings.catch_warnings():
                # Of its experimental parts, and of values that it has already.
                warnings.filterwarnings("ignore", module="optuna")
                yield
        except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            # SQLAlchemy's own sentence has the statement behind it.
            cause = error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error
            reason = describe(getattr(cause, "orig", None) or cause)
            raise InputError(
                f"the database of the study, {self.place}, cannot be used: {reason}.",
                "Check it; without it, its trials are lost: begin a new study with --out DIR.",
            ) from error

    @property
    def place(self) -> str:
        """Where the database is, for a sentence."""
        if self.storage is None:
            return str(self.folder / FILE)
        try:
            return make_url(self.storage).render_as_string(hide_password=True)
        except ArgumentError:
            return "of --storage"  # which may hold a password, wherever it is

    def trials(self) -> list[FrozenTrial]:
        """All trials, by number."""
        return self.optuna.get_trials(deepcopy=False)

    @contextmanager
    def take(
        self, first: dict[str, Any] | None, limit: int | None = None
    ) -> Iterator[Trial | None]:
        """A trial for this process, which nobody else runs meanwhile: an interrupted one of this
        folder, or a new one; None where that would be one more than `limit`. first: the parameters
        of the study's first trial."""
        with ExitStack() as stack:
            with self._locked():
                trial = self._find_interrupted() or self._begin(first, limit)
                if trial is not None:
                    stack.enter_context(self._hold(trial.number))
                    # By the trial's number: two workers with one seed would draw the same values.
                    seed = self.seed + trial.number
                    self.optuna.sampler = optuna.samplers.TPESampler(seed=seed)
            yield trial

    def has_interrupted(self) -> bool:
        """Whether `take` would continue a trial."""
        return bool(self._list_interrupted())

    def spans(self) -> list[Span]:
        """When trials were trained, in seconds since 1970; they overlap where several were."""
        found: list[Span] = []
        for trial in self.trials():
            found += [(begin, end) for begin, end in trial.user_attrs.get("spans", [])]
        return found

    def spent_seconds(self) -> float:
        """The time in which any trial was trained; what several did at once counts once."""
        total, reached = 0.0, 0.0
        for begin, end in sorted(self.spans()):
            total += max(0.0, end - max(begin, reached))
            reached = max(reached, end)
        return total

    def expected_seconds(self, settings: Config) -> float:
        """What a training of `settings` takes at the median time of an epoch in each phase so far,
        and the median of what trials take beside their epochs; 0 before anything was measured."""
        measured: dict[int, list[float]] = {}
        beside = []
        for trial in self.trials():
            epochs = trial.user_attrs.get("epochs", [])
            for phase, seconds in epochs:
                measured.setdefault(phase, []).append(seconds)
            if epochs and trial.state in FINISHED:
                beside.append(_measure(trial) - sum(seconds for _, seconds in epochs))
        if not measured:
            return 0.0
        medians = {phase: median(seconds) for phase, seconds in measured.items()}
        # A phase that no trial has reached is as slow as the slowest.
        unknown = max(medians.values())
        phases = enumerate(settings.train.phases)
        trained = sum(phase.epochs * medians.get(number, unknown) for number, phase in phases)
        return trained + max(0.0, median(beside or [0.0]))

    def rank(self) -> list[FrozenTrial]:
        """The complete trials, the best first."""
        complete = [each for each in self.trials() if each.state == TrialState.COMPLETE]

        def loss(trial: FrozenTrial) -> float:
            assert trial.value is not None
            return trial.value if self.is_lower_better else -trial.value

        return sorted(complete, key=loss)

    def rows(self) -> list[Row]:
        """All trials as a table shows them."""
        interrupted = {trial.number for trial in self._list_interrupted()}
        return [self._make_row(trial, trial.number in interrupted) for trial in self.trials()]

    def run(self, number: int) -> Run:
        """The run folder of a trial."""
        return Run(self.folder / f"trial-{number:04d}")

    def remove_weights(self, keep: int) -> None:
        """Removes from this folder the weights of all ended trials but the best `keep`."""
        kept = {trial.number for trial in self.rank()[:keep]}
        for trial in self.trials():
            own = trial.user_attrs.get("worker") == self.worker
            if own and trial.state in FINISHED and trial.number not in kept:
                shutil.rmtree(self.run(trial.number).checkpoint.parent, ignore_errors=True)

    def _make_row(self, trial: FrozenTrial, is_interrupted: bool) -> Row:
        states = {
            TrialState.COMPLETE: "complete",
            TrialState.PRUNED: "pruned",
            TrialState.FAIL: "failed",
            TrialState.WAITING: "waiting",
        }
        state = states.get(trial.state)
        if state is None:
            state = "interrupted" if is_interrupted else "running"
        values = trial.intermediate_values.values()
        best = None
        if values:
            best = min(values) if self.is_lower_better else max(values)
        return Row(
            number=trial.number,
            state=state,
            value=best,
            epochs=len(values),
            seconds=round(_measure(trial), 1),
            settings=dict(trial.params),
            run=self.run(trial.number).folder.name,
            reason=trial.user_attrs.get("reason"),
        )

    def _begin(self, first: dict[str, Any] | None, limit: int | None) -> Trial | None:
        number = len(self.trials())
        if limit is not None and number >= limit:
            return None
        if first and number == 0:
            self.optuna.enqueue_trial(first)
        trial = self.optuna.ask()
        trial.set_user_attr("worker", self.worker)
        return trial

    def _find_interrupted(self) -> Trial | None:
        for trial in self._list_interrupted():
            return Trial(self.optuna, trial._trial_id)
        return None

    def _list_interrupted(self) -> list[FrozenTrial]:
        """The trials that were begun in this folder, and whose processes have gone."""
        left = {trial.number for trial in self._list_open() if not self._is_held(trial)}
        # A process ends its trial before it lets go of it: what was seen running and then not held
        # may have ended in between, so its state counts once more.
        return [trial for trial in self._list_open() if trial.number in left]

    def _list_open(self) -> list[FrozenTrial]:
        """The trials begun in this folder that have not ended."""
        own = [each for each in self.trials() if each.user_attrs.get("worker") == self.worker]
        return [trial for trial in own if trial.state == TrialState.RUNNING]

    def _is_held(self, trial: FrozenTrial) -> bool:
        return locks.find_holder(self._lock_file(trial.number)) is not None

    def _hold(self, number: int) -> AbstractContextManager[None]:
        return locks.hold(self._lock_file(number), f"trains trial {number}", "Wait for its end.")

    def _lock_file(self, number: int) -> Path:
        # Not in the run folder, which has to be empty when a training begins.
        return self.folder / "locks" / f"trial-{number:04d}.lock"

    def _locked(self) -> AbstractContextManager[None]:
        """No other process of this folder takes a trial meanwhile."""
        return locks.wait_for(self.folder / "locks" / "study.lock")

    def _require_same(self, identity: dict[str, str]) -> None:
        stored = self.optuna.user_attrs
        for name, value in identity.items():
            if stored.get(name, value) != value:
                raise InputError(
                    f"the study in {self.folder} was begun with another {name}.",
                    "Give the same again to continue it; or begin another study with --out DIR.",
                )
            if name not in stored:
                self.optuna.set_user_attr(name, value)


class Spans:
    """Notes while a trial runs how long it has been running: an interruption loses nothing."""

    def __init__(self, trial: Trial):
        self.trial = trial
        self.before = list(trial.user_attrs.get("spans", []))
        self.began = time.time()

    def note(self) -> None:
        """Notes the time until now."""
        self.trial.set_user_attr("spans", [*self.before, (self.began, time.time())])


def make_pruner(name: str, base: Config) -> optuna.pruners.BasePruner:
    """Optuna's pruner of that name, one of PRUNERS, for trainings as long as that of `base`."""
    epochs = [phase.epochs for phase in base.train.phases]
    if name == "none":
        return optuna.pruners.NopPruner()
    if name == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=sum(epochs))
    # The phases before the last one say little about what the last one makes of the settings.
    return optuna.pruners.MedianPruner(UNPRUNED_TRIALS, n_warmup_steps=sum(epochs[:-1]))


def _measure(trial: FrozenTrial) -> float:
    """The seconds in which `trial` was trained."""
    return sum(end - begin for begin, end in trial.user_attrs.get("spans", []))


def _open_storage(url: str) -> optuna.storages.BaseStorage:
    """The database at `url`. Raises InputError when the package for it is not installed."""
    options: dict[str, Any] = {}
    if url.startswith("sqlite"):
        options = {"connect_args": {"timeout": STORAGE_SECONDS}}
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs=options)
    except ImportError as error:
        database = url.partition(":")[0]
        raise InputError(
            f"a {database} database needs a Python package that is not installed.",
            "Install the package that SQLAlchemy's documentation names for it.",
        ) from error
