"""The scores in metrics.json that tables and the submissions ledger show."""

from dataclasses import dataclass
from typing import Any

from toolkit.core import records
from toolkit.core.errors import InputError
from toolkit.training.run_folder import Run

# The keys of earlier versions, in metrics.json and in the submissions ledger.
FORMER_KEYS = {
    "estimated_score": "foretold",
    "estimated_low": "foretold_low",
    "estimated_high": "foretold_high",
}


@dataclass(frozen=True)
class Headline:
    """Shares in 0..1; None where not known. clean: accuracy on the images of a held-out part.
    shift: on their chains of corruptions. estimated_score: for a hidden test set, with its 95 %
    interval."""

    clean: float | None = None
    shift: float | None = None
    estimated_score: float | None = None
    estimated_low: float | None = None
    estimated_high: float | None = None


def read_part(run: Run) -> tuple[str | None, dict[str, Any]]:
    """The held-out part by which `run` is scored, the test part where it was opened, and what
    metrics.json says of it; (None, {}) before the run is evaluated."""
    try:
        metrics = records.read(dict[str, Any], run.metrics, "")
    except InputError:
        return None, {}
    for part in ("test", "validation"):
        if isinstance(metrics.get(part), dict):
            return part, metrics[part]
    return None, {}


def take_headline(values: dict[str, Any]) -> Headline:
    """The headline among the `values` of a part in metrics.json, of this version or an earlier
    one."""
    found = {}
    # A former key counts only where the present one is missing.
    for key in ("clean", "shift", *FORMER_KEYS):
        value = values.get(key, values.get(FORMER_KEYS.get(key, key)))
        found[key] = value if isinstance(value, (int, float)) else None
    return Headline(**found)
