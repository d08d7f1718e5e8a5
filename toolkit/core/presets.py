"""What the presets say of themselves: the comment that each file begins with."""

import re
from dataclasses import dataclass

from toolkit.core.config import preset_names, preset_text

# The field that a line of the comment begins, by the label on the line.
FIELDS = {
    "Command": "command",
    "Cost": "cost",
    "Hardware": "cost",
    "Measured": "measured",
    "Score": "measured",
}


@dataclass(frozen=True)
class PresetHead:
    """The head of a preset's file. summary: what is trained. cost: of the training, with the
    hardware. measured: its scores, or why there are none; empty where the file says nothing."""

    name: str
    summary: str
    command: str
    cost: str
    measured: str


# How a head states each score, by the name that `read_scores` gives it.
SCORES = {
    "clean": re.compile(r"accuracy (0\.\d+)"),
    "shift": re.compile(r"(0\.\d+) through chains"),
    "estimated": re.compile(r"(0\.\d+) estimated"),
}


def list_heads() -> list[PresetHead]:
    """The heads of all presets, by name."""
    return [_read_head(name, preset_text(name)) for name in preset_names()]


def _read_head(name: str, text: str) -> PresetHead:
    """A line of the comment begins a field, "# Cost: ...", or continues the one before."""
    parts: dict[str, list[str]] = {"summary": []}
    current = "summary"
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        words = line.removeprefix("#").strip()
        label, colon, rest = words.partition(":")
        if colon and label in FIELDS:
            current, words = FIELDS[label], rest.strip()
        parts.setdefault(current, []).append(words)
    joined = {key: " ".join(lines) for key, lines in parts.items()}
    return PresetHead(
        name,
        joined["summary"],
        joined.get("command", ""),
        joined.get("cost", ""),
        joined.get("measured", ""),
    )


def read_scores(head: PresetHead) -> dict[str, float]:
    """The scores that `head` states, shares in 0..1 by the names in SCORES; those it lacks are left
    out."""
    found = {name: pattern.search(head.measured) for name, pattern in SCORES.items()}
    return {name: float(match.group(1)) for name, match in found.items() if match}
