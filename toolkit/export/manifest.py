"""manifest.json, which says what a package holds and how its model.py predicts; inference.json,
which `evaluate` chooses for it. docs/manifest.md describes every key.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from toolkit.core import archives, documents, records
from toolkit.core.archives import open_zip
from toolkit.core.damage import guard
from toolkit.core.errors import InputError
from toolkit.data.dataset import CLASSES_LIMIT
from toolkit.training.run_folder import Run

FORMAT = 2
FILE = "manifest.json"
NETWORKS_LIMIT = 100
SIZE_LIMIT = 20_000_000  # bytes; the largest network here has 1 MB
VALUES_LIMIT = 500_000  # the largest network here has a tenth of it
# Sides of an image: beyond, a batch of images would not fit in memory.
Side = Annotated[int, Field(ge=1, le=1024)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PLAIN_VIEW = "identity"
HINT = "Build the package again: cbtool build --run DIR."


@dataclass(frozen=True)
class Inference:
    """What predicting takes beyond running the network.

    views: that an image is predicted in, best first. temperature: that scores are divided by, None
    for none. class_shares: of the training, where the shares of the predicted images are corrected
    for, else None.
    """

    views: tuple[str, ...] = (PLAIN_VIEW,)
    temperature: float | None = None
    class_shares: tuple[float, ...] | None = None


@dataclass(frozen=True)
class WeightsEntry:
    """dtype: of the kernels."""

    file: str
    dtype: str
    sha256: str


@dataclass(frozen=True)
class NetworkEntry:
    """One network. gflop: arithmetic of one image in one view. bfloat16: whether its labels stay
    the same with products in that type. families: of corruptions, that it was trained on.
    operations: in the order they run, each with a name, an op, its inputs' names and what that op
    takes.
    """

    backbone: str
    gflop: Amount
    bfloat16: bool
    families: tuple[str, ...]
    views: tuple[str, ...]
    temperature: Positive | None
    weights: WeightsEntry
    operations: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Manifest:
    """image_shape: (height, width, 3). time_limit: seconds from the start of the process that
    predict keeps to, and images: how many there are in all its calls; 0 for unknown."""

    format: int
    image_shape: tuple[Side, Side, Annotated[int, Field(ge=1, le=4)]]
    class_names: Annotated[tuple[str, ...], Field(max_length=CLASSES_LIMIT)]
    class_shares: Annotated[tuple[float, ...], Field(max_length=CLASSES_LIMIT)] | None
    networks: Annotated[tuple[NetworkEntry, ...], Field(max_length=NETWORKS_LIMIT)]
    time_limit: Amount = 0.0
    images: Annotated[int, Field(ge=0)] = 0

    def with_inference(self, inference: Inference) -> "Manifest":
        """This manifest, to predict as `inference` says with every network."""
        networks = [
            replace(entry, views=inference.views, temperature=inference.temperature)
            for entry in self.networks
        ]
        return replace(self, class_shares=inference.class_shares, networks=tuple(networks))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the package in `folder`. Raises InputError when it is missing or damaged."""
    return records.read(Manifest, folder / FILE, HINT, VALUES_LIMIT)


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Writes `manifest` into the package in `folder`."""
    records.write(manifest, folder / FILE)


def manifest_text(manifest: Manifest) -> str:
    """The text of manifest.json."""
    return records.to_text(manifest)


def read_zip_manifest(path: Path) -> Manifest | None:
    """The manifest of the zip at `path`; None where it has none, or somebody else's.

    Raises InputError when `path` is no zip.
    """
    with open_zip(path) as archive:
        try:
            text = archives.read_entry(path, archive, FILE, SIZE_LIMIT)
            return records.parse(Manifest, text, VALUES_LIMIT)
        except (KeyError, ValueError, InputError):
            return None


def read_families(path: Path) -> tuple[str, ...]:
    """The families of corruptions that the networks in the zip at `path` were trained on; none
    where it does not say."""
    manifest = read_zip_manifest(path)
    if manifest is None:
        return ()
    names = [family for network in manifest.networks for family in network.families]
    return tuple(dict.fromkeys(names))


def read_inference(run: Run) -> Inference:
    """What `evaluate` chose for `run`; the plain view alone before it is evaluated."""
    if run.inference.exists():
        return records.read(Inference, run.inference, _evaluate_again(run))
    if run.metrics.exists():
        return _inference_in_metrics(run)
    return Inference()


def write_inference(run: Run, inference: Inference) -> None:
    """Writes what `evaluate` chose for `run` into its folder."""
    records.write(inference, run.inference)


def _inference_in_metrics(run: Run) -> Inference:
    """The choice of a run without inference.json, which version 0.1 did not write: it is in
    metrics.json, too."""
    with guard(run.metrics, _evaluate_again(run), "cannot be read"):
        metrics = documents.read_json(run.metrics, _evaluate_again(run))
        steps = metrics["steps"]
        views, shares = [PLAIN_VIEW], steps["class_shares"]
        choice = metrics.get("tta") or metrics.get("views")  # version 0.1 called it views
        if choice:
            views = choice["chosen"]["views"]
        return Inference(tuple(views), steps["temperature"], tuple(shares) if shares else None)


def _evaluate_again(run: Run) -> str:
    return f"Run: cbtool evaluate --run {run.folder}."
