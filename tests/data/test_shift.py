"""The shift benchmark: the same copy for the same image, whatever else is there; chains as the
mixture says."""

import dataclasses

import numpy as np
import pytest

from toolkit.data import dataset, shift


@pytest.fixture(scope="module")
def samples(cells):
    return cells.take(np.arange(30))


def test_the_same_image_gives_the_same_bytes_whatever_else_is_there(samples):
    whole = shift.mixture(samples).images
    some = np.arange(10, 20)
    assert np.array_equal(whole[some], shift.mixture(samples.take(some)).images)
    assert not np.array_equal(whole, shift.mixture(samples, seed=1).images)
    other_ids = dataclasses.replace(samples, ids=samples.ids + 1)
    assert not np.array_equal(whole, shift.mixture(other_ids).images)
    assert (whole != samples.images).any(axis=(1, 2, 3)).mean() > 0.9


def test_copies_keep_their_labels_and_ids(samples):
    some = samples.take(np.array([4, 9, 2]))
    copies = shift.mixtures(some, (5, 6))
    assert copies.ids.tolist() == [4, 9, 2, 4, 9, 2]
    assert copies.labels.tolist() == some.labels.tolist() * 2
    assert np.array_equal(copies.images[3:], shift.mixture(some, seed=6).images)
    assert shift.single(some, "blur", 2).ids.tolist() == [4, 9, 2]
    with pytest.raises(ValueError, match="2 images for 3 labels"):
        some.with_images(some.images[:2])


@pytest.mark.parametrize("family", shift.FAMILIES)
def test_single_corruptions_follow_id_family_severity_and_seed(family, samples):
    one = shift.single(samples, family, 3).images
    some = np.array([7, 8])
    assert np.array_equal(one[some], shift.single(samples.take(some), family, 3).images)
    other_family = next(name for name in shift.FAMILIES if name != family)
    for other in (
        shift.single(samples, family, 4),
        shift.single(samples, family, 3, seed=1),
        shift.single(samples, other_family, 3),
    ):
        assert (one != other.images).any(axis=(1, 2, 3)).mean() > 0.5


def test_the_bytes_stay_what_they_were():
    """Of a drawn ramp: a change here changes every score that was ever estimated."""
    ramp = (np.arange(64 * 64 * 3).reshape(1, 64, 64, 3) % 251).astype(np.uint8)
    labels = np.zeros(40, np.int64)
    ramps = dataset.Samples(np.repeat(ramp, 40, axis=0), labels, np.arange(40), ("ramp",))
    copies = shift.mixture(ramps).images
    one = ramps.take(np.array([5]))
    singles = [shift.single(one, family, 4).images for family in shift.FAMILIES]
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
    assert (found.sum(axis=1) == shift.CHAIN_LENGTH).all()
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


def test_the_severities_of_a_chain_are_summed():
    """Two operations of 1 to 5, whose mean is that of the shares."""
    found = shift.severities(np.arange(4000))
    mean = shift.CHAIN_LENGTH * np.dot(shift.SEVERITIES, shift.SEVERITY_SHARES)
    assert (found.min(), found.max()) == (2, 10) and abs(found.mean() - mean) < 0.1
    drawn = shift._draw_chain(np.random.default_rng([0, 7]))
    assert found[7] == sum(severity for _, severity in drawn)
