"""The parts of batches that several processes read."""

import numpy as np
import pytest

from toolkit.augment import pipeline
from toolkit.augment.parts import Part
from toolkit.core import config
from toolkit.data import dataset, synthetic

SETTINGS = ("train.batch_size=8", "augment=[]")


@pytest.fixture(scope="module")
def cells() -> dataset.Samples:
    return synthetic.draw(3, side=16)  # of 8 classes: the last of four batches would be full


def read_epoch(cells, count, part, settings=SETTINGS):
    """The batches of an epoch of `count` images."""
    chosen = config.preset("tiny", settings)
    stream, steps = pipeline.stream(cells, np.arange(count), chosen, True, part=part)
    return [[array.numpy() for array in batch] for batch in stream.take(steps)]


@pytest.mark.parametrize(
    "settings", [SETTINGS, (*SETTINGS, "train.blocks={copies=2, size=10}")], ids=["plain", "blocks"]
)
def test_the_parts_of_all_processes_are_the_whole_batches(cells, settings):
    count = 19
    whole = read_epoch(cells, count, Part(), settings)
    parts = [read_epoch(cells, count, Part(n, 2, True), settings) for n in range(2)]
    # The blocks are augmented whole: where nothing is drawn, they hold the same images.
    assert len(whole) == len(parts[0]) == len(parts[1])
    for batch, *halves in zip(whole, *parts):
        images, labels, weights = (np.concatenate(arrays) for arrays in zip(*halves))
        assert len(images) == 8 and all(len(half[0]) == 4 for half in halves)
        real = len(batch[0])
        assert np.array_equal(images[:real], batch[0]) and np.array_equal(labels[:real], batch[1])
        # The loss averaged over 8 is that averaged over the images that count.
        assert np.allclose(weights[:real], 8 / real) and not weights[real:].any()


def test_each_process_draws_other_numbers(cells):
    grey = cells.with_images(np.full_like(cells.images, 128))
    settings = ("train.batch_size=8", "augment=[{name='gaussian-noise', factor=0.05}]")
    first, second = (read_epoch(grey, 24, Part(n, 2, True), settings)[0][0] for n in range(2))
    assert min(np.abs(first - 128).max(), np.abs(second - 128).max()) > 1
    assert not np.allclose(first, second, atol=0.5)
    # Without the number of the process, they would be the same: the images are.
    again = read_epoch(grey, 24, Part(0, 2, True), settings)[0][0]
    assert np.array_equal(first, again)


def test_held_out_images_weigh_the_same_in_all_batches(cells):
    chosen = config.preset("tiny", SETTINGS)
    batches = pipeline.make_fixed_batches(cells, np.arange(10), chosen, False)
    weight = 2 * 8 / 10  # two batches of 8 for ten images
    weights = [batch[2].numpy() for batch in Part(full=True).cut(batches, 8, weight)]
    assert np.allclose(weights[0], weight) and np.allclose(weights[1], [weight] * 2 + [0] * 6)
