"""Runs a submission on the hidden images, in one call, as contract.json beside this file says:
`Model().predict(X)`, or a function of the module, by whatever names.

Usage: ingestion.py INPUT OUTPUT SUBMISSION, three folders: one with images.npz, `images`: uint8 (n,
height, width, channels); the one where predictions.npy goes, labels (n,) or probabilities (n,
classes); and the submission's, with model.py. Errors go to stderr, which participants can read;
CodaBench ignores this program's exit code.
"""

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


def take_predictions(answers: np.ndarray, images: int) -> np.ndarray:
    """Labels or probabilities from what the submission returned; ends with the reason where it is
    neither."""
    kind, classes = CONTRACT["returns"], CONTRACT["classes"]
    wanted = (images,) if kind == "labels" else (images, classes)
    numbers = np.integer if kind == "labels" else np.number
    if answers.shape != wanted or not np.issubdtype(answers.dtype, numbers):
        what = "integers" if kind == "labels" else kind
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
    answers = np.asarray(getattr(model, CONTRACT["method"])(X))
    ended = time.perf_counter()
    print(
        f"{len(X)} images: imported and loaded in {loaded - started:.1f} s, predicted in "
        f"{ended - loaded:.1f} s"
    )
    np.save(target / "predictions.npy", take_predictions(answers, len(X)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
