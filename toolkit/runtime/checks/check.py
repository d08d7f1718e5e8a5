"""A check of a submission, and its subject."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.core.contract import AN2DL2024, Contract
from toolkit.export.manifest import Manifest
from toolkit.runtime.sandbox import Outcome

TEXT_LENGTH = 2000  # characters of a detail or a hint


@dataclass(frozen=True)
class Check:
    """name: what was checked. status: "ok", "warning", "failed", or "skipped" where it cannot be
    judged, most often because another check failed. detail: what was found. hint: the way out."""

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Subject:
    """A zip and what it did. source: the text of its model.py. manifest: None where cbtool did not
    build it. outcome: of running it; None before that, or where there is nothing to run.
    contract: what the competition asks. in_evaluator: whether it ran in the competition's own
    environment."""

    path: Path
    entries: tuple[zipfile.ZipInfo, ...]
    source: str | None
    manifest: Manifest | None
    outcome: Outcome | None
    contract: Contract = AN2DL2024
    in_evaluator: bool = False

    @property
    def time_limit(self) -> float:
        """Seconds that the zip itself keeps to; 0 where it has no such limit."""
        if self.manifest is None:
            return 0.0
        return self.manifest.time_limit

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the images that it is shown: of the size that the zip says
        it takes, or else the competition's."""
        if self.manifest is None:
            return self.contract.image_shape
        height, width, _ = self.manifest.image_shape
        return height, width, self.contract.channels

    @property
    def class_count(self) -> int:
        """How many classes the zip says there are, or else the competition."""
        if self.manifest is None or not self.manifest.class_names:
            return self.contract.classes
        return len(self.manifest.class_names)

    @property
    def weight_files(self) -> dict[str, str]:
        """The files of weights that the manifest names, with their SHA-256."""
        if self.manifest is None:
            return {}
        networks = self.manifest.networks
        return {network.weights.file: network.weights.sha256 for network in networks}

    @property
    def names(self) -> set[str]:
        return {entry.filename for entry in self.entries}


def passed(name: str, detail: str) -> Check:
    return Check(name, "ok", _shorten(detail))


def warning(name: str, detail: str, hint: str) -> Check:
    return Check(name, "warning", _shorten(detail), _shorten(hint))


def skipped(name: str, detail: str) -> Check:
    return Check(name, "skipped", _shorten(detail))


def failed(name: str, detail: str, hint: str) -> Check:
    return Check(name, "failed", _shorten(detail), _shorten(hint))


def _shorten(text: str) -> str:
    """`text` without its end where it is long: names and numbers of strangers are in it."""
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"
