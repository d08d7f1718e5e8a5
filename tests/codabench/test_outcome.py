"""What a user is shown of a submission that ended: logs, tasks, and an end that nobody saw."""

import json
import time

import pytest

from tests.support import standin as recorded
from tests.support.commands import assert_one_sentence, in_process
from tests.support.uploads import noted, sent
from toolkit.codabench import upload_records
from toolkit.codabench.client import Client
from toolkit.codabench.credentials import Account
from toolkit.export import zip_ledger

FAILED = {"walk": ("Failed",), "details": "Child task failed or non-zero return code"}
REASON = b"There is no model.py at the top of the zip.\n"


def test_the_step_that_failed_first_is_shown(standin, zip_file):
    """The ingestion ended with a sentence; the scoring only found nothing to score."""
    standin.next_row = FAILED
    standin.objects |= {
        "logs/prediction_ingestion_stderr": REASON,
        "logs/scoring_stderr": b"There are no predictions.\n",
    }
    result = sent(zip_file, "--wait")
    assert result.returncode == 3 and result.stdout.count("submission 1") == 1
    told = result.stderr
    assert told.index("There is no model.py") < told.index("There are no predictions")
    assert told.count("submission 1: Failed") == 1 and "All logs: cbtool logs 1" in told


def test_a_server_that_kept_no_logs(standin, zip_file, tmp_path):
    standin.next_row = FAILED
    result = sent(zip_file, "--wait")
    assert_one_sentence(result, "submission 1: Failed", code=3)
    assert "kept no logs" in result.stderr and "cbtool validate ZIP;" in result.stderr
    assert "cbtool logs" not in result.stderr
    result = in_process("logs", 1, "--out", tmp_path / "logs")
    assert_one_sentence(result, "the server kept no logs of submission 1", code=3)
    assert not (tmp_path / "logs").exists()


def test_logs_of_a_submission_that_runs(standin, zip_file, tmp_path):
    standin.next_row = {"walk": ("Running",)}
    assert sent(zip_file).returncode == 0
    result = in_process("logs", 1)
    assert result.returncode == 0 and result.stdout == ""
    assert "Submission 1 is Running" in result.stderr
    standin.objects["logs/scoring_stdout"] = b"x\n"
    result = in_process("logs", 1, "--out", tmp_path / "logs")
    assert "No detailed results" in result.stderr
    assert not (tmp_path / "logs" / "detailed_results.html").exists()


def test_all_tasks_failed(standin, zip_file, tmp_path):
    standin.next_row = {"walk": ("Finished",), "tasks": (FAILED, FAILED)}
    standin.objects |= {
        "logs/2/prediction_ingestion_stderr": REASON,
        "logs/3/scoring_stderr": b"wrong shape\n",
    }
    result = sent(zip_file, "--wait")
    assert result.returncode == 3
    for words in (
        "submission 2 (task 0): Failed, Child task failed",
        "submission 3 (task 1): Failed, Child task failed",
        "There is no model.py",
        "wrong shape",
        "cbtool logs 3",
    ):
        assert words in result.stderr
    assert "wrote no score" not in result.stderr
    printed = in_process("logs", 1).stdout
    assert "2 (task 0): prediction_ingestion_stderr" in printed and "wrong shape" in printed
    result = in_process("logs", 1, "--out", tmp_path / "logs")
    assert result.returncode == 0
    assert (tmp_path / "logs" / "3" / "scoring_stderr.txt").read_text() == "wrong shape\n"


def test_one_task_failed_beside_a_scored_one(standin, zip_file):
    standin.next_row = {"walk": ("Finished",), "tasks": ({"scores": (0.7,)}, FAILED)}
    folder = noted(zip_file)
    result = sent(zip_file, "--wait")
    assert result.returncode == 3
    assert "submission 2 (task 0): Finished\nScore: 0.7\n" in result.stdout
    assert "submission 3 (task 1): Failed" in result.stderr
    assert [each.score for each in zip_ledger.read(folder)[0].online] == [0.7]
    result = in_process("status", 1, "--json", "--runs", folder)
    report = json.loads(result.stdout)
    assert result.returncode == 3 and report["status"] == "Finished"
    assert [child["status"] for child in report["children"]] == ["Finished", "Failed"]


def test_two_phases_of_one_name_keep_their_scores(standin, zip_file):
    folder = noted(zip_file)
    for competition, score in ((1, 0.5), (2, 0.8)):
        standin.next_row = {"scores": (score,)}
        result = sent(zip_file, "--wait", competition=competition)
        assert result.returncode == 0, result.stderr
    (entry,) = zip_ledger.read(folder)
    assert [(each.competition, each.phase, each.score) for each in entry.online] == [
        (1, "main", 0.5),
        (2, "main", 0.8),
    ]
    assert {each.server for each in entry.online} == {standin.url}
    shown = "".join(in_process("runs", "zips", folder).stdout.split())
    assert "mainof10.5000,mainof20.8000" in shown


def test_a_ledger_that_cannot_be_written_is_named(standin, zip_file):
    folder = noted(zip_file)
    result = sent(zip_file, "--wait", "--runs", folder.parent / "other")
    assert result.returncode == 0 and "has no zip" in result.stderr and "--runs" in result.stderr
    (folder / zip_ledger.FILE).write_text("{")
    result = in_process("status", 1, "--runs", folder)
    assert result.returncode == 0 and "cannot be read" in result.stderr


def test_a_deleted_submission_can_be_sent_again(standin, zip_file):
    """Its record is closed by `delete` here, and by the server's answer where it was deleted
    there."""
    assert sent(zip_file, "--wait").returncode == 0
    assert in_process("delete", 1, "--yes").returncode == 0
    assert sent(zip_file, "--wait").returncode == 0
    standin.rows[1].deleted = True
    assert sent(zip_file).returncode == 0
    standin.rows[2].deleted = True
    result = in_process("upload", "--resume")
    assert_one_sentence(result, "submission 3 was deleted on CodaBench", code=3)
    assert_one_sentence(in_process("upload", "--resume"), "no upload is unfinished")
    assert "deleted" in in_process("status").stdout
    looks = standin.count("GET /api/submissions/")
    in_process("status")
    assert standin.count("GET /api/submissions/") == looks  # nobody asks for them again


def test_unfinished_uploads_are_listed_chosen_and_closed(standin, zip_file, home):
    """The latest one's zip is gone, so a bare --resume continues the one before."""
    standin.fail("POST /api/datasets/", "500", "500")
    other = home / "other.zip"
    other.write_bytes(zip_file.read_bytes() + b"x")
    assert sent(zip_file).returncode == 3 and sent(other).returncode == 3
    other.unlink()
    listed = in_process("status").stderr
    assert f"Unfinished: {zip_file} to main of competition 1, not uploaded, begun on" in listed
    assert f"cbtool upload --abandon {other}" in listed
    result = in_process("upload", "--resume", "--runs", home / "runs")
    assert result.returncode == 0, result.stderr
    assert f"Continuing {zip_file}" in result.stderr and f"  {other} to main" in result.stderr
    assert_one_sentence(in_process("upload", "--resume"), "has changed or gone since")
    (waiting,) = json.loads(in_process("status", "--json").stdout)["unfinished_uploads"]
    assert 0 < waiting.pop("started") < time.time()
    assert waiting == {
        "zip": str(other),
        "competition": 1,
        "phase": "main",
        "step": "not uploaded",
    }
    result = in_process("upload", other, "--abandon")
    assert result.returncode == 0 and "is closed (not uploaded)" in result.stdout
    assert_one_sentence(in_process("upload", "--resume"), "no upload is unfinished")
    assert in_process("upload", other, "--abandon", "--resume").returncode == 2


def test_two_users_of_one_machine_do_not_see_each_other(standin, zip_file):
    assert sent(zip_file, "--wait").returncode == 0
    standin.username, standin.rows = "bob", []
    asked = standin.count("GET /api/submissions/")
    assert_one_sentence(in_process("status"), "there are no submissions")
    assert standin.count("GET /api/submissions/") == asked
    assert_one_sentence(in_process("leaderboard"), "this machine has no uploads")
    result = sent(zip_file)
    assert result.returncode == 0, result.stderr  # what Alice has scored is no matter to Bob
    standin.username = "alice"
    users = [each.user for each in upload_records.list_uploads(_client(standin))]
    assert users == ["alice"]


SECRET = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def secret(standin):
    """Competition 6, which only its link shows."""
    standin.joined[6], standin.secrets[6] = None, SECRET
    return f"{standin.url}/competitions/6/?secret_key={SECRET}"


def test_a_secret_link_is_taken_wherever_an_id_is(standin, home, secret):
    assert_one_sentence(in_process("competitions", "show", 6), "or you may not see it", code=3)
    for arguments in (("competitions", "show", secret), ("leaderboard", "--competition", secret)):
        result = in_process(*arguments)
        assert result.returncode == 0, result.stderr
    assert "Probe: approved" in in_process("competitions", "join", secret).stdout
    assert in_process("competitions", "show", 6).returncode == 0  # no key is needed any more


def test_a_secret_key_beside_a_number(standin, home, secret):
    assert_one_sentence(in_process("competitions", "join", 6), "or you may not see it", code=3)
    result = in_process("competitions", "join", 6, "--secret-key", SECRET)
    assert "Probe: approved" in result.stdout


def test_an_upload_to_a_web_address(standin, zip_file):
    result = sent(zip_file, competition=f"{standin.url}/competitions/1/")
    assert result.returncode == 0 and len(standin.rows) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://elsewhere.org/competitions/1/", "is at https://elsewhere.org, but you use"),
        ("https://elsewhere.org/phases/1/", "is neither a competition's number nor its web"),
        ("0", "is neither a competition's number nor its web"),
        ("first", "is neither a competition's number nor its web"),
    ],
)
def test_other_addresses_are_refused(standin, home, text, words):
    assert_one_sentence(in_process("competitions", "show", text), words)


def test_who_was_denied_is_told_so(standin, home):
    standin.joined[4] = "denied"
    result = in_process("competitions", "join", 4)
    assert_one_sentence(result, "'Probe' has denied your application", code=3)


@pytest.mark.parametrize("newer", [False, True])
def test_older_and_newer_servers_give_the_same(standin, zip_file, newer):
    standin.newer = newer
    result = sent(zip_file, "--wait", competition=2)
    assert result.returncode == 0 and "Score: 0.5" in result.stdout, result.stderr
    (row,) = _client(standin).list_submissions(2)
    assert row.scores == {"score": 0.5}


@pytest.mark.parametrize("newer", [False, True])
def test_a_limit_that_a_team_mate_used_up_first(standin, zip_file, newer):
    """A newer server says so; the older one's failure is explained by another question."""
    standin.newer = newer
    mate = recorded.Row(7, 2, "other", "other.zip")
    real = standin._dataset
    standin._dataset = lambda request: (standin.rows.append(mate), real(request))[1]
    result = sent(zip_file, "--again", competition=2)
    assert_one_sentence(result, "Reached maximum allowed submissions for today", code=3)
    assert standin.rows == [mate]


def test_a_phase_that_ends_while_the_zip_is_sent(standin, zip_file):
    standin.newer = True
    standin.phase_changes = {"status": "Current", "end": None}
    result = sent(zip_file, competition=3)
    assert_one_sentence(result, "This phase has ended.", code=3)


def _client(standin):
    return Client(Account(standin.url, recorded.TOKEN))
