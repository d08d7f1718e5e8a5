"""The images that a page shows: what was dropped, the worst mistakes, a few through each
corruption and each augmentation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import keras
import numpy as np

from toolkit.augment import pipeline
from toolkit.core.config import Config
from toolkit.core.files import format_count
from toolkit.data import shift
from toolkit.data.cleaning import count_reasons, shorten_reason
from toolkit.data.dataset import Samples
from toolkit.evaluation.predictions import Predictions
from toolkit.report import grad_cam
from toolkit.report.contents import Cleaned
from toolkit.report.pictures import make_thumbnail, to_data_uri, to_strip

MISTAKES = 16  # of each condition
DROPPED = 12  # images of each reason
STRIP = 8  # images of an augmentation


@dataclass(frozen=True)
class Mistake:
    """An image, uint8 [h, w, 3], that got a wrong label."""

    image: np.ndarray
    id: int
    truth: str
    predicted: str
    probability: float

    @property
    def picture(self) -> str:
        """The address of an <img>."""
        return to_data_uri(make_thumbnail(self.image))


@dataclass(frozen=True)
class Strip:
    """Images beside each other, with their name. picture: the address of an <img>."""

    name: str
    note: str
    picture: str


def list_mistakes(samples: Samples, found: Predictions, chained: bool) -> list[Mistake]:
    """The mistakes of the greatest confidence. chained: of copies through chains of corruptions,
    which are made again here."""
    confidence = np.where(found.correct, -1.0, found.probabilities.max(axis=1))
    order = np.argsort(-confidence, kind="stable")[:MISTAKES]
    copies = len(np.unique(found.ids))
    mistakes = []
    for row in order[confidence[order] >= 0]:
        one = _take_ids(samples, found.ids[row : row + 1])
        if chained:
            one = shift.mixture(one, int(row) // copies)
        mistakes.append(
            Mistake(
                one.images[0],
                int(found.ids[row]),
                samples.class_names[found.labels[row]],
                samples.class_names[found.predicted[row]],
                float(confidence[row]),
            )
        )
    return mistakes


def explain_mistakes(model: keras.Model, mistakes: list[Mistake]) -> list[Strip]:
    """A few of `mistakes`, and below them what spoke for the labels that they got."""
    images = np.stack([mistake.image for mistake in mistakes[:STRIP]])
    heat = grad_cam.compute(model, images)
    return [
        Strip("images", "", to_strip(images)),
        Strip("Grad-CAM", "of the predicted class", to_strip(grad_cam.overlay(images, heat))),
    ]


def list_dropped(samples: Samples, cleaned: Cleaned) -> list[Strip]:
    """A strip for each reason; of a thousand copies of one picture it shows one."""
    strips = []
    short = np.array([shorten_reason(reason) for reason in cleaned.reasons])
    for reason, count in count_reasons(cleaned.reasons).items():
        found = _take_ids(samples, cleaned.ids[short == reason])
        # By their bytes: a dictionary keeps the first of equal pictures.
        first = {image.tobytes(): row for row, image in reversed(list(enumerate(found.images)))}
        shown = found.take(np.array(sorted(first.values())[:DROPPED]))
        strips.append(Strip(reason, format_count(count, "image"), to_strip(shown.images)))
    return strips


def list_corruptions(samples: Samples, row: int) -> list[Strip]:
    """The image at `row` through each family of corruptions, a strip of its severities."""
    one = samples.take(np.array([row]))
    strips = []
    for family in shift.FAMILIES:
        copies = [shift.single(one, family, severity).images[0] for severity in shift.SEVERITIES]
        strips.append(Strip(family, "severity 1 to 5", to_strip(np.stack(copies))))
    return strips


def list_augmentations(samples: Samples, settings: Config) -> Iterator[Strip]:
    """Images after each augmentation of `settings` alone, and at last after their chain, as the
    network was shown them. Imports and runs TensorFlow."""
    rows = np.linspace(0, len(samples) - 1, STRIP).astype(int)
    yield Strip("unchanged", "", to_strip(samples.images[rows]))
    for operation in settings.augment:
        always = replace(settings, augment=(replace(operation, rate=1.0),))
        note = f"rate {operation.rate:g}, factor {operation.factor:g}"
        yield Strip(operation.name, note, _augment(samples, rows, always, 0))
    if settings.augment:
        for number in range(3):
            yield Strip("the chain", "each at its rate", _augment(samples, rows, settings, number))


def _augment(samples: Samples, rows: np.ndarray, settings: Config, seed: int) -> str:
    images = pipeline.augment_once(samples, rows, settings, seed)
    return to_strip(np.clip(np.round(images), 0, 255).astype(np.uint8))


def _take_ids(samples: Samples, ids: np.ndarray) -> Samples:
    """The samples of these `ids`, in their order."""
    order = np.argsort(samples.ids)
    return samples.take(order[np.searchsorted(samples.ids, ids, sorter=order)])
