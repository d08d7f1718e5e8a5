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
    result = in_process("build", "--run", run, "--out", path)
    assert result.returncode == 0
    assert ("is not evaluated" in result.stderr) == (not (run / "inference.json").exists())
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
    noted = in_process("runs", "note-online", wanted, 0.625, "--runs", folder, "--json")
    scores = {each["phase"]: each["score"] for each in json.loads(noted.stdout)["online"]}
    assert scores["online"] == 0.625
    for score, hint in ((61, "give 0.61"), (1.5, "give 0.015"), (-1, "Copy it")):
        result = in_process("runs", "note-online", "--runs", folder, "--", wanted, score)
        assert_one_sentence(result, f"accuracy goes from 0 to 1: not {score}.")
        assert hint in result.stderr


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


SERVER = "https://course.example"


@pytest.fixture
def ledger(tmp_path):
    """A folder whose ledger has two zips, without runs."""
    entries = [zip_ledger.Entry(digit * 64, f"{digit}.zip", "2026-01-01", ()) for digit in "ab"]
    zip_ledger._write(tmp_path, entries)
    return tmp_path


def note_online(ledger, digit, score, *arguments):
    return in_process(
        "runs", "note-online", digit * 8, score, "--phase", "main", "--runs", ledger, *arguments
    )


def online_of(ledger, position=0):
    return [(*each.place, each.score) for each in zip_ledger.read(ledger)[position].online]


def test_a_noted_number_is_a_competition_of_the_server_in_use(ledger, monkeypatch):
    """As `upload` records it: a correction replaces what that wrote."""
    monkeypatch.setenv("CODABENCH_URL", SERVER)
    zip_ledger.note_online(ledger, "a" * 8, zip_ledger.OnlineScore("main", 0.5, SERVER, 1))
    assert note_online(ledger, "a", 0.6, "--competition", 1).returncode == 0
    assert online_of(ledger) == [(SERVER, 1, "main", 0.6)]
    other = f"{SERVER}/competitions/2/"
    assert note_online(ledger, "a", 0.7, "--competition", other).returncode == 0
    assert online_of(ledger) == [(SERVER, 1, "main", 0.6), (SERVER, 2, "main", 0.7)]


def test_a_phases_name_alone_is_enough_where_one_competition_has_it(ledger):
    for competition in (1, 2):
        score = zip_ledger.OnlineScore("main", 0.5, SERVER, competition)
        zip_ledger.note_online(ledger, "a" * 8, score)
        result = note_online(ledger, "a", 0.6)
        if competition == 1:
            assert result.returncode == 0 and online_of(ledger) == [(SERVER, 1, "main", 0.6)]
    assert_one_sentence(result, "in several competitions with a phase 'main'")
    assert "--competition ID" in result.stderr and len(online_of(ledger)) == 2


def test_a_score_noted_without_its_competition_is_not_counted_twice(ledger):
    """Once CodaBench has told it; another score stays, as it may be another competition's."""
    known = zip_ledger.OnlineScore("main", 0.5, SERVER, 1)
    for digit, position, kept in (("a", 0, ()), ("b", 1, ((None, None, "main", 0.6),))):
        assert note_online(ledger, digit, 0.6 if kept else 0.5).returncode == 0
        zip_ledger.note_online(ledger, digit * 8, known)
        assert online_of(ledger, position) == [*kept, (SERVER, 1, "main", 0.5)]


@pytest.mark.parametrize(
    ("second", "shown"),
    [
        ((SERVER, 1), ("main0.5000", "main0.6000")),
        ((SERVER, 2), ("mainof10.5000", "mainof20.6000")),
        (("https://b.example", 1), (f"mainof1at{SERVER}0.5", "mainof1athttps://b.example0.6")),
    ],
)
def test_the_table_tells_the_phases_of_two_zips_apart(ledger, second, shown):
    zip_ledger.note_online(ledger, "a" * 8, zip_ledger.OnlineScore("main", 0.5, SERVER, 1))
    zip_ledger.note_online(ledger, "b" * 8, zip_ledger.OnlineScore("main", 0.6, *second))
    table = in_process("runs", "zips", ledger).stdout
    assert all(words in "".join(table.split()) for words in shown)


@pytest.mark.parametrize(
    ("online", "words"),
    [
        ({"main": "high"}, "online.0.score: input should be a valid number"),
        ({"main": None}, "online.0.score: input should be a valid number"),
        ([{"phase": "main", "score": float("inf")}], "score: input should be a finite number"),
        ([{"phase": "main", "score": 0.5, "place": 1}], "online.0.place"),
    ],
)
def test_an_online_score_that_is_none_is_an_error(ledger, online, words):
    entries = json.loads((ledger / zip_ledger.FILE).read_text())
    entries[0]["online"] = online
    (ledger / zip_ledger.FILE).write_text(json.dumps(entries))
    assert_one_sentence(in_process("runs", "zips", ledger), words)
