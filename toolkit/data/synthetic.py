"""A drawn stand-in for the competition's file: eight kinds of stained cell, and two pictures that
do not belong.

The classes differ as the real ones do: by the nucleus' shape, the granules, the colour and the
size. It serves the demo and the tests; a score on it says nothing about real cells.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from toolkit.data.dataset import CELL_NAMES, Samples

SIDE = 96  # pixels, as in the competition
SCALE = 2  # drawn twice as large and averaged down, for smooth edges
# The competition's copies of one irrelevant picture under one label, per cell.
COPIES_PER_CELL = 200 / 11_959

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Kind:
    """How one class is drawn. Lengths are pixels of the 96 × 96 image, colours RGB."""

    radius: float
    cytoplasm: Colour
    nucleus: Colour
    lobes: int  # circles the nucleus is made of; 0: none
    lobe_radius: float
    spread: float  # distance of the lobes from the cell's centre
    arc: float  # the lobes' share of a full turn around it
    granules: int
    granule: Colour = (0, 0, 0)


KINDS = (
    Kind(24, (196, 160, 205), (96, 60, 140), 2, 11, 8, 0.5, 90, (62, 30, 98)),
    Kind(25, (232, 172, 158), (112, 64, 150), 2, 10, 11, 0.5, 80, (222, 112, 88)),
    Kind(15, (170, 150, 200), (62, 30, 88), 1, 9, 1, 0.0, 0),
    Kind(29, (190, 178, 222), (140, 92, 176), 1, 19, 5, 0.0, 45, (130, 84, 160)),
    Kind(18, (150, 170, 228), (92, 52, 138), 1, 15, 2, 0.0, 0),
    Kind(30, (176, 182, 212), (132, 98, 172), 6, 9, 12, 0.6, 0),
    Kind(24, (238, 206, 208), (106, 58, 142), 4, 7, 11, 0.9, 25, (226, 178, 190)),
    Kind(8, (176, 136, 192), (0, 0, 0), 0, 0, 0, 0.0, 14, (118, 70, 148)),
)


def draw(per_class: int, seed: int = 0, side: int = SIDE) -> Samples:
    """`per_class` cells of each of the 8 classes, shuffled, then copies of two irrelevant pictures.

    As in the competition: the first picture comes equally often under every label, the second under
    label 5 only, both at the end of the file and in the competition's proportion to the cells.
    side: of the images in pixels; smaller ones are averaged down from the competition's size.
    """
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(KINDS)), per_class))
    cells = np.stack([_draw_cell(KINDS[label], rng, side) for label in labels])
    copies = max(1, round(len(cells) * COPIES_PER_CELL))
    first = np.repeat(_reduce(_draw_chequered_ball(), side)[None], copies * len(KINDS), axis=0)
    second = np.repeat(_reduce(_draw_striped_sunset(), side)[None], copies, axis=0)
    labels = np.concatenate([labels, np.tile(np.arange(len(KINDS)), copies), np.full(copies, 5)])
    images = np.concatenate([cells, first, second])
    return Samples(images, labels.astype(np.int64), np.arange(len(images)), CELL_NAMES)


def _draw_cell(kind: Kind, rng: np.random.Generator, side: int) -> np.ndarray:
    """One cell, uint8 [side, side, 3]."""
    picture = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), _shade((238, 222, 214), rng, 6))
    pen = ImageDraw.Draw(picture)
    for _ in range(rng.integers(2, 6)):  # red cells in the plasma around
        angle, distance = rng.uniform(0, 2 * math.pi), rng.uniform(38, 60)
        _draw_disc(
            pen,
            48 + distance * math.cos(angle),
            48 + distance * math.sin(angle),
            13,
            _shade((226, 170, 164), rng, 8),
        )
    size = rng.uniform(0.88, 1.12)
    x, y = 48 + rng.uniform(-4, 4, size=2)
    radius = kind.radius * size
    _draw_disc(pen, x, y, radius, _shade(kind.cytoplasm, rng, 10), rng.uniform(0.9, 1.1))
    turn = rng.uniform(0, 2 * math.pi)
    nucleus = _shade(kind.nucleus, rng, 10)
    for lobe in range(kind.lobes):
        angle = turn + 2 * math.pi * kind.arc * lobe / max(1, kind.lobes - 1)
        away = kind.spread * size
        _draw_disc(
            pen,
            x + away * math.cos(angle),
            y + away * math.sin(angle),
            kind.lobe_radius * size,
            nucleus,
        )
    for _ in range(kind.granules):
        # The root spreads the granules evenly over the disc; without it they crowd in the middle.
        angle, away = rng.uniform(0, 2 * math.pi), radius * 0.92 * math.sqrt(rng.uniform())
        _draw_disc(
            pen,
            x + away * math.cos(angle),
            y + away * math.sin(angle),
            rng.uniform(0.8, 1.7),
            _shade(kind.granule, rng, 12),
        )
    picture = picture.filter(ImageFilter.GaussianBlur(SCALE * rng.uniform(0.3, 0.7))).resize(
        (side, side), Image.Resampling.BOX
    )
    noisy = np.asarray(picture, np.float32) + rng.normal(0, 3, (side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _draw_disc(
    pen: ImageDraw.ImageDraw,
    x: float,
    y: float,
    radius: float,
    colour: Colour,
    stretch: float = 1.0,
) -> None:
    wide, high = radius * stretch * SCALE, radius / stretch * SCALE
    pen.ellipse(
        (x * SCALE - wide, y * SCALE - high, x * SCALE + wide, y * SCALE + high), fill=colour
    )


def _shade(colour: Colour, rng: np.random.Generator, spread: int) -> Colour:
    red, green, blue = (int(np.clip(c + rng.normal(0, spread), 0, 255)) for c in colour)
    return red, green, blue


def _reduce(image: np.ndarray, side: int) -> np.ndarray:
    """`image` averaged down to uint8 [side, side, 3]."""
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def _draw_chequered_ball() -> np.ndarray:
    """A green and yellow chequered ball on blue: uint8 [96, 96, 3]."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    chequer = ((x // 9 + y // 9) % 2)[..., None]
    ball = np.where(chequer > 0, (70, 160, 40), (240, 220, 60))
    return np.where((x**2 + y**2 < 38**2)[..., None], ball, (20, 40, 150)).astype(np.uint8)


def _draw_striped_sunset() -> np.ndarray:
    """A red sun over black and cyan waves: uint8 [96, 96, 3]."""
    y, x = np.mgrid[:SIDE, :SIDE]
    sky = np.stack([255 - y, 150 - y, 40 + y], axis=-1)
    sun = np.where(((x - 60) ** 2 + (y - 40) ** 2 < 22**2)[..., None], (220, 20, 30), sky)
    waves = np.where((((y + 4 * np.sin(x / 6)) // 6) % 2 > 0)[..., None], (0, 0, 0), (30, 220, 220))
    return np.where((y > 55)[..., None], waves, sun).astype(np.uint8)
