"""Each operation: eagerly and in tf.data, the identity at strength 0, the same seed the same pixels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from toolkit.augment.chain import OPERATIONS, chain
from toolkit.config import Operation
from toolkit.errors import InputError


@pytest.fixture(scope="module")
def pictures(cells):
    return cells.images[:16].astype(np.float32)


def augmented(pictures, *operations, seed=5):
    keras.utils.set_random_seed(seed)
    return chain(operations, seed)(tf.constant(pictures)).numpy()


@pytest.mark.parametrize("name", OPERATIONS)
def test_runs_eagerly_and_in_a_dataset(name, pictures):
    operation = Operation(name=name)
    eager = augmented(pictures, operation)
    dataset = tf.data.Dataset.from_tensor_slices(pictures).batch(8).map(chain((operation,), 5))
    piped = np.concatenate([batch.numpy() for batch in dataset])
    for result in (eager, piped):
        assert result.shape == pictures.shape and result.dtype == np.float32
        assert result.min() >= 0 and result.max() <= 255
        assert not np.array_equal(result, pictures)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("nothing", [{"factor": 0.0}, {"rate": 0.0}])
def test_no_strength_or_no_rate_is_the_identity(name, nothing, pictures):
    assert np.array_equal(augmented(pictures, Operation(name=name, **nothing)), pictures)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_same_seed_gives_the_same_pixels(name, pictures):
    operation = Operation(name=name, rate=0.8)
    assert np.array_equal(augmented(pictures, operation), augmented(pictures, operation))
    assert not np.array_equal(augmented(pictures, operation), augmented(pictures, operation, seed=6))


def test_a_rate_changes_that_share_of_the_images(pictures):
    many = np.repeat(pictures, 8, axis=0)
    result = augmented(many, Operation(name="rotate", rate=0.5))
    changed = (result != many).any(axis=(1, 2, 3)).mean()
    assert 0.3 < changed < 0.7


def test_flips_only_mirror(pictures):
    flipped = augmented(pictures, Operation(name="flip", factor=1.0))
    assert np.array_equal(flipped, pictures[:, ::-1, ::-1])


def test_unknown_operations_are_errors():
    with pytest.raises(InputError, match="no augmentation 'spin'"):
        chain((Operation(name="spin"),), 0)
