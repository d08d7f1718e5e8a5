"""Measurements of prediction: one network in several forms, each as a zip in a clean process."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from submission.model import SLICE
from toolkit.core.errors import CbtoolError
from toolkit.core.progress import Progress, silent
from toolkit.export import graph, optimize
from toolkit.runtime import inference_forms, sandbox, timing

TIME_LIMIT = 3600.0  # seconds for one form


@dataclass(frozen=True)
class FormTiming:
    """One form of the network. ratio: to the template's speed. max_relative_difference,
    label_agreement: with the template's scores and labels. load_seconds: Model(), imports not
    counted. ceiling_share: of float32 matrix products.
    """

    name: str
    images_per_second: float
    ratio: float
    max_relative_difference: float
    label_agreement: float
    load_seconds: float
    first_slice_seconds: float
    single_image_seconds: float
    peak_mb: float
    ceiling_share: float


@dataclass(frozen=True)
class Comparison:
    """gflop_per_image: counted. ceiling_gflops: what this machine's float32 matrix product reaches
    in a second. left_out: forms that failed, and why.
    """

    images: int
    gflop_per_image: float
    ceiling_gflops: float
    rows: list[FormTiming]
    left_out: dict[str, str]


def measure(
    stock: keras.Model, network: keras.Model, images: np.ndarray, progress: Progress = silent
) -> Comparison:
    """Times `network` in each form on `images`, uint8 [n, h, w, 3], after one slice and one image
    to warm up.

    stock: the form the template loads. ONNX Runtime and OpenVINO run where they are installed.
    """
    operations = optimize.rewrite_all(graph.operations(network))
    gflop = sum(operation.flop for operation in operations) / 1e9
    ceiling = timing.measure_ceiling()
    # A form builds its graph anew for each number of images. So one image is sent twice, and the
    # second call is the one that is reported.
    inputs = {"first": images[:SLICE], "one": images[:1], "warm": images[:1], "measured": images}
    rows: list[FormTiming] = []
    left_out: dict[str, str] = {}
    reference = None
    with tempfile.TemporaryDirectory(prefix="cbtool-bench-") as name:
        root = Path(name)
        forms = inference_forms.make_forms(root, stock, network, operations, gflop)
        for number, form in enumerate(forms):
            progress(number, len(forms), form.name)
            try:
                form.write_zip(root / "form.zip")
                outcome = sandbox.run(root / "form.zip", inputs, time_limit=TIME_LIMIT)
                scores = outcome.array("measured")
            except CbtoolError as error:
                # A runtime may lack an operation, or the memory: the other forms still count.
                left_out[form.name] = error.sentence
                continue
            # Our forms return logarithms of probabilities, the others scores. The two differ by one
            # number for each image, which subtracting the mean removes.
            scores = scores - scores.mean(axis=1, keepdims=True)
            if reference is None:
                reference = scores
            speed = template_speed = len(images) / outcome.calls["measured"].seconds
            if rows:
                template_speed = rows[0].images_per_second
            rows.append(
                FormTiming(
                    form.name,
                    round(speed, 2),
                    round(speed / template_speed, 2),
                    float(f"{np.abs(scores - reference).max() / np.abs(reference).max():.2g}"),
                    round(float(np.mean(scores.argmax(axis=1) == reference.argmax(axis=1))), 5),
                    round(outcome.load_seconds, 2),
                    round(outcome.calls["first"].seconds, 2),
                    round(outcome.calls["warm"].seconds, 3),
                    round(outcome.peak_bytes / 1e6),
                    round(speed * gflop / ceiling, 3),
                )
            )
    return Comparison(len(images), round(gflop, 3), round(ceiling, 1), rows, left_out)
