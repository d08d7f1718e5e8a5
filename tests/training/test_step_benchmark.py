"""The cases of `bench train`: what a row says; how fast anything is belongs elsewhere."""

import json
from dataclasses import asdict

import pytest

from tests.support.commands import in_process
from toolkit.core.config import Operation
from toolkit.training import child, step_benchmark, step_child
from toolkit.training.step_benchmark import Case, Timing


def list_four():
    return step_benchmark.list_cases("vgg16", ["float32"], [False, True], [False], [4], 48, 1)


def test_every_combination_is_a_case_and_stock_comes_before_ours():
    cases = step_benchmark.list_cases(
        "vgg16", ["float32", "mixed_bfloat16"], [False], [False, True], [2, 4], 96, 3
    )
    assert len(cases) == len(set(cases)) == 16
    assert [case.ours for case in cases] == [False, True] * 8


def test_a_row_says_what_was_measured(monkeypatch):
    """The arithmetic of a step is three forward passes, by area from the catalogue's 5.6 GFLOP."""
    times = iter([0.5, 0.25, 0.5, None])

    def answer(module, case, what):
        compute = next(times)
        return compute and asdict(Timing(0.1, compute, 0.2, 1_500_000_000))

    monkeypatch.setattr(child, "ask", answer)
    rows = step_benchmark.measure(list_four())
    first = rows[0]
    assert first["images_per_second"] == pytest.approx(4 / 0.6, abs=0.01)
    assert (first["input_wait_ms"], first["compute_ms"], first["peak_mb"]) == (100, 500, 1500)
    tflops = 3 * 5.6e9 / 4 * 4 / 0.5 / 1e12
    assert first["tflops"] == pytest.approx(tflops, abs=1e-4)
    assert first["utilisation"] == pytest.approx(tflops / 0.2, abs=1e-3)
    # Its own stock, not that of the other case; none where memory ran out.
    assert [row["ratio"] for row in rows] == [None, pytest.approx(0.6 / 0.35, abs=0.01), None, None]
    assert rows[3]["images_per_second"] is None and rows[3]["xla"]


@pytest.mark.parametrize("ours", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_case_is_timed_with_its_batches(ours):
    flip = (Operation(name="flip"),)
    case = Case("vgg16", ours, "float32", False, True, 2, 32, 2, flip)
    timing = Timing(**step_child.time_case(case))
    assert min(asdict(timing).values()) > 0 and timing.peak_bytes > 1e8


def test_the_table_says_what_did_not_fit_into_memory(monkeypatch):
    monkeypatch.setattr(child, "ask", lambda *arguments: None)
    result = in_process("bench", "train", "--backbone", "vgg16", "--xla", "on")
    assert result.returncode == 0 and "out of memory" in result.stdout
    report = in_process("bench", "train", "--backbone", "vgg16", "--json")
    assert json.loads(report.stdout)["rows"][1]["peak_mb"] is None


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_product_is_measured_in_every_precision(precision, monkeypatch):
    monkeypatch.setattr(step_child, "CPU_PRODUCT", 64)
    assert step_child._measure_product(precision) > 0
