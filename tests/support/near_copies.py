"""What the search for near copies costs, beside comparing all pairs with scikit-learn's DBSCAN:

    python -m tests.support.near_copies NUMBER...

For each NUMBER of hashes and each kind of them, one row: seconds, and the memory that the search
took beside the hashes. DBSCAN, which must find the same groups, runs up to PAIRS_LIMIT hashes.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.cluster import DBSCAN

from toolkit.data import near_copies

LIMIT = 30  # bits, as `clean.near_copy_bits` says
BITS = 256
PAIRS_LIMIT = 12_000  # for near copies, DBSCAN takes 4 GB for these
KINDS = ("different", "near copies", "chains", "equal", "alike in 4 bands of 16")

Row = tuple[float, float, np.ndarray]


def draw(kind: str, number: int) -> np.ndarray:
    """`number` hashes of `kind`, bool [number, 256]."""
    rng = np.random.default_rng(0)
    one = rng.random(BITS) < 0.5
    if kind == "near copies":
        return one ^ (rng.random((number, BITS)) < 0.03)
    if kind == "chains":  # 50 of each picture, about as far from each other as the limit
        pictures = rng.random((number // 50, BITS)) < 0.5
        chosen = rng.integers(0, len(pictures), number)
        return pictures[chosen] ^ (rng.random((number, BITS)) < 0.06)
    if kind == "equal":
        return np.repeat(one[None], number, axis=0)
    hashes = rng.random((number, BITS)) < 0.5
    if kind == "alike in 4 bands of 16":
        hashes.reshape(number, near_copies.BAND_BITS, near_copies.BANDS)[:, :, :4] = False
    return hashes


def group_with_dbscan(hashes: np.ndarray, limit: int) -> np.ndarray:
    """The same groups as `near_copies.group_hashes`, from all pairs."""
    # With one member enough for a core, clusters are connected components; the squared distance
    # counts bits.
    clustering = DBSCAN(eps=np.sqrt(limit + 0.5), min_samples=1, algorithm="brute")
    return clustering.fit_predict(hashes.astype(np.float32))


def measure(group: Callable[[np.ndarray, int], np.ndarray], kind: str, number: int) -> Row:
    """Seconds, MB and groups of one search."""
    hashes = draw(kind, number)
    # The most memory so far is forgotten: drawing took more than is left of it.
    Path("/proc/self/clear_refs").write_text("5")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    groups = group(hashes, LIMIT)
    seconds = time.perf_counter() - started
    return seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3, groups


def main(numbers: list[int]) -> None:
    print("| hashes | groups | DBSCAN, s | DBSCAN, MB | s | MB |\n" + 6 * "| --- " + "|")
    # A process for each search, because the system tells the most memory of a process's life.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for number in numbers:
            for kind in KINDS:
                pairs = " | "
                seconds, taken, groups = pool.apply(
                    measure, (near_copies.group_hashes, kind, number)
                )
                if number <= PAIRS_LIMIT:
                    slow, much, same = pool.apply(measure, (group_with_dbscan, kind, number))
                    assert np.array_equal(groups, same)
                    pairs = f"{slow:.1f} | {much:,.0f}"
                print(
                    f"| {number:,} {kind} | {groups.max() + 1:,} | {pairs} | {seconds:.1f} | "
                    f"{taken:,.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main([int(number) for number in sys.argv[1:]])
