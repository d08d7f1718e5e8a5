"""Compares predictions with the hidden labels: the metric that contract.json beside this file
names, and a page with the confusion matrix.

Usage: scoring.py INPUT OUTPUT, two folders: one with res/predictions.npy and ref/labels.json
(labels, class_names); the one where scores.json and detailed_results.html go.
"""

import html
import json
import sys
from pathlib import Path

import metrics
import numpy as np

CONTRACT = json.loads((Path(__file__).parent / "contract.json").read_text(encoding="utf-8"))


def main(source: Path, target: Path) -> None:
    hidden = json.loads((source / "ref" / "labels.json").read_text(encoding="utf-8"))
    labels, names = np.array(hidden["labels"]), hidden["class_names"]
    file = source / "res" / "predictions.npy"
    if not file.exists():
        sys.exit("There are no predictions: read what the ingestion wrote to its log.")
    predictions = np.load(file, allow_pickle=False)
    if len(predictions) != len(labels):
        sys.exit(f"There are {len(predictions)} predictions for {len(labels)} images.")
    metric = CONTRACT["metric"]
    value = metrics.compute(metric, labels, predictions)
    scores = {metric.replace("-", "_"): value}
    (target / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    predicted = metrics.take_labels(predictions)
    (target / "detailed_results.html").write_text(
        page(labels, predicted, names, f"{metric} {value:.4f}"), encoding="utf-8"
    )
    print(f"{metric} {value:.4f} on {len(labels)} images")


def page(labels: np.ndarray, predictions: np.ndarray, names: list[str], score: str) -> str:
    """The confusion matrix as an HTML page: a row a true class, a column a predicted one."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = ""
    for label, name in enumerate(names):
        counts = [
            int(((labels == label) & (predictions == guess)).sum()) for guess in range(len(names))
        ]
        shades = [count / max(sum(counts), 1) for count in counts]
        cells = "".join(
            f'<td style="background: rgba(60, 110, 180, {0.7 * shade:.2f})">{count}</td>'
            for count, shade in zip(counts, shades)
        )
        rows += f"<tr><th>{html.escape(name)}</th>{cells}</tr>\n"
    style = "body { font: 14px sans-serif; } td, th { padding: .3em .6em; text-align: right; }"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Confusion '
        f"matrix</title><style>{style}</style></head>\n"
        f"<body><h1>{html.escape(score)}</h1>\n<p>Rows: true classes. Columns: predicted "
        "ones.</p>\n"
        f"<table><tr><th></th>{head}</tr>\n{rows}</table></body></html>\n"
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
