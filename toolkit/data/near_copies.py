"""Groups of near copies: images whose perceptual hashes differ in a few bits, directly or through
a chain of such images.

Comparing each hash with each other one takes time that grows with the square of their number. Here
hashes are looked up by parts of theirs (multi-index hashing; Norouzi, Punjani and Fleet 2012,
arXiv 1307.2982): of 256 bits in 16 bands, two hashes that differ in at most 30 differ in at most
one bit of some band. The result is exact.
"""

import itertools

import imagehash
import numpy as np
from PIL import Image

HASH_SIDE = 16  # 256-bit hashes: at 64 bits, unrelated centred cells collide
BANDS = 16
BAND_BITS = HASH_SIDE * HASH_SIDE // BANDS
# Bits that may differ within a band. For three, a band is looked up at 697 places, and all hashes
# are compared faster than they are looked up.
FLIPS_LIMIT = 2
# Measured: so many hashes are compared as fast as one is looked up; and a candidate takes the time
# of so many hashes that are compared in their order.
FEW = 2000
CANDIDATE_COST = 8


def hash_image(image: np.ndarray) -> np.ndarray:
    """The perceptual hash (DCT, `imagehash.phash`) of `image` (uint8 [h, w, 3]), bool [256]. It
    takes 2.5 ms."""
    return imagehash.phash(Image.fromarray(image), HASH_SIDE).hash.ravel()


def group_hashes(hashes: np.ndarray, limit: int) -> np.ndarray:
    """The group of each of `hashes` (bool [n, 256]), int64 [n], numbered by their first members.

    Two hashes are in one group if they differ in at most `limit` bits, or are the ends of a chain
    of such hashes.
    """
    groups = np.full(len(hashes), -1)
    search = _Search(hashes, limit)
    number = 0
    for first in range(len(hashes)):
        if groups[first] >= 0:
            continue
        groups[first] = number
        search.forget(1, groups)
        waiting = [np.array([first])]
        while waiting:
            for row in waiting.pop():
                found = search.find_near(row, groups)
                if len(found):
                    groups[found] = number
                    search.forget(len(found), groups)
                    waiting.append(found)
        number += 1
    return groups


class _Search:
    """Finds the hashes near to one, among those that have no group yet."""

    def __init__(self, hashes: np.ndarray, limit: int):
        self._packed = np.packbits(hashes, axis=1).view(np.uint64)
        self._limit = limit
        # Every 16th bit: neighbouring ones are of like frequencies, and alike in unlike pictures.
        bands = np.packbits(hashes.reshape(len(hashes), BAND_BITS, BANDS).swapaxes(1, 2), axis=2)
        # Of a single hash, packbits may return an array that is not contiguous.
        self._bands = np.ascontiguousarray(bands).view(np.uint16)[..., 0]
        flips = limit // BANDS
        self._masks = _list_masks(flips) if flips <= FLIPS_LIMIT else None
        self._left = np.arange(len(hashes))
        self._index()

    def find_near(self, row: int, groups: np.ndarray) -> np.ndarray:
        """The hashes without a group that differ from that at `row` in at most the limit."""
        candidates = self._look_up(row)
        if candidates is None:
            near = self._left[self._differ(self._left_words, row) <= self._limit]
            return near[groups[near] < 0]
        candidates = candidates[groups[candidates] < 0]
        differing = self._differ(self._packed[candidates].T, row)
        return np.unique(candidates[differing <= self._limit])

    def forget(self, count: int, groups: np.ndarray) -> None:
        """Notes that `count` more hashes have a group, and drops those that have one when they are
        half of all: else each of a group would find all others of it again."""
        self._grouped += count
        if 2 * self._grouped > len(self._left):
            self._left = self._left[groups[self._left] < 0]
            self._index()

    def _differ(self, words: np.ndarray, row: int) -> np.ndarray:
        """In how many bits hashes, uint64 [4, m], differ from that at `row`, uint16 [m]."""
        return np.bitwise_count(words ^ self._packed[row][:, None]).sum(axis=0, dtype=np.uint16)

    def _look_up(self, row: int) -> np.ndarray | None:
        """Hashes among which are all those near to that at `row`, some several times; None where
        comparing all that are left is faster."""
        if self._masks is None or len(self._left) <= FEW:
            return None
        keys = self._bands[row][:, None] ^ self._masks
        band = np.arange(BANDS)[:, None]
        starts = self._starts[band, keys].ravel()
        lengths = self._starts[band, keys + 1].ravel() - starts
        total = int(lengths.sum())
        if CANDIDATE_COST * total > len(self._left):
            return None
        # The positions from each start on, one after the other.
        shifts = np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        return self._ordered[shifts + np.arange(total)]

    def _index(self) -> None:
        """Sorts what is left by each of its bands."""
        self._grouped = 0
        # One row a word: numpy adds long rows faster than the four words of each hash.
        self._left_words = np.ascontiguousarray(self._packed[self._left].T)
        if self._masks is None or len(self._left) <= FEW:
            return
        bands = self._bands[self._left].T
        counts = [np.bincount(keys, minlength=1 << BAND_BITS) for keys in bands]
        ends = np.cumsum(counts).reshape(BANDS, -1)  # over all bands, as `_ordered` has them
        first = np.concatenate([[0], ends[:-1, -1]])[:, None]
        self._starts = np.concatenate([first, ends], axis=1)
        self._ordered = self._left[np.argsort(bands, axis=1, kind="stable")].ravel()


def _list_masks(flips: int) -> np.ndarray:
    """All values of a band with at most `flips` bits set, int64 [m]."""
    masks = [0]
    for count in range(1, flips + 1):
        for bits in itertools.combinations(range(BAND_BITS), count):
            masks.append(sum(1 << bit for bit in bits))
    return np.array(masks)
