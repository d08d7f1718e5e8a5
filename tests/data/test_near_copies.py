"""Groups of near copies: the same as by comparing each hash with each other one, in less memory."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from toolkit.data import near_copies

BITS = 256


def group_by_all_pairs(hashes, limit):
    """The definition: connected components of all pairs, numbered by their first members."""
    signs = np.where(hashes, 1, -1).astype(np.float32)
    # Of 256 products of signs, each bit that differs makes one -1 instead of 1.
    near = signs @ signs.T >= BITS - 2 * limit
    _, number = connected_components(near)
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


@pytest.fixture(params=["look up", "compare", "as measured"])
def way(request, monkeypatch):
    """How hashes are found: by their bands, all one by one, or as is faster."""
    if request.param == "look up":
        monkeypatch.setattr(near_copies, "FEW", 0)
        monkeypatch.setattr(near_copies, "CANDIDATE_COST", 0)
    elif request.param == "compare":
        monkeypatch.setattr(near_copies, "FEW", 10**9)


@pytest.mark.parametrize("limit", [0, 5, 15, 16, 30, 47, 48, 128, BITS])
def test_the_groups_are_those_of_all_pairs(limit, way):
    """With limits that look up no, one or two flipped bits of a band, and those that look up
    none."""
    rng = np.random.default_rng(limit)
    pictures = rng.random((15, BITS)) < 0.5
    for share in (0.01, 0.05, 0.1):
        changed = rng.random((120, BITS)) < share
        hashes = pictures[rng.integers(0, len(pictures), 120)] ^ changed
        found = near_copies.group_hashes(hashes, limit)
        assert np.array_equal(found, group_by_all_pairs(hashes, limit))


@pytest.mark.parametrize("share", [0.03, 0.06, 0.12, 0.5])
def test_the_groups_of_many_hashes_are_those_of_all_pairs(share):
    """Around one picture: all near copies, chains of them, a few of them, and none. In every second
    hash, four bands are equal, so that looking up finds half of all."""
    rng = np.random.default_rng(0)
    hashes = (rng.random(BITS) < 0.5) ^ (rng.random((3000, BITS)) < share)
    hashes.reshape(-1, near_copies.BAND_BITS, near_copies.BANDS)[::2, :, :4] = False
    found = near_copies.group_hashes(hashes, 30)
    assert np.array_equal(found, group_by_all_pairs(hashes, 30))


def test_a_single_hash_is_a_group(way):
    """As of a file whose images are all the same picture."""
    assert near_copies.group_hashes(np.zeros((1, BITS), bool), 30).tolist() == [0]


def test_a_chain_is_one_group(way):
    """Each differs from the next one in 30 bits, and from the others in more."""
    hashes = np.zeros((9, BITS), bool)
    for row in range(9):
        hashes[row, : 30 * row] = True
    assert near_copies.group_hashes(hashes, 30).tolist() == [0] * 9
    assert near_copies.group_hashes(hashes, 29).tolist() == list(range(9))


@pytest.mark.parametrize("limit", range(0, 48, 5))
def test_hashes_that_differ_alike_in_all_bands_are_found(limit, way):
    """The hardest pair to look up: no band differs in fewer bits than another, apart from one."""
    hashes = np.zeros((2, BITS), bool)
    hashes[1, :limit] = True  # neighbouring bits are of different bands
    assert near_copies.group_hashes(hashes, limit).tolist() == [0, 0]
    hashes[1, limit] = True
    assert near_copies.group_hashes(hashes, limit).tolist() == [0, 1]


def test_opposite_hashes_are_no_copies():
    hashes = np.repeat([[False], [True]], BITS, axis=1)
    assert near_copies.group_hashes(hashes, 30).tolist() == [0, 1]


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
