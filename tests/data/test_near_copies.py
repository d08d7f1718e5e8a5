"""Groups of near copies: the same as by comparing each hash with each other one, in less memory."""

import tracemalloc

import numpy as np
import pytest

from toolkit.data import near_copies

BITS = 256


def group_by_all_pairs(hashes, limit):
    """The definition: connected components of all pairs, numbered by their first members."""
    number = np.arange(len(hashes))
    for row, one in enumerate(hashes):
        for near in np.flatnonzero((hashes != one).sum(axis=1) <= limit):
            number[number == number[near]] = number[row]
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


@pytest.mark.parametrize("limit", [0, 5, 15, 16, 30, 47, 48, 128])
def test_the_groups_are_those_of_all_pairs(limit):
    """With limits that look up no, one or two flipped bits of a band, and those that look up
    none."""
    rng = np.random.default_rng(limit)
    pictures = rng.random((15, BITS)) < 0.5
    for share in (0.01, 0.05, 0.1):
        changed = rng.random((120, BITS)) < share
        hashes = pictures[rng.integers(0, len(pictures), 120)] ^ changed
        found = near_copies.group_hashes(hashes, limit)
        assert np.array_equal(found, group_by_all_pairs(hashes, limit))


def test_a_chain_is_one_group():
    """Each differs from the next one in 30 bits, and from the others in more."""
    hashes = np.zeros((9, BITS), bool)
    for row in range(9):
        hashes[row, : 30 * row] = True
    assert near_copies.group_hashes(hashes, 30).tolist() == [0] * 9
    assert near_copies.group_hashes(hashes, 29).tolist() == list(range(9))


@pytest.mark.parametrize("kind", ["equal", "near", "different"])
def test_memory_does_not_grow_with_the_pairs(kind):
    """Before, 4,000 near copies took 430 MB, four times as much for twice as many."""
    rng = np.random.default_rng(0)
    changed = rng.random((4000, BITS)) < {"equal": 0, "near": 0.03, "different": 0.5}[kind]
    hashes = (rng.random(BITS) < 0.5) ^ changed
    tracemalloc.start()
    try:
        groups = near_copies.group_hashes(hashes, 30)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert groups.max() + 1 == (4000 if kind == "different" else 1)
    assert peak < 60e6
