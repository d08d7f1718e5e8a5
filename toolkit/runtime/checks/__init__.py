"""The checks of a submission zip: one function each, all reported at once."""

import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from toolkit.core import archives
from toolkit.core.archives import open_zip
from toolkit.core.contract import AN2DL2024, Contract
from toolkit.core.errors import InputError, SubmissionError
from toolkit.data import synthetic
from toolkit.data.channels import from_rgb
from toolkit.export.manifest import read_zip_manifest
from toolkit.runtime import sandbox
from toolkit.runtime.checks import behaviour, contents, saved_models
from toolkit.runtime.checks.check import Check, Subject
from toolkit.runtime.isolation import Isolation, choose_isolation
from toolkit.runtime.sandbox import Outcome, Stopped

SOURCE_LIMIT = 500_000  # bytes of model.py, whose parsing takes a thousand times as much
CELLS_PER_CLASS = 5  # drawn cells, each shown in eight ways

CHECKS: tuple[Callable[[Subject], Check], ...] = (
    contents.check_layout,
    contents.check_entry_names,
    contents.check_size,
    contents.check_interface,
    contents.check_names,
    contents.check_references,
    contents.check_weights,
    saved_models.check_saved_models,
    behaviour.check_isolation,
    behaviour.check_start,
    behaviour.check_time,
    behaviour.check_memory,
    behaviour.check_output,
    behaviour.check_predict,
    behaviour.check_returns,
    behaviour.check_slices,
    behaviour.check_network,
    behaviour.check_writes,
    behaviour.check_processes,
)


# The checks whose failure explains that the zip does not run, and those that fail then.
CAUSES = (
    "layout",
    "entries",
    "interface",
    "names",
    "references",
    "weights",
    "keras",
    "network",
    "writes",
    "processes",
)
CONSEQUENCES = ("start", "predict", "returns", "slices")


def validate(
    path: Path,
    python: str = sys.executable,
    time_limit: float | None = None,
    contract: Contract = AN2DL2024,
    in_evaluator: bool = False,
    isolation: Isolation | None = None,
) -> list[Check]:
    """Runs every check on the zip at `path`, by what `contract` asks.

    python: the interpreter that runs it; in_evaluator: whether that is the competition's own
    environment. time_limit: seconds, the contract's by default. isolation: the best that works here
    by default. Raises InputError when `path` is no zip or damaged.
    """
    subject = replace(read_subject(path), contract=contract, in_evaluator=in_evaluator)
    if subject.source is not None:
        inputs = _inputs(subject.image_shape)
        isolation = isolation or choose_isolation()
        limit = time_limit or contract.time_limit
        # A submission that was stopped still has its checks: the one of its time, memory or output
        # fails, and those that need answers say so.
        try:
            outcome = sandbox.run(path, inputs, python, limit, contract, isolation)
        except Stopped as error:
            outcome = Outcome(error.reason, error.sentence, isolation=isolation)
        except SubmissionError as error:
            outcome = Outcome("process", error.sentence, isolation=isolation)
        subject = replace(subject, outcome=outcome)
    return _skip_consequences([check(subject) for check in CHECKS])


def _skip_consequences(found: list[Check]) -> list[Check]:
    """`found`, where one cause is one failure: what such a check explains is not counted again."""
    causes = [check.name for check in found if check.name in CAUSES and check.status == "failed"]
    if not causes:
        return found
    checks = []
    for check in found:
        if check.name in CONSEQUENCES and check.status == "failed":
            detail = f"{check.detail.rstrip('.')}; first mend the check {causes[0]}"
            check = Check(check.name, "skipped", detail)
        checks.append(check)
    return checks


def read_subject(path: Path) -> Subject:
    """The zip at `path`, which is not run. Raises InputError when it is no zip or damaged."""
    with open_zip(path) as archive:
        entries = tuple(archive.infolist())
        source = _read_source(path, archive)
    return Subject(Path(path), entries, source, read_zip_manifest(path), None)


def draw_images(n: int, image_shape: tuple[int, int, int] | None = None) -> np.ndarray:
    """`n` drawn cells of `image_shape`, (h, w, channels), or else AN2DL 2024's: uint8 [n, h, w,
    channels].

    From the 321st on they repeat.
    """
    images = _draw_cells()[: min(n, len(_draw_cells()))]
    height, width = (image_shape or images.shape[1:])[:2]
    if (height, width) != images.shape[1:3]:
        resized = [Image.fromarray(image).resize((width, height)) for image in images]
        images = np.stack([np.asarray(image) for image in resized])
    if image_shape:
        images = from_rgb(images, image_shape[2])
    return images[np.arange(n) % len(images)]


@cache
def _draw_cells() -> np.ndarray:
    """320 different cells, uint8 [320, 96, 96, 3]: 40, each turned and mirrored in eight ways.

    Drawing takes 6 ms a cell, and `validate` would do it each time.
    """
    cells = synthetic.draw(CELLS_PER_CLASS).images[: CELLS_PER_CLASS * len(synthetic.KINDS)]
    turned = [np.rot90(cells, turns, axes=(1, 2)) for turns in range(4)]
    mirrored = [images[:, :, ::-1] for images in turned]
    return np.concatenate(turned + mirrored)


def _inputs(image_shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    counts = behaviour.count_images(image_shape)
    images = draw_images(counts[-1], image_shape)
    inputs = {}
    for dtype in ("uint8", "float32"):
        for n in counts:
            inputs[f"{dtype}-{n}"] = images[:n].astype(dtype)
    return inputs


def _read_source(path: Path, archive: zipfile.ZipFile) -> str | None:
    """The text of model.py, None where there is none that can be read."""
    if "model.py" not in archive.namelist():
        return None
    if archive.getinfo("model.py").file_size > SOURCE_LIMIT:
        raise InputError(
            f"model.py in {path} has more than {SOURCE_LIMIT / 1000:g} kB.",
            "Put weights and other data into files of their own.",
        )
    try:
        content = archives.read_entry(path, archive, "model.py", SOURCE_LIMIT)
    except InputError:  # damaged, which a check tells
        return None
    return content.decode("utf-8", "replace")
