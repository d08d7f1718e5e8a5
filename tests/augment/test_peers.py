"""The forms of our operations in other libraries, which `bench augment` measures."""

import os
import time

import numpy as np
import pytest
import tensorflow as tf

from toolkit.augment import albumentations_peer, benchmark, chain, peers, pillow_peer
from toolkit.augment.registry import MIXING, OPERATIONS
from toolkit.core.config import Operation
from toolkit.core.errors import InputError

SIZE = (32, 32)
# Pillow's borders are black, not mirrored; keras-cv's blur darkens them; albumentations sharpens
# by another kernel.
OTHER_STRENGTH = {
    "pillow": ("rotate", "translate", "shear", "perspective", "blur"),
    "albumentations": ("sharpness", "blur"),
}
BUILDERS = {"albumentations": albumentations_peer, "pillow": pillow_peer}
FORMS = [(peer, name) for peer, (_, names) in peers.PEERS.items() for name in sorted(names)]


@pytest.fixture(scope="module")
def pictures(cells):
    return np.ascontiguousarray(cells.images[:32, ::3, ::3])


def change_all(peer, pictures, operation):
    change = BUILDERS[peer].build_chain([operation], SIZE, 0)
    return np.stack([change(picture) for picture in pictures])


@pytest.mark.parametrize("peer,name", FORMS)
def test_a_peers_form_changes_images_at_every_strength(peer, name, pictures):
    # channel-shuffle and equalise have no strength.
    for factor in (0.05, 0.5, 1.0):
        changed = change_all(peer, pictures, Operation(name=name, factor=factor))
        assert changed.shape == pictures.shape and changed.dtype == np.uint8
    assert np.abs(changed.astype(float) - pictures).mean() > 0.1


@pytest.mark.parametrize("peer", BUILDERS)
def test_a_peers_form_changes_the_share_of_the_images_that_the_rate_says(peer, pictures):
    many = np.repeat(pictures, 8, axis=0)
    changed = change_all(peer, many, Operation(name="brightness", rate=0.25, factor=1.0))
    share = (changed != many).any(axis=(1, 2, 3)).mean()
    assert 0.15 < share < 0.35


@pytest.mark.slow
@pytest.mark.parametrize("peer,name", FORMS)
def test_a_peers_form_changes_images_about_as_much_as_ours(peer, name, pictures):
    """Slow: TensorFlow traces and compiles each operation."""
    if name in OTHER_STRENGTH[peer]:
        pytest.skip("the same work, but another strength")
    many = np.repeat(pictures, 4, axis=0)
    operation = Operation(name=name, factor=0.5)
    labels = tf.one_hot(np.zeros(len(many), int), 8)
    ours, _ = chain.build_chain((operation,), SIZE)(
        tf.constant(many, tf.float32), labels, tf.constant([1, 2])
    )
    theirs = change_all(peer, many, operation).astype(float)
    ratio = np.abs(theirs - many).mean() / np.abs(ours - many).mean()
    assert 1 / 3 < ratio < 3


def test_what_a_peer_lacks_is_named():
    every = [Operation(name=name) for name in OPERATIONS]
    lacking = benchmark.find_lacking([*every, *every])
    assert lacking["keras-cv"] == list(MIXING)
    assert "edges" in lacking["albumentations"] and "flip" not in lacking["albumentations"]
    assert lacking["pillow"].count("elastic") == 1


def test_all_threads_stay_on_the_cores_they_were_given():
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("needs two cores")
    with benchmark._pin(1):
        threads = [int(thread.name) for thread in benchmark.THREADS.iterdir()]
        assert all(len(os.sched_getaffinity(thread)) == 1 for thread in threads)
    assert os.sched_getaffinity(0) == cores
    with pytest.raises(InputError, match="may use"), benchmark._use_cores(None, 10**6):
        pass


def test_a_measurement_waits_for_what_is_still_computed():
    started = time.perf_counter()
    benchmark._wait_until_idle()
    assert time.perf_counter() - started < benchmark.IDLE_LIMIT
