"""Run folders: where everything about one training lies. A stage is done when its file exists."""

import json
import platform
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.core import competition_file, config, locks, records
from toolkit.core.config import Config
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError
from toolkit.core.files import write_error, write_text
from toolkit.data.dataset import Samples

PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy", "h5py", "scikit-learn")


@dataclass(frozen=True)
class Run:
    """The paths of one run folder."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def competition(self) -> Path:
        """The competition that it was trained for, where one was described."""
        return self.folder / competition_file.FILE

    @property
    def provenance(self) -> Path:
        return self.folder / "provenance.json"

    @property
    def clean(self) -> Path:
        return self.folder / "clean.csv"

    @property
    def split(self) -> Path:
        return self.folder / "split.json"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def checkpoint(self) -> Path:
        """The weights after the best epoch by the monitored metric."""
        return self.folder / "checkpoints" / "best.npz"

    @property
    def state(self) -> Path:
        """What an unfinished training goes on from."""
        return self.folder / "checkpoints" / "state.npz"

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.folder / "checkpoints" / "training.lock"

    @property
    def finished(self) -> Path:
        """Exists once training has come to its end; holds its summary."""
        return self.folder / "training.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def inference(self) -> Path:
        """How the package predicts, as `evaluate` chose it: views, temperature, class shares."""
        return self.folder / "inference.json"

    @property
    def package(self) -> Path:
        """The folder that becomes the zip."""
        return self.folder / "package"

    @property
    def test_openings(self) -> Path:
        """When the test part was opened."""
        return self.folder / "test_openings.json"

    def predictions(self, part: str, condition: str) -> Path:
        return self.folder / "predictions" / f"{part}-{condition}.npz"


def require_new(folder: Path) -> None:
    """Raises InputError when `folder` holds anything: a run is never overwritten."""
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{folder} is not empty.",
            "Give a new folder with --run; cbtool never overwrites a run.",
        )


def begin(
    folder: Path,
    settings: Config,
    samples: Samples,
    data: Path | None,
    contract: Contract = AN2DL2024,
    backend: str = "tensorflow",
) -> Run:
    """Makes the run folder and writes its configuration and provenance.

    data: the file of `samples`, None where there is none. contract: of the competition.
    backend: that Keras runs on. Raises InputError when the folder holds anything already.
    """
    run = Run(Path(folder))
    require_new(run.folder)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(run.folder / "config.toml", error) from error
    config.write(settings, run.config)
    if contract != AN2DL2024:
        competition_file.write(contract, run.competition)
    provenance = {
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "data": str(Path(data).resolve()) if data else None,
        "fingerprint": samples.fingerprint,
        "image_shape": samples.images.shape[1:],
        "class_names": samples.class_names,
        "seed": settings.train.seed,
        "backend": backend,
        "git": _find_git_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": _find_versions(),
    }
    write_text(run.provenance, json.dumps(provenance, indent=2) + "\n")
    return run


def read_contract(run: Run) -> Contract:
    """The contract of the competition that `run` was trained for. Raises InputError when its
    description is damaged."""
    return competition_file.read(run.competition) if run.competition.exists() else AN2DL2024


def open_finished(folder: Path) -> Run:
    """The run in `folder`. Raises InputError unless it has been trained to its end."""
    run = open_run(folder)
    if not run.finished.exists():
        if (process := locks.find_holder(run.lock)) is not None:
            raise InputError(
                f"{folder} is still training, in process {process}.",
                "Wait for its end; its epochs so far are in history.csv.",
            )
        raise InputError(
            f"the training in {folder} is not finished.",
            f"Continue it: cbtool train --resume {folder}.",
        )
    return run


def find_latest(folder: Path) -> Run:
    """The run directly in `folder` whose training ended last. Raises InputError when no training
    there has come to its end."""
    finished, training = [], []
    for path in sorted(Path(folder).glob("*/config.toml")):
        run = Run(path.parent)
        if locks.find_holder(run.lock) is not None:
            training.append(run.folder)
        elif run.finished.exists():
            finished.append(run)
    if finished:
        return max(finished, key=_find_end)
    live = f": {training[0]} is still training" if training else ""
    raise InputError(
        f"there is no complete run in {folder}{live}.",
        "Train one: cbtool train --preset lite --data FILE; or name one of another folder with "
        "--run DIR.",
    )


def open_unfinished(folder: Path) -> Run:
    """The run in `folder`. Raises InputError when there is none, or when it is trained to its end
    already."""
    run = open_run(folder)
    if run.finished.exists():
        raise InputError(
            f"the run in {folder} is finished.", f"Next: cbtool evaluate --run {folder}."
        )
    return run


def require_data(run: Run, samples: Samples) -> None:
    """Raises InputError unless `samples` are what `run` was begun with."""
    if samples.fingerprint != read_provenance(run)["fingerprint"]:
        raise InputError(
            "the data is not the data of this run (its pixels or labels differ).",
            "Give the file of the run: --data FILE.",
        )


def training_file(run: Run) -> Path:
    """The file that `run` was trained on. Raises InputError when it is unknown or has gone."""
    data = read_provenance(run)["data"]
    if data is None:
        raise InputError(
            f"the run {run.folder} does not name its training file.",
            "Give it with --data FILE.",
        )
    if not Path(data).exists():
        raise InputError(
            f"the training file is not at {data} any more.", "Give it with --data FILE."
        )
    return Path(data)


def _find_end(run: Run) -> float:
    return run.finished.stat().st_mtime


def open_run(folder: Path) -> Run:
    """The run in `folder`, however far it has come. Raises InputError when there is none."""
    run = Run(Path(folder))
    if not run.config.exists():
        raise InputError(
            f"{folder} is not a run folder: it has no config.toml.",
            "Make one: cbtool train --preset NAME --data FILE --run DIR.",
        )
    return run


def read_provenance(run: Run) -> dict[str, Any]:
    """What `begin` wrote. Raises InputError when it is missing or damaged."""
    return records.read(dict[str, Any], run.provenance, "Train the run again.")


def _find_versions() -> dict[str, str]:
    """The version of each of PACKAGES, of the backend, and of TensorFlow's build where that has
    another name."""
    found = {}
    for name in (*PACKAGES, "tensorflow-cpu", "jax"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _find_git_commit() -> str | None:
    """The commit of the working folder, with "+" when it has uncommitted changes; None outside of
    git."""
    try:
        described = subprocess.run(
            # --exclude=*: the commit's own digest, not the name of a tag.
            ["git", "describe", "--always", "--dirty=+", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
