"""Wrong labels are found by predictions that copies of the images do not confirm."""

import numpy as np
import pytest

from toolkit.core.errors import InputError
from toolkit.data import cleaning, dataset, label_errors

CLASSES = ("a", "b", "c")


def make_samples(labels, class_names=CLASSES):
    """Samples whose images are never looked at; their ids are not their rows."""
    labels = np.asarray(labels)
    images = np.zeros((len(labels), 8, 8, 3), np.uint8)
    return dataset.Samples(images, labels, 1000 + np.arange(len(labels)), class_names)


def draw_features(truth, rng):
    """Two numbers for each image, around a place of its class."""
    places = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
    return (places[truth] + rng.normal(0, 0.2, (len(truth), 2))).astype(np.float32)


def find(features, samples, groups, folds=5):
    found = label_errors.predict_out_of_fold(features, samples, groups, folds)
    return label_errors.find_suspects(samples, found)


def test_exactly_the_labels_that_were_flipped_are_suspects():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 100)
    flipped = rng.choice(len(truth), 15, replace=False)
    labels = truth.copy()
    labels[flipped] = (truth[flipped] + rng.integers(1, 3, 15)) % 3
    samples = make_samples(labels)
    found = find(draw_features(truth, rng), samples, np.arange(300))
    assert sorted(found.ids) == sorted(samples.ids[flipped])
    rows = found.ids - 1000
    assert np.array_equal(found.suggested, truth[rows])
    assert np.array_equal(found.given, labels[rows])
    assert np.array_equal(found.margins, np.sort(found.margins)[::-1])
    assert (found.margins > 0).all() and (found.margins <= found.probabilities).all()


def test_a_wrong_label_is_not_confirmed_by_a_copy():
    """Each picture has a near copy with the same label, and a feature that only these two have."""
    rng = np.random.default_rng(1)
    truth = np.tile(np.repeat([0, 1, 2], 30), 2)
    groups = np.tile(np.arange(90), 2)
    labels = truth.copy()
    wrong = np.isin(groups, [3, 40, 75])
    labels[wrong] = (truth[wrong] + 1) % 3
    own = np.eye(90, dtype=np.float32)[groups]
    features = np.concatenate([np.tile(draw_features(truth, rng), 3), own], axis=1)
    samples = make_samples(labels)
    together = find(features, samples, groups)
    assert sorted(together.ids) == samples.ids[wrong].tolist()
    apart = find(features, samples, np.arange(180))
    assert len(apart) == 0


def test_the_confident_joint_is_that_of_the_paper():
    """By hand: the thresholds are the averages of the first class's 0.9, 0.6, 0.3 and 0.4, which
    is 0.55, and of the second one's 0.7, 0.5 and 0.45, which is 0.55; the third has no image."""
    probabilities = np.array(
        [
            [0.9, 0.1, 0.0],
            [0.6, 0.4, 0.0],
            [0.3, 0.7, 0.0],  # confidently of the second class
            [0.4, 0.5, 0.1],  # confidently of none
            [0.3, 0.7, 0.0],
            [0.5, 0.5, 0.0],
            [0.55, 0.45, 0.0],  # confidently of the first class
        ]
    )
    found = label_errors.find_suspects(make_samples([0, 0, 0, 0, 1, 1, 1]), probabilities)
    assert found.joint.tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert found.ids.tolist() == [1002, 1006]
    assert found.suggested.tolist() == [1, 0]
    assert found.probabilities.tolist() == [0.7, 0.55]
    assert found.margins == pytest.approx([0.4, 0.1])


def test_a_label_that_is_more_probable_than_the_confident_one_is_no_suspect():
    """A class that is hard to recognise has a low threshold, which others reach, too."""
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    found = label_errors.find_suspects(make_samples([0, 0, 1], ("a", "b")), probabilities)
    assert found.joint.tolist() == [[1, 1], [1, 0]]
    assert found.ids.tolist() == [1002]


def test_each_fold_needs_a_picture_of_each_class():
    """Copies count as one."""
    samples = make_samples([0] * 9 + [1] * 9 + [2] * 9)
    groups = np.arange(27)
    groups[18:24] = 18
    features = np.eye(27, dtype=np.float32)
    with pytest.raises(InputError, match=r"class 2 \(c\) has 4 different .* 5 folds need 5"):
        label_errors.predict_out_of_fold(features, samples, groups, 5)
    found = label_errors.predict_out_of_fold(features, samples, groups, 4)
    assert found.sum(axis=1) == pytest.approx(np.ones(27))


def test_outliers_and_constant_images_are_left_out_and_copies_are_not():
    reasons = ("", "outlier", "copy of 0", "constant", "same picture under several labels")
    found = cleaning.Cleaning(
        np.arange(5), reasons, np.zeros(5), np.zeros((5, 2), np.float32), np.arange(5)
    )
    assert label_errors.list_relevant(found).tolist() == [0, 2, 4]
