"""The shift benchmark: the same copy for the same image, whatever else is there; chains as the
mixture says."""

import numpy as np
import pytest

from toolkit.data import shift

IDS = np.arange(30)


def test_the_same_image_gives_the_same_bytes_whatever_else_is_there(cells):
    whole = shift.mixture(cells.images[:30], IDS)
    assert np.array_equal(whole[10:20], shift.mixture(cells.images[10:20], IDS[10:20]))
    assert not np.array_equal(whole, shift.mixture(cells.images[:30], IDS, draw=1))
    assert not np.array_equal(whole, shift.mixture(cells.images[:30], IDS + 1))
    assert (whole != cells.images[:30]).any(axis=(1, 2, 3)).mean() > 0.9


@pytest.mark.parametrize("family", shift.FAMILIES)
def test_single_corruptions_follow_id_family_severity_and_seed(family, cells):
    images = cells.images[:30]
    one = shift.single(images, IDS, family, 3)
    assert np.array_equal(one[7:9], shift.single(images[7:9], IDS[7:9], family, 3))
    other = [shift.single(images, IDS, family, 4), shift.single(images, IDS, family, 3, seed=1)]
    other.append(
        shift.single(images, IDS, next(name for name in shift.FAMILIES if name != family), 3)
    )
    assert all((one != copies).any(axis=(1, 2, 3)).mean() > 0.5 for copies in other)


def test_the_bytes_stay_what_they_were():
    """Of a drawn ramp: a change here changes every score that was ever foretold."""
    ramp = (np.arange(64 * 64 * 3).reshape(1, 64, 64, 3) % 251).astype(np.uint8)
    copies = shift.mixture(np.repeat(ramp, 40, axis=0), np.arange(40))
    singles = [shift.single(ramp, np.array([5]), family, 4) for family in shift.FAMILIES]
    assert int(copies.astype(np.int64).sum()) == 54_176_402
    assert [int(copy.astype(np.int64).sum()) for copy in singles] == [
        763928,
        2599781,
        1522613,
        1532615,
        1536521,
        1326474,
        1925295,
    ]


def test_chains_are_of_different_families_as_often_as_the_mixture_says():
    found = shift.families(np.arange(4000))
    assert (found.sum(axis=1) == shift.LENGTH).all()
    often = dict(zip(shift.FAMILIES, found.mean(axis=0)))
    assert (
        sorted(often, key=often.get)[-2:]
        == sorted(shift.FREQUENCIES, key=shift.FREQUENCIES.get)[-2:]
    )
    # The second of a chain is drawn from the families that are left.
    shares = {
        family: frequency / sum(shift.FREQUENCIES.values())
        for family, frequency in shift.FREQUENCIES.items()
    }
    expected = shares["noise"] * (
        1 + sum(share / (1 - share) for family, share in shares.items() if family != "noise")
    )
    assert often["noise"] == pytest.approx(expected, abs=0.01)
