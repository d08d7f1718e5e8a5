"""The page of several runs side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import InputError
from toolkit.core.files import write_text
from toolkit.evaluation import compare
from toolkit.report import charts, recipe
from toolkit.report.contents import Contents
from toolkit.report.html import render
from toolkit.report.score_sections import CONDITIONS

INTERVAL = "95 % interval"
SCORE_COLUMNS = ("run", "estimated", INTERVAL, "clean", INTERVAL, "corrupted", INTERVAL)


def write_page(several: Sequence[Contents], path: Path) -> None:
    """Writes the page of `several` runs, two or more; differences are from the first one."""
    names = _name_runs(several)
    rows, notes = _list_differences(several, names)
    evaluated = [contents.evaluated for contents in several]
    families = list(dict.fromkeys(family for one in evaluated if one for family in one.families))
    settings = [contents.settings for contents in several]
    values = {
        "title": ", ".join(names),
        "first": names[0],
        "score_columns": SCORE_COLUMNS,
        "score_rows": [_list_scores(name, one) for name, one in zip(names, several)],
        "difference_rows": rows,
        "notes": notes,
        "history_chart": charts.draw_comparison(
            {name: one.epochs for name, one in zip(names, several) if one.epochs}
        ),
        "family_columns": ["family", *names],
        "family_rows": [
            (family, *(_mean_score(contents, family) for contents in several))
            for family in families
        ],
        "recipe_columns": ["key", *names],
        "recipe_rows": [(key, *cells) for key, cells in recipe.list_differences(settings)],
    }
    write_text(path, render("compare.html", values))


def _name_runs(several: Sequence[Contents]) -> list[str]:
    """The names of the folders; their paths, where two have one name."""
    folders = [contents.run.folder for contents in several]
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _list_scores(name: str, contents: Contents) -> tuple[Any, ...]:
    found = contents.evaluated
    if found is None:
        return (name, "not evaluated", "", "", "", "", "")
    cells: list[Any] = [name]
    headline = found.headline
    scores = [(headline.estimated_score, headline.estimated_low, headline.estimated_high)]
    scores += [
        (one.value, one.low, one.high) for one in (found.intervals[name] for name in CONDITIONS)
    ]
    for value, low, high in scores:
        known = value is not None and low is not None and high is not None
        cells += [value, f"{low:.3f} to {high:.3f}"] if known else ["", ""]
    return tuple(cells)


def _list_differences(
    several: Sequence[Contents], names: Sequence[str]
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """The rows of paired differences, and sentences about pairs that cannot be compared."""
    rows: list[tuple[Any, ...]] = []
    notes = []
    first = several[0]
    for name, contents in list(zip(names, several))[1:]:
        if first.evaluated is None or contents.evaluated is None:
            notes.append(f"{name}: no difference, because a run is not evaluated.")
            continue
        try:
            found = compare.compare(contents.run, first.run, first.evaluated.part)
        except InputError as error:
            notes.append(f"{name}: no difference: {error.sentence}")
            continue
        for condition, gain in found.items():
            is_clear = gain.low > 0 or gain.high < 0
            verdict = ("better" if gain.value > 0 else "worse") if is_clear else "inconclusive"
            numbers = (f"{one:+.4f}" for one in (gain.value, gain.low, gain.high))
            rows.append((name, CONDITIONS[condition], *numbers, verdict))
    return rows, notes


def _mean_score(contents: Contents, family: str) -> Any:
    if contents.evaluated is None or family not in contents.evaluated.families:
        return ""
    return float(np.mean([score.value for score in contents.evaluated.families[family]]))
