"""The ledger of zips, from build over time and score to the online score."""

import json
import shutil

import pytest

from tests.support.commands import assert_one_sentence, cbtool
from toolkit.core import files
from toolkit.export import zip_ledger
from toolkit.training import run_folder


@pytest.fixture(scope="module")
def built(evaluated, training_file, tmp_path_factory):
    """A folder with one run, whose zip was built, and scored again by itself."""
    folder = tmp_path_factory.mktemp("built")
    run = shutil.copytree(evaluated, folder / "run")
    path = folder / "one.zip"
    assert cbtool("build", "--run", run, "--out", path).returncode == 0
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
    assert all(
        getattr(entry, key) == metrics[key]
        for key in ("clean", "shift", "foretold", "foretold_low")
    )


def test_time_and_the_online_score_are_added_and_stay_when_it_is_built_again(built):
    folder, path = built
    assert cbtool("time", path, "--images", 100, "--runs", folder).returncode == 0
    foretold = zip_ledger.read(folder)[0].foretold
    for phase, score in (("development", foretold + 0.03), ("final", foretold - 0.01)):
        result = cbtool(
            "runs", "note-online", path, round(score, 6), "--phase", phase, "--runs", folder
        )
        assert result.returncode == 0, result.stderr
    assert "-0.0100 away" in result.stdout
    assert cbtool("build", "--run", folder / "run", "--out", path).returncode == 0
    (entry,) = zip_ledger.read(folder)
    assert (
        entry.images == 100 and entry.seconds > 0 and set(entry.online) == {"development", "final"}
    )
    report = json.loads(cbtool("runs", "zips", folder, "--json").stdout)
    assert report["mean_absolute_error"] == pytest.approx(0.02, abs=1e-5)
    table = cbtool("runs", "zips", folder).stdout
    assert entry.sha256[:8] in table and "0.0200 apart" in table and "development" in table


def test_a_zip_is_named_by_the_beginning_of_its_sum(built):
    folder, path = built
    wanted = files.digest(path)[:8]
    assert cbtool("runs", "note-online", wanted, 0.5, "--runs", folder).returncode == 0
    assert_one_sentence(
        cbtool("runs", "note-online", "0" * 8, 0.5, "--runs", folder), "knows no zip 00000000"
    )
    assert cbtool("runs", "note-online", wanted, 1.5, "--runs", folder).returncode == 2


def test_no_zips_and_a_damaged_ledger_are_errors(tmp_path):
    assert_one_sentence(cbtool("runs", "zips", tmp_path), "no zip was built")
    (tmp_path / zip_ledger.FILE).write_text("[{]")
    assert_one_sentence(cbtool("runs", "zips", tmp_path), "cannot be read")
