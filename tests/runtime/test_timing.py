"""The projection of a zip's time, and which limits it is compared with."""

from dataclasses import replace

import pytest

from tests.support.commands import in_process
from toolkit.runtime import timing
from toolkit.runtime.timing import Timing
from tools import time as timing_command


def timed(zip_time_limit: float) -> Timing:
    """Four views in 1000 seconds, one in 250."""
    return Timing(4000, 512, 0.0, 0.0, 0.0, 4.0, 1000.0, 10**9, 4, 1.0, 100.0, zip_time_limit)


def test_fewer_views_help_only_within_the_limit():
    assert timed(300).shortest_seconds(300) == 250
    assert timed(600).shortest_seconds(300) == 1000
    assert timed(0).shortest_seconds(300) == 1000


def test_more_than_the_ceiling_is_no_share_of_it():
    """It was "235% of it used", where the machine was busy while the ceiling was measured."""
    shown = dict(timing_command.rows(timed(0), 600))["matrix-product ceiling"]
    assert shown == "100 GFLOP/s in float32, 4% of it used"
    fast = replace(timed(0), images_per_second=250.0)
    shown = dict(timing_command.rows(fast, 600))["matrix-product ceiling"]
    assert "; the zip reached 2.5 times that" in shown and "%" not in shown


@pytest.mark.parametrize(("own_limit", "code"), [(300, 0), (600, 4)])
def test_a_zip_with_a_longer_limit_of_its_own_is_too_slow(
    small_zip, monkeypatch, tmp_path, own_limit, code
):
    monkeypatch.setattr(timing, "measure", lambda *arguments: timed(own_limit))
    arguments = ("--images", 4000, "--limit", 300, "--runs", tmp_path)
    result = in_process("time", small_zip, *arguments)
    assert result.returncode == code, result.stderr
    assert ("Too slow: 1,000 s" in result.stderr) == (code == 4)
