"""The corruptions: damaging, graded, and true to Pillow's own reference pictures."""

import ast

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageStat

from tests.support.commands import ROOT
from toolkit.data import corruptions

PILLOW = (
    ROOT / "tests" / "support" / "pillow"
)  # pictures of Pillow's own tests; see the README there
EVERY = [
    pytest.param(corruption, id=f"{family}-{number}")
    for family, members in corruptions.FAMILIES.items()
    for number, corruption in enumerate(members)
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
        assert {(image.shape, image.dtype) for image in changed} == {
            ((96, 96, 3), np.dtype(np.uint8))
        }
        distances.append(np.abs(np.stack(changed).astype(float) - cells.images[:24]).mean())
    assert 0 < distances[0] < distances[1]


@pytest.mark.parametrize("corruption", EVERY)
def test_images_need_not_be_square(corruption, cells):
    picture = Image.fromarray(cells.images[0][:64])
    assert corruption(picture, 0.6, np.random.default_rng(0)).size == (96, 64)


def test_it_shares_no_code_with_the_augmentation():
    for name in ("corruptions", "shift"):
        tree = ast.parse((ROOT / "toolkit" / "data" / f"{name}.py").read_text())
        names = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }
        names |= {
            node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        }
        assert names <= {
            "functools",
            "io",
            "os",
            "collections",
            "concurrent",
            "numpy",
            "PIL",
            "toolkit",
        }


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures, in grey levels."""
    return float(np.mean(ImageStat.Stat(ImageChops.difference(one, other)).mean))


def test_turning_is_as_in_pillows_reference_picture():
    """The reference is bicubic and grown to hold the corners; ours is bilinear and keeps the size:
    its middle."""
    picture, reference = (
        Image.open(PILLOW / name).convert("RGB") for name in ("hopper.png", "hopper_45.png")
    )
    turned = corruptions.affine(picture, degrees=45)
    edges = [(theirs - ours) // 2 for theirs, ours in zip(reference.size, picture.size)]
    middle = reference.crop((*edges, edges[0] + picture.width, edges[1] + picture.height))
    inner = (24, 24, 104, 104)
    assert difference(turned.crop(inner), middle.crop(inner)) < 5  # Pillow's own bound for bilinear
    assert difference(corruptions.affine(picture, degrees=-45).crop(inner), middle.crop(inner)) > 20


def test_moving_and_zooming_go_the_way_they_say():
    picture = Image.open(PILLOW / "hopper.png").convert("RGB")
    assert corruptions.affine(picture).tobytes() == picture.tobytes()
    moved = corruptions.affine(picture, shift=(10, 4))
    assert moved.crop((10, 4, 128, 128)).tobytes() == picture.crop((0, 0, 118, 124)).tobytes()
    zoomed = corruptions.affine(picture, zoom=2.0)
    larger = picture.crop((32, 32, 96, 96)).resize(picture.size, Image.Resampling.BILINEAR)
    assert difference(zoomed, larger) < 1
    mirrored = np.asarray(corruptions.affine(picture, shift=(10, 0), mirrored=True))
    assert np.array_equal(mirrored[:, :10], np.asarray(picture)[:, 9::-1])


def test_a_relief_is_pillows_reference_picture():
    picture, reference = (
        Image.open(PILLOW / name).convert("RGB")
        for name in ("hopper_bmp.png", "hopper_emboss_3x3.png")
    )
    assert corruptions.emboss(picture, 1.0).tobytes() == reference.tobytes()
