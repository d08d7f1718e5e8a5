"""The scores of a zip from the labels it predicts alone, and whether they are those that `evaluate`
stored."""

from dataclasses import dataclass

import numpy as np

from toolkit.core.contract import AN2DL2024, Contract, MetricName
from toolkit.core.errors import InputError
from toolkit.core.metrics import take_labels
from toolkit.data.dataset import Samples
from toolkit.evaluation import metrics, shift_benchmark
from toolkit.evaluation.metrics import Estimate, Scored, Scores
from toolkit.evaluation.predictions import read_predictions
from toolkit.evaluation.shift_benchmark import CLEAN, BenchmarkResult
from toolkit.training.run_folder import Run


@dataclass(frozen=True)
class ZipScore:
    """score: by the competition's metric, and scores: of the images themselves. benchmark: of the
    corrupted copies, None where they were not predicted. labels: how many were compared with those
    that `evaluate` stored, and differing: how many are others; None where they were not compared.
    """

    metric: MetricName
    score: Estimate
    scores: Scores
    benchmark: BenchmarkResult | None
    labels: int
    differing: int | None


def make_copies(samples: Samples, shift: bool) -> dict[str, Samples]:
    """What a zip has to predict, by condition: `samples`, and their corrupted copies with
    `shift`."""
    conditions = shift_benchmark.CONDITIONS if shift else (CLEAN,)
    return {condition: shift_benchmark.corrupt(samples, condition) for condition in conditions}


def read_labels(run: Run, part: str, copies: dict[str, Samples]) -> dict[str, np.ndarray]:
    """The labels that `evaluate` predicted for `copies` of images of a `part` of `run`, by
    condition. Raises InputError where it predicted other images."""
    labels = {}
    for condition, samples in copies.items():
        predictions = read_predictions(run, part, condition)
        # Not their number: another split may hold as many images.
        if not np.array_equal(predictions.ids, samples.ids):
            raise InputError(
                f"the predictions in {run.folder} belong to another split than its split.json.",
                f"Run: cbtool evaluate --run {run.folder}.",
            )
        labels[condition] = predictions.predicted
    return labels


def score(
    samples: Samples,
    answers: dict[str, np.ndarray],
    known: tuple[str, ...],
    stored: dict[str, np.ndarray] | None = None,
    contract: Contract = AN2DL2024,
) -> ZipScore:
    """The scores of the `answers` of a zip, labels or probabilities, to the copies of `samples`, by
    condition.

    known: the families its network was trained on. stored: the labels to compare with. contract: of
    the competition.
    """
    metric = contract.metric
    benchmark = None
    if len(answers) > 1:  # more than the clean images
        benchmark = shift_benchmark.score(samples, answers, known, contract)
    differing = None
    if stored:
        differing = sum(int((take_labels(answers[name]) != stored[name]).sum()) for name in stored)
    clean = answers[CLEAN]
    return ZipScore(
        metric=metric,
        score=Scored(metric, clean, samples.labels).estimate(),
        scores=metrics.score(samples.labels, take_labels(clean), len(samples.class_names)),
        benchmark=benchmark,
        labels=sum(len(each) for each in answers.values()),
        differing=differing,
    )
