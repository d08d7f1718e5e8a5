"""The client against a stand-in that speaks a real server's recorded words: every call, every
refusal, every fault."""

import http.server
import json
import subprocess
import sys
import time
import traceback
from datetime import timedelta

import pytest
import requests

from tests.support import standin as recorded
from tests.support.commands import ROOT
from toolkit.codabench import eligibility, schema
from toolkit.codabench import http as transport
from toolkit.codabench.address import CompetitionAddress
from toolkit.codabench.client import Client
from toolkit.codabench.credentials import Account
from toolkit.core.errors import PlatformError

# One call of every method, with the request that it makes first.
CALLS = {
    "login": (
        "POST /api/api-token-auth/",
        lambda client, path: client.login("alice", "pw-alice-123"),
    ),
    "whoami": ("GET /api/my_profile/", lambda client, path: client.whoami()),
    "competitions": (
        "GET /api/competitions/public/",
        lambda client, path: client.list_competitions("probe"),
    ),
    "joined": (
        "GET /api/competitions/",
        lambda client, path: client.list_competitions(joined=True),
    ),
    "competition": ("GET /api/competitions/1/", lambda client, path: client.get_competition(1)),
    "join": ("POST /api/competitions/6/register/", lambda client, path: client.join(6)),
    "refusal": ("GET /api/can_make_submission/1/", lambda client, path: client.get_refusal(1)),
    "free_bytes": ("GET /api/user_quota/", lambda client, path: client.get_free_bytes()),
    "create_dataset": (
        "POST /api/datasets/",
        lambda client, path: client.create_dataset(1, "s.zip", 3),
    ),
    "complete": (
        "PUT /api/datasets/completed/",
        lambda client, path: client.complete_dataset("known"),
    ),
    "create_submission": (
        "POST /api/submissions/",
        lambda client, path: client.create_submission("known", 1),
    ),
    "submission": ("GET /api/submissions/1/", lambda client, path: client.get_submission(1)),
    "submissions": ("GET /api/submissions/", lambda client, path: client.list_submissions(1)),
    "logs": ("GET /api/submissions/1/get_details/", lambda client, path: client.get_logs(1)),
    "detailed_result": (
        "GET /api/submissions/1/get_detail_result/",
        lambda client, path: client.download_detailed_result(1, path / "d.html"),
    ),
    "cancel": ("GET /api/submissions/1/cancel_submission/", lambda client, path: client.cancel(1)),
    "delete": ("DELETE /api/submissions/1/soft_delete/", lambda client, path: client.delete(1)),
    "leaderboard": (
        "GET /api/phases/1/get_leaderboard/",
        lambda client, path: client.get_leaderboard(1),
    ),
    "enter_leaderboard": (
        "POST /api/submissions/1/submission_leaderboard",
        lambda client, path: client.enter_leaderboard(1),
    ),
    "leave_leaderboard": (
        "DELETE /api/submissions/1/submission_leaderboard",
        lambda client, path: client.leave_leaderboard(1),
    ),
    "download": (
        "GET /datasets/download/kit/",
        lambda client, path: client.download_dataset("kit", path / "kit.zip"),
    ),
    "put": ("PUT /private/", lambda client, path: client.upload_file(*_put(client, path))),
}
RETRIED = {
    name for name, (request, _) in CALLS.items() if request.startswith("GET") and name != "cancel"
} | {"put"}


def _put(client, path):
    (path / "s.zip").write_bytes(b"zip" * 100_000)
    _, address = client.create_dataset(1, "s.zip", 300_000)
    return address, path / "s.zip"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)


@pytest.fixture
def client(standin):
    standin.datasets["known"] = "dataset/known/s.zip"
    standin.rows.append(recorded.Row(1, 1, "known", "s.zip"))
    standin.files["kit"] = "kit.zip"
    standin.objects |= {"kit.zip": b"kit", "logs/detailed_results.html": b"<p>"}
    return Client(Account(standin.url, recorded.TOKEN))


def shape(values):
    """The kind of an answer: the keys of objects, down to lists' first items."""
    if isinstance(values, dict):
        return {key: shape(value) for key, value in values.items()}
    return [shape(value) for value in values[:1]] if isinstance(values, list) else None


def test_the_stand_in_answers_as_the_recorded_server(standin):
    """Every recorded request, in the recorded order, gets the recorded status and an answer of the
    same shape."""
    standin.phase_changes["execution_time_limit"] = 15
    keys, address = {}, ""
    standin.next_row = {"walk": recorded.WALK}
    for position, each in enumerate(recorded.RECORDS):
        if each["label"] in (
            "failing: submit",
            "cancel: submit",
        ):  # of zips whose uploads are not on record
            standin.datasets[each["request_body"]["data"]] = "dataset/unrecorded/submission.zip"
            failing = {"walk": ("Failed",), "details": "Child task failed or non-zero return code"}
            standin.next_row = (
                failing if each["label"] == "failing: submit" else {"walk": recorded.WALK}
            )
        if each["label"].startswith("poll"):
            standin.rows[1].looks = recorded.WALK.index(each["response"]["status"]) + (
                each["label"] == "poll Finished scores=1"
            )
        if each["label"] == "leaderboard before":
            standin.rows[1].looks = 99
        text = json.dumps(each["request_body"])
        for old, new in keys.items():
            text = text.replace(old, new)
        headers = {
            key: value
            for key, value in each["request_headers"].items()
            if key not in ("Content-Length", "Authorization")
        }
        if "Authorization" in each["request_headers"]:
            headers["Authorization"] = (
                "Token bad" if "bad token" in each["label"] else f"Token {recorded.TOKEN}"
            )
        url = each["url"]
        body = (
            each["request_body"]
            if isinstance(each["request_body"], str)
            else text
            if each["request_body"]
            else None
        )
        if url.startswith("{storage}"):
            url = (
                address.replace("A%2Bb%3D", "wrong")
                if "bad signature" in each["label"]
                else address
            )
        else:
            for old, new in keys.items():
                url = url.replace(old, new)
            url = standin.url + url
        found = requests.request(
            each["method"], url, data=body, headers=headers, allow_redirects=False, timeout=5
        )
        where = f"{position} {each['label']}: {found.text[:200]}"
        assert found.status_code == each["status"], where
        if isinstance(each["response"], (dict, list)):
            assert shape(found.json()) == shape(each["response"]), where
        if each["label"] in ("dataset create", "upload for hidden") and each["method"] == "POST":
            keys[each["response"]["key"]] = found.json()["key"]
            address = found.json()["sassy_url"]
    assert position == 72


def test_every_call_gets_its_answer(client, standin, tmp_path):
    standin.objects |= {
        "logs/scoring_stderr": "Fehler: ä\n".encode(),
        "logs/detailed_results.html": b"<p>",
    }
    assert client.login("alice", "pw-alice-123") == recorded.TOKEN
    assert client.whoami() == "alice"
    assert (
        client.list_competitions("probe")[0]["title"]
        == client.list_competitions(joined=True)[0]["title"]
        == "Probe"
    )
    competition = client.get_competition(1)
    assert (competition.title, competition.participant, competition.rule) == (
        "Probe",
        "approved",
        "Add",
    )
    (phase,) = competition.phases
    assert (phase.name, phase.status, phase.limit, phase.allowed_today, phase.end) == (
        "main",
        "Current",
        15,
        100,
        None,
    )
    assert competition.columns == (schema.LeaderboardColumn("score", "Score", 0, 2, True),)
    assert (
        client.join(6) == "approved"
        and client.get_refusal(1) is None
        and client.get_free_bytes() == 15 * 10**9
    )
    key, address = client.create_dataset(1, "s.zip", 3)
    (tmp_path / "s.zip").write_bytes(b"zip")
    client.upload_file(address, tmp_path / "s.zip")
    client.complete_dataset(key)
    standin.next_row = {"walk": recorded.WALK}
    row = client.create_submission(key, 1)
    assert standin.objects[standin.datasets[key]] == b"zip" and (
        row.id,
        row.status,
        row.filename,
    ) == (2, "Submitting", "s.zip")
    assert [client.get_submission(2).status for _ in recorded.WALK] == list(recorded.WALK)
    assert client.get_submission(2).scores == {"score": 0.5}
    assert [each.id for each in client.list_submissions(1)] == [2, 1]
    logs = client.get_logs(2)
    assert (
        len(logs) == 8 and logs["scoring_stderr"] == "Fehler: ä\n" and logs["scoring_stdout"] == ""
    )
    client.download_detailed_result(2, tmp_path / "d.html")
    assert (tmp_path / "d.html").read_text() == "<p>"
    assert not client.cancel(2) and client.cancel(1)
    client.enter_leaderboard(2)
    columns, places = client.get_leaderboard(1)
    assert [column.title for column in columns] == ["Score"] and [
        (place.id, place.scores) for place in places
    ] == [(2, {"score": "0.5"})]
    client.delete(1)
    assert client.list_submissions(1)[-1].id == 2
    client.download_dataset("kit", tmp_path / "kit.zip")
    assert (tmp_path / "kit.zip").read_bytes() == b"kit"


def test_pages_and_bare_lists_are_the_same(client, standin):
    standin.rows += [recorded.Row(number, 1, "known", "s.zip") for number in (2, 3)]
    bare = client.list_submissions(1)
    standin.paged = True
    assert client.list_submissions(1) == bare and len(bare) == 3
    assert standin.count("GET /api/submissions/") == 4


def test_an_answer_of_another_shape_cannot_be_understood():
    sentence = "to the login cannot be understood"
    with pytest.raises(PlatformError, match=sentence), transport.answer_errors("the login"):
        _ = {}["token"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (name, fault)
        for name in CALLS
        for fault in ("reset", "500", "502", "truncated", "slow", "garbled")
        # the body of a storage's answer is not read; whatever comes of a download is the file
        if not (name == "put" and fault in ("truncated", "garbled", "slow"))
        and not (name == "download" and fault == "garbled")
    ],
)
def test_every_fault_on_every_call_is_one_sentence(client, standin, tmp_path, name, fault):
    """However long a fault lasts, it ends in one error with a way out, which shows no secret;
    nothing is half-written."""
    request, call = CALLS[name]
    standin.fail(request, *[fault] * 9)
    if fault == "slow":
        client = Client(Account(standin.url, recorded.TOKEN), timeout=(5, 0.5))
    with pytest.raises(PlatformError) as caught:
        call(client, tmp_path)
    text = (
        "".join(traceback.format_exception(caught.value))
        + repr(client.__dict__)
        + repr(client._transport.__dict__)
    )
    assert recorded.TOKEN not in text and "Signature=" not in caught.value.sentence
    assert (
        caught.value.sentence.endswith(".")
        and caught.value.hint
        and "\n" not in caught.value.sentence
    )
    assert caught.value.exit_code == 3
    # The file of a download is continued after a break; other broken answers are final.
    retried = ("reset", "500", "502", *(("truncated", "slow") if name == "download" else ()))
    assert standin.count(request) == (
        1 + transport.RETRIES if name in RETRIED and fault in retried else 1
    )
    assert not (tmp_path / "kit.zip").exists() and not (tmp_path / "d.html").exists()


@pytest.mark.parametrize("fault", ["reset", "500", "502"])
@pytest.mark.parametrize("name", sorted(RETRIED))
def test_gets_and_the_signed_upload_survive_a_passing_fault(client, standin, tmp_path, name, fault):
    request, call = CALLS[name]
    standin.fail(request, fault)
    call(client, tmp_path)
    assert standin.count(request) >= 2
    if name == "put":
        (body,) = [body for path, body in standin.objects.items() if path.startswith("dataset")]
        assert body == b"zip" * 100_000  # from its start


@pytest.mark.parametrize("name", CALLS)
def test_nobody_there_and_a_revoked_token(standin, client, tmp_path, name):
    _, call = CALLS[name]
    if name not in ("put", "download", "login"):
        standin.tokens.clear()
        with pytest.raises(
            PlatformError, match="does not accept this login: Invalid token"
        ) as caught:
            call(client, tmp_path)
        assert "cbtool login" in caught.value.hint
    nobody = Client(Account("http://127.0.0.1:9", recorded.TOKEN))
    with pytest.raises(PlatformError, match=r"cannot reach 127\.0\.0\.1:9: .*refused"):
        if name == "put":
            (tmp_path / "s.zip").write_bytes(b"zip")
            nobody.upload_file("http://127.0.0.1:9/private/s.zip?Signature=x", tmp_path / "s.zip")
        else:
            call(nobody, tmp_path)


REFUSALS = [
    ("login bad", "Unable to log in with provided credentials."),
    ("login missing", "password: This field is required."),
    ("competition 404", "No Competition matches the given query."),
    ("register again", "You already applied for participation in this competition!"),
    ("dataset without file_size", "file_size: This field is required."),
    ("dataset over quota", "data_file: Insufficient space. Your available space is 15.0 GB."),
    ("submission task of other phase", "All tasks must be part of the current phase."),
    ("delete submission on leaderboard", "You are not allowed to delete a leaderboard submission."),
    ("PUT without content type", "SignatureDoesNotMatch: The request signature"),
    ("PUT with Authorization", "InvalidArgument: Only one auth mechanism allowed"),
    ("submission without data", "500 "),
    ("unknown api path", "404 "),
]


@pytest.mark.parametrize(("label", "words"), REFUSALS)
def test_every_shape_of_refusal_is_read(label, words):
    found = recorded.record(label)
    response = requests.Response()
    response.status_code, response.url = found["status"], "https://www.codabench.org/api/x/"
    response.headers["Content-Type"] = found["response_content_type"]
    content = found["response"]
    response._content = (
        json.dumps(content) if "json" in found["response_content_type"] else content
    ).encode()
    error = transport.refusal_error(response, "x")
    assert words in error.sentence and "<" not in error.sentence and "Token" not in error.sentence
    assert error.status == found["status"]


def test_newer_shapes_of_refusal_are_read():
    for content, words in [
        ({"error_msg": "No."}, "No."),
        ({"a": [{"b": ["c"]}]}, "a: b: c."),
        ("plain", "plain."),
    ]:
        response = requests.Response()
        response.status_code, response.url, response.headers["Content-Type"] = (
            400,
            "https://x/",
            "application/json",
        )
        response._content = json.dumps(content).encode()
        assert words in transport.refusal_error(response, "x").sentence


def test_the_upload_is_as_it_was_signed(client, standin, tmp_path, monkeypatch):
    """Content type and no token, not even from ~/.netrc; a refusal of the storage is told in its
    words."""
    (tmp_path / "netrc").write_text(
        "machine localhost login me password secret\nmachine 127.0.0.1 login me password secret\n"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    address, path = _put(client, tmp_path)
    told = []
    client.upload_file(address, path, lambda done, total, note: told.append((done, total)))
    assert told[-1] == (300_000, 300_000) and len(told) > 2
    with pytest.raises(PlatformError, match="SignatureDoesNotMatch") as caught:
        client.upload_file(address.replace("A%2Bb", "A%2Bc"), path)
    assert caught.value.status == 403
    assert client.whoami() == "alice"


def test_a_post_without_its_slash_does_not_become_a_get(client, standin):
    with pytest.raises(PlatformError, match="redirects POST submissions") as caught:
        client._transport.send("POST", "submissions", {"data": "known", "phase": 1})
    assert caught.value.status == 301 and standin.count("GET /api/submissions") == 0


def test_the_clock_of_the_server_counts(client, standin, tmp_path, monkeypatch):
    """A phase that is open there is open, whatever this machine's clock says; the difference is
    told."""
    real = http.server.BaseHTTPRequestHandler.date_time_string

    def behind(handler, timestamp=None):
        return real(handler, time.time() - 30 * 3600)

    monkeypatch.setattr(http.server.BaseHTTPRequestHandler, "date_time_string", behind)
    (tmp_path / "s.zip").write_bytes(b"zip")
    end = client.now() - timedelta(hours=6)  # here; there it lies ahead
    standin.phase_changes["end"] = end.isoformat().replace("+00:00", "Z")
    plan = eligibility.plan(client, tmp_path / "s.zip", CompetitionAddress(1))
    assert any("clock is 1800 minutes ahead of" in note for note in plan.notes)
    monkeypatch.undo()
    with pytest.raises(PlatformError, match="phase 'main' is over: it ended on"):
        eligibility.plan(client, tmp_path / "s.zip", CompetitionAddress(1))


def test_a_large_zip_is_sent_in_flat_memory(client, standin, tmp_path):
    """From a process of its own: 300 MB more to send are not 300 MB more of memory."""
    address, _ = _put(client, tmp_path)
    with (tmp_path / "large.zip").open("wb") as file:
        file.truncate(300_000_000)
    code = f"""
import resource, sys
from pathlib import Path
from toolkit.codabench.address import CompetitionAddress
from toolkit.codabench.client import Client
from toolkit.codabench.credentials import Account
client = Client(Account({standin.url!r}, None))
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
client.upload_file({address!r}, Path({str(tmp_path / "s.zip")!r}))
before = peak()
client.upload_file({address!r}, Path({str(tmp_path / "large.zip")!r}))
print(peak() - before)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    kilobytes = int(result.stdout) / (1 if sys.platform == "linux" else 1024)
    assert kilobytes < 20_000
    assert max(map(len, standin.objects.values())) == 300_000_000
