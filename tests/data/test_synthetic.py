"""The drawn cells: the competition's layout, the seed, and classes that differ."""

import numpy as np

from toolkit.data import synthetic


def test_the_layout_is_the_competitions(cells):
    copies = round(160 * 200 / 11_959)
    assert cells.images.shape == (160 + 9 * copies, 96, 96, 3)
    assert cells.counts.tolist() == [20 + copies] * 5 + [20 + 2 * copies] + [20 + copies] * 2
    first, second = cells.images[160 : 160 + 8 * copies], cells.images[160 + 8 * copies :]
    assert (first == first[0]).all() and (second == second[0]).all()
    assert (cells.labels[160 + 8 * copies :] == 5).all()


def test_the_seed_decides_the_pixels():
    assert np.array_equal(synthetic.draw(2, seed=3).images, synthetic.draw(2, seed=3).images)
    assert not np.array_equal(synthetic.draw(2, seed=3).images, synthetic.draw(2, seed=4).images)


def test_a_nearest_mean_already_tells_most_classes_apart(cells):
    features = cells.images[:160, 24:72, 24:72].mean(axis=(1, 2))
    labels = cells.labels[:160]
    means = np.stack([features[labels == c].mean(axis=0) for c in range(8)])
    nearest = np.linalg.norm(features[:, None] - means, axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 3 / 8  # three times chance
