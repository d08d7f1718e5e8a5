"""From prepared samples and a configuration to a finished run folder."""

from contextlib import AbstractContextManager
from pathlib import Path

from toolkit.core import config, locks
from toolkit.core.config import Config
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError
from toolkit.core.files import remove_strays
from toolkit.core.progress import Progress, silent
from toolkit.data import cleaning, splitting
from toolkit.data.dataset import Samples
from toolkit.models import backend
from toolkit.models.network import Network
from toolkit.training import batch_size, run_folder, trainer
from toolkit.training.callbacks import ReportEpoch
from toolkit.training.prepare import Prepared, prepare
from toolkit.training.run_folder import Run


def fit(
    prepared: Prepared,
    settings: Config,
    folder: Path,
    data: Path | None = None,
    network: Network | None = None,
    progress: Progress = silent,
    contract: Contract = AN2DL2024,
    report_epoch: ReportEpoch | None = None,
) -> Run:
    """Trains the network of `settings` into `folder`, a new one, and returns the finished run.

    data: the file that the samples were read from, which is noted in the run. network: what
    `trainer.build_seeded_network` made of the same settings and samples; None: built here.
    With train.batch_size = "auto", what fits is found first (see `batch_size.settle`). contract: of
    the competition, noted in the run. report_epoch: is called with each
    epoch's row of the history. Raises
    InputError for settings that do not fit the samples, a folder that is not empty, or a training
    that diverges; LimitError when memory runs out. What an interrupted training has reached is
    kept in `folder`: see `resume`.
    """
    samples = prepared.samples
    settings = batch_size.settle(settings, samples, progress)
    network = network or trainer.build_seeded_network(settings, samples)
    run = run_folder.begin(folder, settings, samples, data, contract, backend.name())
    with _hold(run):
        _write(run, prepared)
        trainer.train(network, run, samples, prepared.parts, settings, progress, report_epoch)
    return run


def resume(
    run: Run,
    samples: Samples,
    progress: Progress = silent,
    report_epoch: ReportEpoch | None = None,
) -> Run:
    """Continues the training of `run` after its last whole epoch, as if it had never stopped.

    samples: those the run was begun with. Raises InputError for other samples or a damaged state,
    and what `fit` raises.
    """
    run_folder.require_data(run, samples)
    _require_backend(run)
    settings = config.read(run.config)
    with _hold(run):
        # What a writer that was killed has left: with the optimiser's state, megabytes each.
        for place in (run.folder, run.state.parent):
            remove_strays(place)
        network = trainer.build_seeded_network(settings, samples)
        if not run.split.exists():
            # Interrupted before it was prepared to the end.
            _write(run, prepare(samples, settings))
        parts = splitting.read(run.split)
        trainer.train(network, run, samples, parts, settings, progress, report_epoch)
    return run


def _require_backend(run: Run) -> None:
    """Raises InputError unless Keras runs on the backend that `run` was begun with: another one
    draws other random numbers and keeps other variables."""
    # Version 0.1 had only TensorFlow.
    begun = run_folder.read_provenance(run).get("backend", "tensorflow")
    if begun != backend.name():
        raise InputError(
            f"the training in {run.folder} was begun on {begun}, and Keras runs on "
            f"{backend.name()} now.",
            f"Continue it there: cbtool train --backend {begun} --resume {run.folder}.",
        )


def _hold(run: Run) -> AbstractContextManager[None]:
    """Nobody else trains `run` meanwhile."""
    return locks.hold(
        run.lock, f"is training {run.folder}", "Wait for its end, or stop it with kill."
    )


def _write(run: Run, prepared: Prepared) -> None:
    cleaning.write_csv(prepared.cleaning, run.clean)
    # Last: a run that has a split was prepared to the end.
    splitting.write(prepared.parts, run.split)
