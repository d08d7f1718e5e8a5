"""What predict returned, against what the competition asks it to return."""

import numpy as np

from toolkit.core.contract import Returns

SUM_TOLERANCE = 1e-2  # of a row of probabilities; those of float16 are this far off


def find_fault(
    output: np.ndarray, kind: Returns, images: int | None = None, classes: int | None = None
) -> str | None:
    """What is wrong with `output` as an answer of that `kind`; None: nothing. images, classes: how
    many there are, any number by default."""
    if kind in ("labels", "csv"):  # the sandbox has read the file
        return _find_fault_in_labels(output, images, classes)
    if (
        output.ndim != 2
        or images not in (None, len(output))
        or classes not in (None, len(output.T))
    ):
        return f"the shape {output.shape}, not ({images or 'n'}, {classes or 'classes'})"
    if output.dtype.kind not in "biuf":
        return f"{output.dtype}, not numbers"
    if not np.isfinite(output).all():
        return "numbers that are not finite"
    if kind == "one-hot":
        if not (np.isin(output, (0, 1)).all() and (output.sum(axis=1) == 1).all()):
            return "rows that are not a single 1 among zeros"
    elif kind == "probabilities":
        if output.size and (output.min() < 0 or output.max() > 1 + SUM_TOLERANCE):
            return f"numbers from {output.min():g} to {output.max():g}, not probabilities"
        if not np.allclose(output.sum(axis=1, dtype=float), 1, atol=SUM_TOLERANCE):
            return "rows that do not sum to 1"
    return None


def _find_fault_in_labels(
    output: np.ndarray, images: int | None, classes: int | None
) -> str | None:
    if output.ndim != 1 or images not in (None, len(output)):
        return f"the shape {output.shape}, not ({images or 'n'},)"
    if not np.issubdtype(output.dtype, np.integer):
        return f"{output.dtype}, not integers"
    if classes and len(output) and (output.min() < 0 or output.max() >= classes):
        return f"labels outside 0..{classes - 1}"
    return None


def to_answers(output: np.ndarray, kind: Returns) -> np.ndarray:
    """Labels, int64 [n], or probabilities, float64 [n, classes], from an `output` without fault."""
    if kind in ("labels", "csv"):
        return output.astype(np.int64)
    if kind == "one-hot":
        return output.argmax(axis=1)
    if kind == "probabilities":
        return output.astype(np.float64)
    powers = np.exp(output.astype(np.float64) - output.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
