"""What predict may return, by the competition's contract."""

import numpy as np
import pytest

from toolkit.runtime.returns import find_fault, to_answers

PROBABILITIES = np.array([[0.1, 0.9, 0.0], [0.5, 0.3, 0.2]])


@pytest.mark.parametrize(
    ("kind", "output", "words"),
    [
        ("labels", np.array([0, 2]), None),
        ("labels", np.array([0, 3]), "labels outside 0..2"),
        ("labels", np.array([0.0, 1.0]), "float64, not integers"),
        ("labels", PROBABILITIES, r"the shape (2, 3), not (2,)"),
        ("labels", np.array([0, 1, 2]), "the shape (3,), not (2,)"),
        ("one-hot", np.eye(3, dtype=int)[:2], None),
        ("one-hot", np.ones((2, 3), int), "a single 1"),
        ("one-hot", np.array([0, 1]), "the shape (2,), not (2, 3)"),
        ("probabilities", PROBABILITIES, None),
        ("probabilities", PROBABILITIES.astype(np.float16), None),
        ("probabilities", PROBABILITIES * 2, "not probabilities"),
        ("probabilities", PROBABILITIES / 2, "do not sum to 1"),
        ("probabilities", PROBABILITIES + np.nan, "not finite"),
        ("probabilities", PROBABILITIES.astype(str), "not numbers"),
        ("logits", PROBABILITIES * 100 - 20, None),
        ("logits", PROBABILITIES + np.inf, "not finite"),
        ("logits", PROBABILITIES[:, :2], "the shape (2, 2), not (2, 3)"),
    ],
)
def test_faults(kind, output, words):
    fault = find_fault(output, kind, 2, 3)
    assert fault is None if words is None else words in fault


def test_answers_are_labels_or_probabilities():
    assert to_answers(np.array([2, 0], np.uint8), "labels").dtype == np.int64
    assert to_answers(np.eye(3, dtype=int)[[2, 0]], "one-hot").tolist() == [2, 0]
    found = to_answers(np.log(PROBABILITIES + 1e-9) + 7, "logits")
    assert found == pytest.approx(PROBABILITIES, abs=1e-6)
    assert find_fault(to_answers(np.array([[1e5, 0.0]]), "logits"), "probabilities") is None
