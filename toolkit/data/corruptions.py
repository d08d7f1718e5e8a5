"""The corruptions of the shift benchmark: seven families of operations on one picture, in Pillow
and numpy.

Pillow, because nothing in keras-cv is built on it: what is measured is not the training's own
augmentation. It is well kept, and computes on whole numbers, so that the same draw gives the same
bytes on every machine.
"""

import functools
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from toolkit.data import synthetic

# From a picture, a strength in 0..1 and random numbers to a picture of the same size.
Corruption = Callable[[Image.Image, float, np.random.Generator], Image.Image]

LEVELS = np.arange(256)
RELIEF = ImageFilter.Kernel((3, 3), (-1, -1, 0, -1, 0, 1, 0, 1, 1), 0.3)


def affine(
    picture: Image.Image,
    degrees: float = 0.0,
    zoom: float = 1.0,
    shift: Sequence[float] | np.ndarray = (0, 0),
    mirrored: bool = False,
) -> Image.Image:
    """`picture` turned about its middle, anticlockwise, enlarged by `zoom` and moved by `shift`
    pixels; black around it, or its mirror images."""
    margin = np.array(picture.size) if mirrored else np.zeros(2, int)
    # Pillow asks where each pixel of the result comes from, so this is the inverse of the change.
    radians = np.deg2rad(degrees)
    cosine, sine = np.cos(radians) / zoom, np.sin(radians) / zoom
    middle = np.array(picture.size) / 2
    offset = middle + margin - np.array([[cosine, -sine], [sine, cosine]]) @ (middle + shift)
    if mirrored:
        pixels = np.pad(
            np.asarray(picture),
            [(margin[1], margin[1]), (margin[0], margin[0]), (0, 0)],
            "symmetric",
        )
        size, picture = picture.size, Image.fromarray(pixels)
    else:
        size = picture.size
    values = (cosine, -sine, offset[0], sine, cosine, offset[1])
    return picture.transform(size, Image.Transform.AFFINE, values, Image.Resampling.BILINEAR)


def _move(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Turned by any angle, moved by up to a third, scaled between a half and two."""
    degrees = rng.uniform(-180, 180) * strength
    zoom = 2.0 ** (rng.uniform(-1, 1) * strength)
    shift = rng.uniform(-1 / 3, 1 / 3, 2) * strength * picture.size
    return affine(picture, degrees, zoom, shift, mirrored=bool(rng.integers(2)))


def _tilt(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Seen from a slant: each corner drawn inwards or outwards by up to a quarter of the side."""
    width, height = picture.size
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0]], float)
    corners += rng.uniform(-0.25, 0.25, (4, 2)) * strength * picture.size
    return picture.transform(
        picture.size, Image.Transform.QUAD, corners.ravel().tolist(), Image.Resampling.BILINEAR
    )


def _mirror_and_squeeze(
    picture: Image.Image, strength: float, rng: np.random.Generator
) -> Image.Image:
    """Mirrored or turned by quarters, then squeezed along one axis to between 1 and 1/2."""
    turned = picture.transpose(rng.choice(list(Image.Transpose)))
    share = 1 - 0.5 * strength
    size = [
        round(side * (share if axis == rng.integers(2) else 1))
        for axis, side in enumerate(turned.size)
    ]
    return ImageOps.pad(turned.resize(size, Image.Resampling.BILINEAR), picture.size)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Corruption:
    """Brightness, contrast or colour times a factor between 1/4 and 4."""
    # A power of either sign: to double is as strong a change as to halve.
    return lambda picture, strength, rng: kind(picture).enhance(
        4.0 ** (strength * rng.choice([-1.0, 1.0]))
    )


def _tint(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """A tint: each channel times a factor between 1/2 and 2."""
    return _to_picture(np.asarray(picture, np.float32) * 2.0 ** (rng.uniform(-1, 1, 3) * strength))


def _turn_hue(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Every hue turned by up to half the circle."""
    turn = round(127 * strength) * rng.choice([-1, 1])
    table = [*((LEVELS + turn) % 256).tolist(), *LEVELS.tolist() * 2]
    return picture.convert("HSV").point(table).convert("RGB")


def _swap_channels(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Mixed with itself with the colour channels in another order."""
    channels, turn = picture.split(), int(rng.integers(1, 3))
    other = Image.merge("RGB", (*channels[turn:], *channels[:turn]))
    return Image.blend(picture, other, strength)


def _invert(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Inverted, in whole or above a level, and mixed with the picture."""
    other = ImageOps.invert(picture) if rng.integers(2) else ImageOps.solarize(picture, 128)
    return Image.blend(picture, other, 0.5 * strength)


def _apply_gamma(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Every level to the power of between 1/3 and 3."""
    power = 3.0 ** (strength * rng.choice([-1.0, 1.0]))
    return picture.point(np.rint(255 * (LEVELS / 255) ** power).astype(int).tolist() * 3)


def _add_normal_noise(
    picture: Image.Image, strength: float, rng: np.random.Generator
) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    return _to_picture(pixels + 60 * strength * rng.standard_normal(pixels.shape, np.float32))


def _add_speckle(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(picture, np.float32)
    return _to_picture(
        pixels * (1 + 0.5 * strength * rng.standard_normal(pixels.shape, np.float32))
    )


def _add_salt_and_pepper(
    picture: Image.Image, strength: float, rng: np.random.Generator
) -> Image.Image:
    pixels, draw = np.asarray(picture).copy(), rng.random(picture.size[::-1], np.float32)
    pixels[draw < 0.1 * strength], pixels[draw > 1 - 0.1 * strength] = 0, 255
    return Image.fromarray(pixels)


def _add_stripes(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """A sensor's stripes: each row, or each column, brighter or darker by itself."""
    stripes = 50 * strength * rng.standard_normal(picture.height, np.float32)[:, None, None]
    pixels = np.asarray(picture, np.float32)
    # There are as many stripes as rows: columns get them in square pictures only.
    if picture.width == picture.height and not rng.integers(2):
        stripes = stripes.swapaxes(0, 1)
    return _to_picture(pixels + stripes)


def _blur_gaussian(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(4 * strength))


def _blur_box(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.BoxBlur(4 * strength))


def _blur_motion(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """The mean of the picture along a straight way of up to a fifth of the side."""
    angle = rng.uniform(0, np.pi)
    way = np.array([np.cos(angle), np.sin(angle)]) * 0.2 * strength * max(picture.size)
    places = np.linspace(-0.5, 0.5, 7)
    moved = [np.asarray(ImageChops.offset(picture, *map(round, way * place))) for place in places]
    return _to_picture(np.mean(moved, axis=0))


def _frost(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """As through frosted glass: each pixel is one from up to a twelfth of the side away."""
    reach = 1 + round(max(picture.size) / 12 * strength)
    rows, columns = np.indices(picture.size[::-1])
    away = rng.integers(-reach, reach + 1, (2, *rows.shape))
    rows, columns = (
        np.clip(rows + away[0], 0, picture.height - 1),
        np.clip(columns + away[1], 0, picture.width - 1),
    )
    return Image.fromarray(np.asarray(picture)[rows, columns])


def _compress(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    memory = io.BytesIO()
    picture.save(memory, "JPEG", quality=round(35 - 30 * strength))
    return Image.open(memory).convert("RGB")


def _coarsen(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Down to 15 % of the resolution and up again."""
    small = [max(4, round(side * (1 - 0.85 * strength))) for side in picture.size]
    kind = rng.choice([Image.Resampling.NEAREST, Image.Resampling.BILINEAR])
    return picture.resize(small, Image.Resampling.BOX).resize(picture.size, kind)


def _reduce_levels(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    return ImageOps.posterize(picture, round(5 - 4 * strength))


def _oversharpen(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.UnsharpMask(2, round(700 * strength), 0))


def emboss(
    picture: Image.Image, strength: float, rng: np.random.Generator | None = None
) -> Image.Image:
    """Mixed with its relief, lit from the corner."""
    return Image.blend(picture, picture.filter(RELIEF), strength)


def _cover_patches(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """One to four rectangles or ellipses of one colour each, together up to about half of the
    image."""
    changed = picture.copy()
    draw = ImageDraw.Draw(changed)
    for _ in range(rng.integers(1, 5)):
        sides = np.array(picture.size) * rng.uniform(0.1, 0.5, 2) * (0.4 + 0.6 * strength)
        corner = rng.uniform(size=2) * (picture.size - sides)
        shape = draw.rectangle if rng.integers(2) else draw.ellipse
        shape([*corner, *(corner + sides)], fill=_choose_colour(rng))
    return changed


def _cover_bars(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """A grid of bars of one colour, over up to half of the picture."""
    changed = picture.copy()
    draw, colour = ImageDraw.Draw(changed), _choose_colour(rng)
    period = picture.width * rng.uniform(0.12, 0.35)
    width = period * 0.3 * strength + 1
    for place in np.arange(rng.uniform(-period, 0), max(picture.size), period):
        draw.rectangle([place, 0, place + width, picture.height], fill=colour)
        draw.rectangle([0, place, picture.width, place + width], fill=colour)
    return changed


def _cover_side(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """One side of the picture, up to half of it, in one colour."""
    changed = picture.copy()
    share = 0.5 * strength
    edges = [[0, 0, share, 1], [1 - share, 0, 1, 1], [0, 0, 1, share], [0, 1 - share, 1, 1]]
    box = np.array(edges[rng.integers(4)]) * [*picture.size, *picture.size]
    ImageDraw.Draw(changed).rectangle([*box], fill=_choose_colour(rng))
    return changed


def _mix(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Mixed with another picture, up to half and half."""
    return Image.blend(picture, _choose_overlay(picture.size, rng), 0.1 + 0.4 * strength)


def _paste(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """A small copy of another picture put somewhere on it, up to half as high and wide."""
    sides = [round(side * (0.15 + 0.35 * strength)) for side in picture.size]
    changed = picture.copy()
    overlay = _choose_overlay(sides, rng)
    left = int(rng.integers(picture.width - overlay.width + 1))
    top = int(rng.integers(picture.height - overlay.height + 1))
    changed.paste(overlay, (left, top))
    return changed


def _shine_through(picture: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Another picture shining through: the two as slides, one on the other, or on one screen."""
    other = _choose_overlay(picture.size, rng)
    join = ImageChops.screen if rng.integers(2) else ImageChops.multiply
    return Image.blend(picture, join(picture, other), 0.8 * strength)


FAMILIES: dict[str, tuple[Corruption, ...]] = {
    # the first stands for three: turning, moving, scaling
    "geometric": (_move, _move, _move, _tilt, _mirror_and_squeeze),
    "photometric": (
        _enhance(ImageEnhance.Brightness),
        _enhance(ImageEnhance.Contrast),
        _enhance(ImageEnhance.Color),
        _tint,
        _turn_hue,
        _swap_channels,
        _invert,
        _apply_gamma,
    ),
    "noise": (_add_normal_noise, _add_speckle, _add_salt_and_pepper, _add_stripes),
    "blur": (_blur_gaussian, _blur_box, _blur_motion, _frost),
    "digital": (_compress, _coarsen, _reduce_levels, _oversharpen, emboss),
    "occlusion": (_cover_patches, _cover_bars, _cover_side),
    "overlay": (_mix, _paste, _shine_through),
}


@functools.cache
def _overlays() -> list[Image.Image]:
    """What is laid over pictures: drawn cells, and the two drawn pictures that are none.

    Never the data itself, so that an image's copy does not depend on the other images.
    """
    samples = synthetic.draw(2)
    return [Image.fromarray(image) for image in samples.images]


def _choose_overlay(size: Sequence[int], rng: np.random.Generator) -> Image.Image:
    pictures = _overlays()
    other = pictures[rng.integers(len(pictures))]
    width, height = size
    if other.size == (width, height):
        return other
    return other.resize((width, height), Image.Resampling.BILINEAR)


def _choose_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _to_picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
