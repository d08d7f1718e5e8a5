"""The ledger of zips, from build over time and score to the online score."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core import files
from toolkit.export import zip_ledger
from toolkit.training import run_folder
from toolkit.training.headline import FORMER_KEYS


@pytest.fixture(scope="module")
def built(small_run, tmp_path_factory):
    """A folder with one run, whose zip was built, and scored again by itself."""
    folder = tmp_path_factory.mktemp("built")
    run = shutil.copytree(small_run, folder / "run")
    path = folder / "one.zip"
    assert in_process("build", "--run", run, "--out", path).returncode == 0
    return folder, path


def test_a_build_is_noted_with_what_evaluate_said(built):
    folder, path = built
    (entry,) = zip_ledger.read(folder)
    metrics = json.loads(run_folder.Run(folder / "run").metrics.read_text())["validation"]
    assert (entry.sha256, entry.file, entry.runs, entry.part) == (
        files.digest(path),
        "one.zip",
        ("run",),
        "validation",
    )
    assert (entry.clean, entry.shift) == (metrics["clean"], metrics["shift"])
    for key in FORMER_KEYS:
        assert getattr(entry, key) == metrics[key] is not None


def test_time_and_the_online_score_are_added_and_stay_when_it_is_built_again(built):
    folder, path = built
    assert in_process("time", path, "--images", 100, "--runs", folder).returncode == 0
    estimate = zip_ledger.read(folder)[0].estimated_score
    for phase, score in (("development", estimate + 0.03), ("final", estimate - 0.01)):
        result = in_process(
            "runs", "note-online", path, round(score, 6), "--phase", phase, "--runs", folder
        )
        assert result.returncode == 0, result.stderr
    assert ": -0.0100 from the estimated" in result.stdout
    assert in_process("build", "--run", folder / "run", "--out", path).returncode == 0
    (entry,) = zip_ledger.read(folder)
    assert (
        entry.images == 100
        and entry.seconds > 0
        and [each.phase for each in entry.online] == ["development", "final"]
    )
    report = json.loads(in_process("runs", "zips", folder, "--json").stdout)
    assert report["mean_absolute_error"] == pytest.approx(0.02, abs=1e-5)
    table = in_process("runs", "zips", folder).stdout
    assert (
        entry.sha256[:8] in table
        and "estimated scores is 0.0200" in table
        and "development" in table
    )


def test_a_zip_is_named_by_the_beginning_of_its_sum(built):
    folder, path = built
    wanted = files.digest(path)[:8]
    assert in_process("runs", "note-online", wanted, 0.5, "--runs", folder).returncode == 0
    assert_one_sentence(
        in_process("runs", "note-online", "0" * 8, 0.5, "--runs", folder), "has no zip 00000000"
    )
    assert in_process("runs", "note-online", wanted, 1.5, "--runs", folder).returncode == 2


def test_a_ledger_of_an_earlier_version_is_read(tmp_path):
    former = {"sha256": "0" * 64, "file": "a.zip", "built": "2025-01-01T00:00:00", "runs": ["a"]}
    former |= {"foretold": 0.8, "foretold_low": 0.7, "foretold_high": 0.9, "online": {"main": 0.79}}
    (tmp_path / zip_ledger.FILE).write_text(json.dumps([former]))
    (entry,) = zip_ledger.read(tmp_path)
    assert (entry.estimated_score, entry.estimated_low, entry.estimated_high) == (0.8, 0.7, 0.9)
    assert zip_ledger.mean_absolute_error([entry]) == pytest.approx(0.01)
    assert zip_ledger.note(tmp_path, "0" * 8, seconds=3.0, images=10)
    written = json.loads((tmp_path / zip_ledger.FILE).read_text())[0]
    assert written["estimated_score"] == 0.8 and "foretold" not in written


def test_writers_at_once_lose_nothing(tmp_path):
    """Threads: the lock is between open files, wherever they are."""
    entries = [{"sha256": f"{n:064x}", "file": "a.zip", "built": "", "runs": []} for n in range(8)]
    (tmp_path / zip_ledger.FILE).write_text(json.dumps(entries))

    def note(number):
        for images in range(10):
            assert zip_ledger.note(tmp_path, f"{number:064x}", images=images, seconds=1.0)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(8)))
    assert [entry.images for entry in zip_ledger.read(tmp_path)] == [9] * 8


def test_no_zips_and_a_damaged_ledger_are_errors(tmp_path):
    assert_one_sentence(in_process("runs", "zips", tmp_path), "no zip was built")
    (tmp_path / zip_ledger.FILE).write_text("[{]")
    assert_one_sentence(in_process("runs", "zips", tmp_path), "cannot be read")
