"""What checks look at, and what they say."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from toolkit.runtime.sandbox import Outcome


@dataclass(frozen=True)
class Check:
    """name: what was looked at. status: "ok", "warning" or "failed". detail: what was found. hint:
    the way out."""

    name: str
    status: Literal["ok", "warning", "failed"]
    detail: str
    hint: str = ""


@dataclass(frozen=True)
class Subject:
    """A zip and what it did: its entries, the text of its model.py and manifest, the outcome of
    running it."""

    path: Path
    entries: tuple[zipfile.ZipInfo, ...]
    source: str | None
    manifest: dict
    outcome: Outcome | None

    @property
    def time_limit(self) -> float:
        """Seconds that the zip itself keeps to; 0 where it has no such limit."""
        return self.manifest.get("time_limit", 0.0)

    @property
    def names(self) -> set[str]:
        return {entry.filename for entry in self.entries}


def passed(name: str, detail: str) -> Check:
    return Check(name, "ok", detail)


def warning(name: str, detail: str, hint: str) -> Check:
    return Check(name, "warning", detail, hint)


def failed(name: str, detail: str, hint: str) -> Check:
    return Check(name, "failed", detail, hint)
