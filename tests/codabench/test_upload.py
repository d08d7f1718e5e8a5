"""`cbtool upload` and what follows, against the stand-in: to the score, and through every
interruption."""

import json
import os
import signal
import time
import zipfile
from types import SimpleNamespace

import pytest
from werkzeug import Response

from tests.support import standin as recorded
from tests.support.commands import assert_one_sentence, in_process, started
from tests.support.uploads import MODEL, noted, sent
from toolkit.codabench import eligibility, upload, upload_records
from toolkit.codabench.address import CompetitionAddress
from toolkit.codabench.client import Client
from toolkit.codabench.credentials import Account
from toolkit.core import locks
from toolkit.core.errors import PlatformError
from toolkit.export import zip_ledger

NO_EVALUATOR = ("--evaluator", "none")
CRASH = "Traceback (most recent call last):\n  File ingestion.py\nValueError: no weights\n"


def test_from_a_zip_to_its_score_and_the_leaderboard(standin, zip_file):
    folder = noted(zip_file)
    standin.objects["logs/prediction_ingestion_stdout"] = b"predicted in 2 s\n"
    standin.next_row = {"walk": recorded.WALK}
    result = sent(zip_file, "--leaderboard")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "my submission.zip is submission 1 in main.",
        "submission 1: Finished",
        "Score: 0.5",
        "Submission 1 is on the leaderboard.",
    ]
    for words in (
        "Probe at",
        "main, ends never",
        "100 of 100",
        "15 GB",
        "--leaderboard adds yours",
        "predicted in 2 s",
    ):
        assert words in result.stderr
    walk = [
        line.split()[-1] for line in result.stderr.splitlines() if line.startswith("submission 1: ")
    ]
    assert walk == [
        "Submitting",
        "Submitted",
        "Running",
        "Preparing",
        "Scoring",
        "Running",
    ]
    (entry,) = zip_ledger.read(folder)
    assert entry.online == (zip_ledger.OnlineScore("main", 0.5, standin.url, 1),)
    assert ": -0.1000 from the estimated" in result.stderr
    (place,) = standin.datasets.values()
    assert standin.objects[place] == zip_file.read_bytes() and place.rpartition("/")[2].startswith(
        "my-submission-"
    )
    assert standin.rows[0].on_leaderboard and len(standin.rows) == 1
    assert recorded.TOKEN not in result.stdout + result.stderr


def test_a_repetition_is_refused_before_the_zip_is_run(standin, zip_file, monkeypatch):
    assert sent(zip_file, "--wait").returncode == 0
    for options in ((), ("--dry-run",)):
        result = sent_unvalidated(monkeypatch, zip_file, *options)
        assert_one_sentence(result, "was scored in main as submission 1")
    assert len(standin.rows) == 1


def test_without_waiting_and_as_json(standin, zip_file):
    result = sent(zip_file, "--json")
    assert result.returncode == 0 and "Next: cbtool status 1" in result.stderr
    assert json.loads(result.stdout) == {
        "id": 1,
        "phase_name": "main",
        "status": "Submitting",
        "scores": {},
    }
    result = in_process("upload", "--resume", "--json", "--runs", zip_file.parent)
    report = json.loads(result.stdout)
    assert (report["id"], report["status"], report["scores"]) == (1, "Finished", {"score": 0.5})
    assert len(standin.rows) == 1


def test_a_submission_sees_nothing_of_the_users_account(standin, home):
    """Neither the token nor the folders that the environment names reach the process that
    `validate` starts."""
    path = home / "curious.zip"
    with zipfile.ZipFile(path, "w") as archive:
        names = "[name for name in os.environ if name.startswith(('CODABENCH', 'XDG'))]"
        archive.writestr("model.py", f"import os\nassert not {names}, {names}\n{MODEL}")
    result = sent(path, "--dry-run")
    assert result.returncode == 0, result.stderr


def test_a_dry_run_and_a_no_send_nothing(standin, zip_file):
    result = sent(zip_file, "--dry-run")
    assert (
        result.returncode == 0
        and "Nothing was sent." in result.stderr
        and "left today" in result.stderr
    )
    result = in_process("upload", zip_file, "--competition", 1, *NO_EVALUATOR, input="n\n")
    assert result.returncode == 0
    result = in_process("upload", zip_file, "--competition", 1, *NO_EVALUATOR, input="")
    assert result.returncode == 2 and "add --yes" in result.stderr
    assert standin.count("POST") == 0 and upload_records.list_uploads(_client(standin)) == []
    assert (
        in_process("upload", zip_file, "--competition", 1, *NO_EVALUATOR, input="y\n").returncode
        == 0
    )
    assert len(standin.rows) == 1


@pytest.fixture
def nested(home):
    """A zip that fails one check."""
    path = home / "nested.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine/model.py", MODEL)
    return path


def test_a_dry_run_as_json_is_the_plan(standin, zip_file, nested):
    """Also of a zip that fails `validate`, with its checks."""
    result = sent(zip_file, "--dry-run", "--json")
    plan = json.loads(result.stdout)
    assert (plan["competition"], plan["phase"], plan["sent"]) == (1, "main", False)
    assert plan["bytes"] == zip_file.stat().st_size and plan["failed_checks"] == 0
    assert plan["left_today"] == 100 and plan["limit_seconds"] == 15
    result = sent(nested, "--dry-run", "--json")
    plan = json.loads(result.stdout)
    assert result.returncode == 1 and plan["failed_checks"] == 1 and plan["sent"] is False
    (failed,) = [check for check in plan["checks"] if check["status"] == "failed"]
    assert failed["name"] == "layout" and failed["hint"]
    assert "left today" in result.stderr


def test_the_notes_of_a_plan_name_a_longer_limit_of_the_zip(standin, zip_file, monkeypatch):
    built = SimpleNamespace(time_limit=600.0)
    monkeypatch.setattr("toolkit.export.manifest.read_zip_manifest", lambda path: built)
    result = sent(zip_file, "--dry-run", "--json")
    note = "the zip's own limit is 600 s, the phase allows 15 s: cbtool build --time-limit 15"
    assert note in json.loads(result.stdout)["notes"] and note in result.stderr


def test_a_dry_run_does_not_continue_an_upload(standin, zip_file):
    standin.fail("POST /api/datasets/", "500")
    assert sent(zip_file).returncode == 3
    for option in ("--resume", "--abandon"):
        result = in_process("upload", option, "--dry-run")
        assert result.returncode == 2 and "--dry-run is for a new upload" in result.stderr
    assert standin.rows == [] and len(upload_records.list_unfinished(_client(standin))) == 1


def test_what_fails_validate_goes_by_force_only(standin, nested):
    result = sent(nested)
    assert result.returncode == 1 and "layout" in result.stderr
    assert "1 of " in result.stderr and "--force sends it" in result.stderr
    assert standin.count("POST") == 0 and upload_records.list_uploads(_client(standin)) == []
    path = nested
    assert sent(path, "--force").returncode == 0 and len(standin.rows) == 1


def sent_unvalidated(monkeypatch, *arguments, **options):
    """Uploads where a refusal has to come before the zip is run, which takes minutes."""

    def run_checks(*arguments):
        raise AssertionError("the zip was validated before the refusal")

    with monkeypatch.context() as patch:
        patch.setattr("tools.upload.run_checks", run_checks)
        return sent(*arguments, **options)


REFUSALS = [
    (9, {}, "there is no competition 9"),
    (3, {}, "phase 'main' is over: it ended on 01 January 2021"),
    (4, {}, "has not approved you yet"),
    (6, {}, "you are not a participant"),
    (1, {"free": 10}, "10 bytes of your storage are free"),
    (1, {"free": -1_200_000_000}, "your storage is over its quota by 1.2 GB"),
    (
        1,
        {"phase_changes": {"start": "2099-01-01T00:00:00Z", "status": "Next"}},
        "has not begun: it begins on 01 January 2099",
    ),
    (1, {"tokens": set()}, "does not accept this login"),
    (2, {"rows": [recorded.Row(9, 2, "other", "other.zip")]}, "Reached maximum allowed"),
]


@pytest.mark.parametrize(("competition", "state", "words"), REFUSALS)
def test_what_the_platform_would_refuse_is_told_before_the_zip_is_run(
    standin, zip_file, monkeypatch, competition, state, words
):
    standin.joined[6] = None
    for name, value in state.items():
        setattr(standin, name, value)
    result = sent_unvalidated(monkeypatch, zip_file, competition=competition)
    assert_one_sentence(result, words, code=3)
    assert standin.count("POST") == 0 and upload_records.list_uploads(_client(standin)) == []


def test_a_zip_that_no_storage_takes_is_refused_before_it_is_run(standin, zip_file, monkeypatch):
    monkeypatch.setattr(eligibility, "LARGEST_PUT", 100)
    result = sent_unvalidated(monkeypatch, zip_file)
    assert_one_sentence(result, "bytes; the storage accepts 100 bytes", code=3)
    assert standin.count("POST") == 0


def test_the_days_limit_is_told_before_and_when_it_is_met_after(standin, zip_file):
    assert sent(zip_file, competition=2).returncode == 0
    standin.rows[0].looks = 99
    (zip_file.parent / "other.zip").write_bytes(zip_file.read_bytes() + b"x")
    assert_one_sentence(
        sent(zip_file.parent / "other.zip", competition=2),
        "Reached maximum allowed submissions for today",
        code=3,
    )
    standin.rows.clear()
    other = recorded.Row(7, 2, "other", "other.zip")
    real = standin._dataset
    standin._dataset = lambda request: (standin.rows.append(other), real(request))[
        1
    ]  # a team mate is faster
    result = sent(zip_file, "--again", competition=2)
    assert_one_sentence(
        result,
        "CodaBench did not accept the submission: Reached maximum allowed submissions for today",
        code=3,
    )
    assert standin.rows == [other]


def test_wrong_use_is_told(standin, zip_file, home, monkeypatch):
    assert_one_sentence(sent(home / "none.zip"), "there is no file")
    (home / "text.zip").write_text("text")
    assert_one_sentence(sent(home / "text.zip"), "not a readable zip")
    assert_one_sentence(sent(zip_file, "--phase", "Last"), "has no phase 'Last'", code=3)
    assert_one_sentence(in_process("upload", "--resume"), "no upload is unfinished")
    assert in_process("upload", zip_file).returncode == 2
    monkeypatch.setenv("CODABENCH_URL", "http://127.0.0.1:9")
    assert_one_sentence(sent(zip_file), "cannot reach 127.0.0.1:9", code=3)
    monkeypatch.setenv("CODABENCH_URL", "ftp://nowhere")
    assert_one_sentence(sent(zip_file), "not the address of a server")
    monkeypatch.setenv("CODABENCH_URL", standin.url)
    monkeypatch.delenv("CODABENCH_TOKEN")
    assert_one_sentence(sent(zip_file), "not logged in", code=3)


def test_a_failed_submission_tells_why(standin, zip_file):
    standin.next_row = {
        "walk": ("Submitting", "Scoring", "Running", "Failed"),
        "details": "Child task failed or non-zero return code",
    }
    standin.objects |= {
        "logs/prediction_ingestion_stderr": CRASH.encode(),
        "logs/scoring_stderr": b"There are no predictions.\n",
    }
    result = sent(zip_file, "--wait")
    assert result.returncode == 3
    assert (
        "Error: submission 1: Failed, Child task failed or non-zero return code.\nHint: All logs"
        in result.stderr
    )
    assert (
        "ValueError: no weights" in result.stderr
        and "There are no predictions" not in result.stderr
    )
    assert in_process("status", 1).returncode == 3
    logs = in_process("logs", 1)
    assert (
        logs.returncode == 0
        and "There are no predictions." in logs.stdout
        and logs.stdout.count("-- ") == 8
    )
    assert sent(zip_file).returncode == 0  # what failed does not count


def test_finished_may_turn_into_failed_or_stay_without_a_score(standin, zip_file, monkeypatch):
    standin.next_row = {
        "walk": ("Finished", "Finished", "Failed"),
        "scores": (),
        "details": "Could not find scores file",
    }
    assert_one_sentence(sent(zip_file, "--wait"), "Failed, Could not find scores file", code=3)
    monkeypatch.setattr(upload, "SCORE_GRACE", 0.2)
    client, seen = _client(standin), []
    standin.rows.append(recorded.Row(2, 1, "x", "x.zip", walk=("Finished",), scores=()))
    assert upload.follow(client, 2, seen.append, 60).status == "Finished" and len(seen) >= 2
    seen.clear()
    assert (
        upload.follow(client, 2, seen.append, 60, scores_come=False).status == "Finished"
        and len(seen) == 1
    )


def test_a_phase_that_hides_its_output(standin, zip_file):
    standin.phase_changes["hide_score_output"] = True
    standin.next_row = {"scores": ()}
    result = sent(zip_file, "--wait", competition=5)
    assert result.returncode == 0, result.stderr
    assert "the phase hides scores" in result.stderr and "hide output" in result.stderr


def test_waiting_ends_at_its_limit(standin, zip_file):
    standin.next_row = {"walk": ("Submitted",)}
    assert_one_sentence(
        sent(zip_file, "--wait", "--limit", 1), "not finished after 1 seconds", code=4
    )
    standin.rows[0].walk = recorded.WALK
    assert in_process("upload", "--resume").returncode == 0 and len(standin.rows) == 1


@pytest.mark.parametrize("fault", ["lost", "reset", "500", "502", "truncated"])
def test_an_entry_that_goes_unanswered_is_looked_for_and_never_doubled(standin, zip_file, fault):
    """Whether or not it arrived: one row in the end, after one --resume where that is needed."""
    standin.fail("POST /api/submissions/", fault)
    client = _client(standin)
    begun = upload.begin(client, upload_plan(client, zip_file), zip_file)
    try:
        done = upload.send(client, begun)
    except PlatformError as error:
        assert fault != "lost" and "--resume" in error.hint
        assert standin.rows == []
        done = upload.send(client, upload_records.find_resumable(client, zip_file))
    assert [row.number for row in standin.rows] == [done.submission]
    assert upload.send(client, done) == done and len(standin.rows) == 1
    assert standin.count("PUT /private/") == 1


def test_an_entry_that_shows_late_is_not_sent_again(standin, zip_file):
    """It has used up the day's limit itself, and that is no proof that it did not arrive."""
    standin.fail("POST /api/submissions/", "lost")
    shown = standin._list
    standin._list = lambda request: Response("[]", content_type="application/json")
    client = _client(standin)
    begun = upload.begin(
        client, eligibility.plan(client, zip_file, CompetitionAddress(2)), zip_file
    )
    with pytest.raises(PlatformError, match="Reached maximum"):
        upload.send(client, begun)
    standin._list = shown
    assert upload.send(client, upload_records.find_resumable(client, zip_file)).submission == 1
    assert len(standin.rows) == 1 and standin.count("POST /api/submissions/") == 1


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("POST /api/datasets/", marks=pytest.mark.slow),
        "PUT /private/",
        pytest.param("PUT /api/datasets/completed/", marks=pytest.mark.slow),
        "POST /api/submissions/",
        pytest.param("GET /api/submissions/1/", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_step_it_goes_on(standin, zip_file, step):
    """SIGKILL while the server is at `step`, which the server then finishes; --resume ends with one
    row and a score."""
    handler, reached = standin._answer, []

    def slow(side, request):
        if f"{request.method} {request.path}".startswith(step) and not reached:
            response = handler(side, request)
            reached.append(True)
            time.sleep(1.5)
            return response
        return handler(side, request)

    standin._answer = slow
    # Processes of their own: SIGKILL and Ctrl-C end the whole one.
    process = started("upload", zip_file, "--competition", 1, *NO_EVALUATOR, "--yes", "--wait")
    deadline = time.monotonic() + 60
    while not reached and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    result = in_process("upload", "--resume", "--runs", zip_file.parent)
    assert result.returncode == 0, result.stderr
    assert "Score: 0.5" in result.stdout and len(standin.rows) == 1
    assert_one_sentence(in_process("upload", "--resume"), "no upload is unfinished")
    assert_one_sentence(sent(zip_file), "was scored in main as submission 1")
    assert sent(zip_file, "--again").returncode == 0 and len(standin.rows) == 2


def test_ctrl_c_says_how_to_go_on(standin, zip_file):
    standin.next_row = {"walk": ("Submitted",)}
    process = started("upload", zip_file, "--competition", 1, *NO_EVALUATOR, "--yes", "--wait")
    deadline = time.monotonic() + 60
    while not standin.count("GET /api/submissions/1/") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and "cbtool upload --resume continues" in told
        and "Interrupted" in told
        and "Traceback" not in told
    )


def test_an_expired_address_is_asked_for_anew(standin, zip_file):
    client = _client(standin)
    begun = upload._announce(client, upload.begin(client, upload_plan(client, zip_file), zip_file))
    standin.expired.add(standin.datasets[begun.key])
    done = upload.send(client, begun)
    assert done.submission == 1 and done.key != begun.key and standin.rows[0].key == done.key


def test_another_zip_under_the_same_name_is_not_sent(standin, zip_file):
    client = _client(standin)
    upload.begin(client, upload_plan(client, zip_file), zip_file)
    zip_file.write_bytes(zip_file.read_bytes() + b"x")
    assert_one_sentence(in_process("upload", "--resume"), "has changed or gone since")
    assert standin.count("POST /api/datasets/") == 0


def test_a_zip_that_was_deleted_there_is_uploaded_again(standin, zip_file):
    """On the page Resources, before it was entered: the server knows its key no longer."""
    standin.fail("POST /api/submissions/", "500")
    assert sent(zip_file).returncode == 3
    standin.datasets.clear()
    result = in_process("upload", "--resume")
    assert_one_sentence(result, "CodaBench no longer has my-submission-", code=3)
    assert in_process("upload", "--resume").returncode == 0
    assert len(standin.rows) == 1 and len(standin.datasets) == 1


def test_two_processes_do_not_send_the_same_upload(standin, zip_file):
    client = _client(standin)
    begun = upload.begin(client, upload_plan(client, zip_file), zip_file)
    with locks.hold(upload_records.lock_path(begun.name), "sends", "Wait."):
        result = in_process("upload", "--resume")
    assert_one_sentence(result, f"another process ({os.getpid()}) is sending this zip")
    assert sent(zip_file).returncode == 2  # unfinished


def test_records_are_for_the_user_alone(standin, zip_file):
    assert sent(zip_file).returncode == 0
    folder = upload_records.folder()
    assert folder.stat().st_mode & 0o077 == 0
    assert recorded.TOKEN not in "".join(path.read_text() for path in folder.glob("*.json"))
    next(folder.glob("*.json")).write_text("{")
    assert_one_sentence(in_process("status"), "cannot be read")


def test_status_logs_and_leaderboard(standin, zip_file, home):
    assert_one_sentence(in_process("leaderboard"), "this machine has no uploads")
    assert_one_sentence(in_process("status"), "there are no submissions")
    folder = noted(zip_file)
    assert sent(zip_file).returncode == 0
    assert "Submi" in in_process("status").stdout
    standin.rows[0].looks = 99
    result = in_process("status", 1, "--runs", folder)
    assert result.returncode == 0 and result.stdout == "submission 1: Finished\nScore: 0.5\n"
    assert [each.score for each in zip_ledger.read(folder)[0].online] == [0.5]
    assert json.loads(in_process("status", 1, "--json", "--runs", folder).stdout)["scores"] == {
        "score": 0.5
    }
    assert "my-submission-" in in_process("status", "--competition", 1).stdout
    standin.objects |= {
        "logs/scoring_stdout": b"accuracy 0.5\n",
        "logs/detailed_results.html": b"<p>",
    }
    result = in_process("logs", 1, "--out", home / "logs")
    assert (
        result.returncode == 0
        and (home / "logs" / "scoring_stdout.txt").read_text() == "accuracy 0.5\n"
    )
    assert (home / "logs" / "detailed_results.html").read_text() == "<p>" and len(
        list((home / "logs").iterdir())
    ) == 9
    assert "alice" not in in_process("leaderboard").stdout
    result = in_process("leaderboard", "--add", 1)
    assert (
        "Submission 1 is on the leaderboard." in result.stdout
        and "alice" in result.stdout
        and "0.5" in result.stdout
    )
    places = json.loads(in_process("leaderboard", "--competition", 1, "--json").stdout)["places"]
    assert [(place["owner"], place["scores"]) for place in places] == [("alice", {"score": "0.5"})]
    assert_one_sentence(
        in_process("leaderboard", "--remove", 1), "You are not allowed to remove", code=3
    )
    assert_one_sentence(
        in_process("delete", 1, "--yes"), "not allowed to delete a leaderboard submission", code=3
    )
    assert_one_sentence(in_process("status", 9), "No Submission matches", code=3)
    assert_one_sentence(
        in_process("logs", 9, env=os.environ | {"CODABENCH_TOKEN": "x" * 40}),
        "does not accept this login",
        code=3,
    )


def test_a_leaderboard_that_picks_by_itself(standin, zip_file):
    result = sent(zip_file, "--leaderboard", competition=2)
    assert (
        result.returncode == 0 and "selects submissions automatically (Force_Last)" in result.stderr
    )


def test_cancel_and_delete(standin, zip_file):
    assert sent(zip_file).returncode == 0
    assert (
        "is cancelled" in in_process("cancel", 1).stdout
        and "had already ended" in in_process("cancel", 1).stdout
    )
    assert in_process("delete", 1, input="n\n").returncode == 0 and not standin.rows[0].deleted
    result = in_process("delete", 1)
    assert result.returncode == 2 and "there is no terminal for the conf" in result.stderr
    assert "is deleted" in in_process("delete", 1, "--yes").stdout and standin.rows[0].deleted
    assert "deleted" in in_process("status").stdout


def test_competitions_are_listed_shown_joined_and_fetched(standin, home):
    assert "Probe" in in_process("competitions", "list", "--search", "probe").stdout
    assert (
        json.loads(in_process("competitions", "list", "--joined", "--json").stdout)["competitions"][
            0
        ]["title"]
        == "Probe"
    )
    shown = in_process("competitions", "show", 2).stdout
    assert "1 of 1" in shown and "100 of 100" in shown and "15 s" in shown and "Force_Last" in shown
    assert (
        json.loads(in_process("competitions", "show", 2, "--json").stdout)["phases"][0][
            "left_today"
        ]
        == 1
    )
    standin.joined[6] = None
    assert (
        "approved" in in_process("competitions", "join", 6).stdout
        and standin.joined[6] == "approved"
    )
    assert "approved" in in_process("competitions", "join", 6).stdout  # once more does no harm
    assert "must approve you" in in_process("competitions", "join", 4).stdout
    assert "has no public files" in in_process("competitions", "download", 1).stdout
    standin.phase_changes = {"starting_kit": {"key": "kit"}, "public_data": "data"}
    standin.files = {"kit": "kit.zip", "data": "data.zip"}
    standin.objects |= {"kit.zip": b"kit", "data.zip": b"data"}
    result = in_process("competitions", "download", 1, "--out", home / "files")
    assert result.returncode == 0, result.stderr
    assert {path.name: path.read_bytes() for path in (home / "files").iterdir()} == {
        "main-starting_kit.zip": b"kit",
        "main-public_data.zip": b"data",
    }
    del standin.files["kit"]
    assert_one_sentence(
        in_process("competitions", "download", 1, "--out", home / "none"), "the download of", code=3
    )
    assert [path.name for path in (home / "none").iterdir()] == [
        "main-public_data.zip"
    ] or not list((home / "none").iterdir())


def _client(standin):
    return Client(Account(standin.url, recorded.TOKEN))


def upload_plan(client, path):
    return eligibility.plan(client, path, CompetitionAddress(1))
