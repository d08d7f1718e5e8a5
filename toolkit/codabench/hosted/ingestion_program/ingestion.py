"""Runs a submission on the hidden images, in one call, as contract.json beside this file says:
`Model().predict(X)`, or a function of the module, by whatever names.

Usage: ingestion.py INPUT OUTPUT SUBMISSION, three folders: one with images.npz, `images`: uint8 (n,
height, width, channels); the one where predictions.npy goes, labels (n,) or probabilities (n,
classes); and the submission's, with model.py. Errors go to stderr, which participants can read;
CodaBench ignores this program's exit code.
"""

import csv
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CONTRACT = json.loads((Path(__file__).parent / "contract.json").read_text(encoding="utf-8"))


def load_model(X: np.ndarray) -> Any:
    """What has the function that predicts."""
    module = importlib.import_module("model")
    if CONTRACT["style"] == "function":
        return module
    model = getattr(module, CONTRACT["class_name"])()
    if CONTRACT["style"] == "fit":
        # There are no labels here: a submission that must be trained brings its weights.
        model.fit(X[:0], np.zeros(0, int))
    return model


def read_labels(path: str, images: int) -> np.ndarray:
    """The labels in the CSV file that the submission wrote; ends with the reason where they are not
    one label an image."""
    number, label = CONTRACT["csv_columns"]
    try:
        with open(path, newline="", encoding="utf-8") as file:
            found = sorted((int(row[number]), int(row[label])) for row in csv.DictReader(file))
    except (OSError, KeyError, TypeError, ValueError) as error:
        sys.exit(f"{path} is no CSV file with the columns {number} and {label}: {error!r}.")
    if [each for each, _ in found] != list(range(images)):
        sys.exit(f"{path} has not one row for each image, 0 to {images - 1}.")
    return np.array([value for _, value in found], np.int64)


def take_predictions(answers: np.ndarray, images: int) -> np.ndarray:
    """Labels or probabilities from what the submission returned; ends with the reason where it is
    neither."""
    kind, classes = CONTRACT["returns"], CONTRACT["classes"]
    labels = kind in ("labels", "csv")
    wanted = (images,) if labels else (images, classes)
    numbers = np.integer if labels else np.number
    if answers.shape != wanted or not np.issubdtype(answers.dtype, numbers):
        what = "integers" if labels else kind
        sys.exit(
            f"{CONTRACT['method']} returned {answers.dtype} of shape {answers.shape}, not {what} "
            f"of shape {wanted}."
        )
    if kind == "one-hot":
        return answers.argmax(axis=1)
    if kind == "logits":
        powers = np.exp(answers - answers.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)
    return answers


def main(source: Path, target: Path, submission: Path) -> None:
    if not (submission / "model.py").exists():
        nested = [path.relative_to(submission) for path in submission.rglob("model.py")]
        sys.exit(
            f"There is no model.py at the top of the zip{f', but {nested[0]}' if nested else ''}."
        )
    X = np.load(source / "images.npz")["images"]
    os.chdir(submission)  # weights are loaded by relative names
    sys.path.insert(0, str(submission))
    started = time.perf_counter()
    model = load_model(X)
    loaded = time.perf_counter()
    returned = getattr(model, CONTRACT["method"])(X)
    ended = time.perf_counter()
    if CONTRACT["returns"] == "csv":
        returned = read_labels(returned, len(X))
    print(
        f"{len(X)} images: imported and loaded in {loaded - started:.1f} s, predicted in "
        f"{ended - loaded:.1f} s"
    )
    np.save(target / "predictions.npy", take_predictions(np.asarray(returned), len(X)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
