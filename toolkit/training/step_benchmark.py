"""How fast a network trains: keras.applications' and ours, case by case, each in a process of its
own, so that each has its own peak of memory, and one that runs out of it ends no other."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from toolkit.core.catalogue import BACKBONES
from toolkit.core.config import Operation
from toolkit.core.progress import Progress, silent
from toolkit.training import child

CATALOGUE_SIDE = 96  # pixels of the images whose arithmetic the catalogue states
# A training step computes about two forward passes more for the gradients of layers and inputs.
PASSES = 3


@dataclass(frozen=True)
class Case:
    """One way to train `backbone`, all layers, from random weights with Adam.

    ours: or else keras.applications' network. precision: a dtype policy of Keras. xla: whether XLA
    compiles the step. remat: as `train.remat`. batch: images in a step; side: their height and
    width in pixels. steps: are timed. operations: augment the batches, while the network trains.
    """

    backbone: str
    ours: bool
    precision: str
    xla: bool
    remat: bool
    batch: int
    side: int
    steps: int
    operations: tuple[Operation, ...] = ()


@dataclass(frozen=True)
class Timing:
    """Medians of a case: seconds until a batch is there, and of its step. product_tflops: what a
    product of large matrices reaches in the same arithmetic. peak_bytes: of the GPU's memory, or of
    the process where there is none."""

    input_wait: float
    compute: float
    product_tflops: float
    peak_bytes: int


def list_cases(
    backbone: str,
    precisions: Sequence[str],
    xla: Sequence[bool],
    remat: Sequence[bool],
    batches: Sequence[int],
    side: int,
    steps: int,
    operations: tuple[Operation, ...] = (),
) -> list[Case]:
    """Every combination, keras.applications' network before ours."""
    return [
        Case(backbone, ours, precision, compiled, again, batch, side, steps, operations)
        for precision, compiled, again, batch, ours in product(
            precisions, xla, remat, batches, (False, True)
        )
    ]


def measure(cases: Sequence[Case], progress: Progress = silent) -> list[dict[str, Any]]:
    """A row for each of `cases`: what it is, and "images_per_second", "input_wait_ms" and
    "compute_ms" of a step, "tflops" and "utilisation", its share of the product's, "peak_mb", and
    "ratio", ours to keras.applications' images/s; all None where memory ran out.

    Raises InputError where a case fails for another reason.
    """
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(cases):
        progress(number, len(cases), describe(case))
        answer = child.ask("toolkit.training.step_child", case, f"timing {describe(case)}")
        row = asdict(case) | summarise(case, None if answer is None else Timing(**answer))
        del row["operations"]
        rows.append(row)
    _add_ratios(cases, rows)
    return rows


def describe(case: Case) -> str:
    form = "ours" if case.ours else "stock"
    ways = "XLA, " * case.xla + "remat, " * case.remat
    return f"{form}, {case.precision}, {ways}batches of {case.batch}"


def summarise(case: Case, timing: Timing | None) -> dict[str, Any]:
    """The measured part of a row of `measure`, without the ratio."""
    if timing is None:
        names = ("images_per_second", "input_wait_ms", "compute_ms", "tflops", "utilisation")
        return dict.fromkeys((*names, "product_tflops", "peak_mb"))
    forward = BACKBONES[case.backbone].gflop * (case.side / CATALOGUE_SIDE) ** 2
    # Of the network at work: that it waits for batches is no matter of its arithmetic.
    tflops = PASSES * forward * case.batch / timing.compute / 1e3
    return {
        "images_per_second": round(case.batch / (timing.input_wait + timing.compute), 2),
        "input_wait_ms": round(1e3 * timing.input_wait, 2),
        "compute_ms": round(1e3 * timing.compute, 2),
        "tflops": round(tflops, 4),
        "utilisation": round(tflops / timing.product_tflops, 3),
        "product_tflops": round(timing.product_tflops, 4),
        "peak_mb": round(timing.peak_bytes / 1e6),
    }


def _add_ratios(cases: Sequence[Case], rows: Sequence[dict[str, Any]]) -> None:
    """Puts "ratio" into each of `rows`, those of `cases`."""
    stock = {
        replace(case, ours=False): row["images_per_second"]
        for case, row in zip(cases, rows)
        if not case.ours
    }
    for case, row in zip(cases, rows):
        ours, theirs = row["images_per_second"], stock.get(replace(case, ours=False))
        row["ratio"] = round(ours / theirs, 2) if case.ours and ours and theirs else None
