"""What a phase of a training reads takes no more copies of the images than it says."""

import os

import numpy as np
import pytest
from tensorflow.python.framework import config as tf_config

from toolkit.core import config, process_tree
from toolkit.data import dataset
from toolkit.training import feed, trainer

IMAGES = 1400  # 39 MB: from 32 MB on, the allocator gives memory back when it is freed


@pytest.fixture
def usual_operations():
    """For deterministic operations, which tests before this one may have switched on, tf.data
    rewrites the graph whatever its options are. TensorFlow has no public way to switch them off."""
    switched_on = tf_config.is_op_determinism_enabled()
    tf_config.disable_op_determinism()
    yield
    if switched_on:
        tf_config.enable_op_determinism()


def test_reading_the_batches_copies_no_images(usual_operations):
    """tf.data rewrites the graph of a dataset when it is first read. Before, it copied all images
    for that, in memory that numpy does not see."""
    images = np.full((IMAGES, 96, 96, 3), 7, np.uint8)
    rows = np.arange(IMAGES)
    samples = dataset.Samples(images, rows % 8, rows, dataset.CELL_NAMES)
    settings = config.preset("tiny", ("augment=[]",))
    network = trainer.build_seeded_network(settings, samples)
    phase = settings.train.phases[-1]
    made = feed.make_feed(network, samples, rows, rows, samples, phase, settings, 0)
    me = process_tree.find_processes(os.getpid(), 1)[:1]
    for stream in (made.training, made.validation, made.shifted):
        before = process_tree.measure_resident_bytes(me)
        batches = iter(stream)
        assert next(batches)[0].shape == (settings.train.batch_size, 96, 96, 3)
        grown = process_tree.measure_resident_bytes(me) - before
        del batches
        assert grown < 0.75 * images.nbytes
