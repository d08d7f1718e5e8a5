"""Runs a submission on the hidden images, in one call: `Model().predict(X)`.

Usage: ingestion.py INPUT OUTPUT SUBMISSION, three folders: one with images.npz, `images`: uint8 (n,
height, width, 3); the one where predictions.npy, (n,), goes; and the submission's, with model.py.
Errors go to stderr, which participants can read; CodaBench ignores this program's exit code.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np


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
    from model import Model

    model = Model()
    loaded = time.perf_counter()
    predictions = np.asarray(model.predict(X))
    ended = time.perf_counter()
    print(
        f"{len(X)} images: imported and loaded in {loaded - started:.1f} s, predicted in "
        f"{ended - loaded:.1f} s"
    )
    if predictions.shape != (len(X),) or not np.issubdtype(predictions.dtype, np.integer):
        sys.exit(
            f"predict returned {predictions.dtype} of shape {predictions.shape}, not integers of "
            f"shape ({len(X)},)."
        )
    np.save(target / "predictions.npy", predictions)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
