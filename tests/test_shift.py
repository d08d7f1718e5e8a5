"""The corruptions: deterministic an image, damaging, and none of the training's own."""

import ast

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from toolkit import shift

EVERY = [
    pytest.param(corruption, id=f"{family}-{number}")
    for family, corruptions in shift.FAMILIES.items()
    for number, corruption in enumerate(corruptions)
]


@pytest.mark.parametrize("corruption", EVERY)
def test_stronger_is_farther_from_the_original(corruption, cells):
    """On average over images and draws; the picture keeps its size and kind."""
    distances = []
    for strength in (0.2, 1.0):
        changed = [
            np.asarray(corruption(Image.fromarray(image), strength, np.random.default_rng(number)))
            for number, image in enumerate(cells.images[:24])
        ]
        assert {(image.shape, image.dtype) for image in changed} == {((96, 96, 3), np.dtype(np.uint8))}
        distances.append(np.abs(np.stack(changed).astype(float) - cells.images[:24]).mean())
    assert 0 < distances[0] < distances[1]


def test_the_same_id_and_seed_give_the_same_bytes_whatever_else_is_there(cells):
    ids = np.arange(30)
    whole = shift.corrupted(cells.images[:30], ids)
    assert np.array_equal(whole[10:20], shift.corrupted(cells.images[10:20], ids[10:20]))
    assert not np.array_equal(whole, shift.corrupted(cells.images[:30], ids, seed=1))
    assert not np.array_equal(whole, shift.corrupted(cells.images[:30], ids + 1))
    assert (whole != cells.images[:30]).any(axis=(1, 2, 3)).all()


def test_it_shares_no_code_with_the_augmentation():
    tree = ast.parse((ROOT / "toolkit" / "shift.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"io", "collections.abc", "numpy", "PIL"}
