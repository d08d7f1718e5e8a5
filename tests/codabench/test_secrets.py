"""The token stays where it belongs: whatever a server repeats, nothing that a command prints or
leaves behind holds it."""

import base64
import json
import re

import pytest
from werkzeug import Response

from tests.support import standin as recorded
from tests.support.commands import in_process
from tests.support.uploads import sent
from toolkit.codabench import http

PASSWORD = "correct horse"


def find_token(folder, results):
    """Where the token or the password stands: output of commands, and files below `folder`."""
    forms = [
        form
        for secret in (recorded.TOKEN, PASSWORD)
        for form in (secret.encode(), base64.b64encode(secret.encode()))
    ]
    texts = {
        str(number): f"{result.stdout}\n{result.stderr}".encode() for number, result in results
    }
    for path in folder.rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes()
    return [name for name, text in texts.items() if any(form in text for form in forms)]


def echo(request):
    """An answer that repeats all that was sent, in the shape of a refusal."""
    said = f"{dict(request.headers)} {request.get_data(as_text=True)}"
    return Response(json.dumps({"detail": said, said: [said]}), 403, mimetype="application/json")


COMMANDS = (
    ("whoami",),
    ("status",),
    ("status", "1"),
    ("status", "1", "--json"),
    ("logs", "1"),
    ("leaderboard", "--competition", "1"),
    ("competitions", "list"),
    ("competitions", "show", "1"),
    ("competitions", "join", "2"),
    ("cancel", "1"),
    ("delete", "1", "--yes"),
)


def test_a_server_that_repeats_the_token_does_not_get_it_printed(httpserver, home, monkeypatch):
    monkeypatch.setenv("CODABENCH_URL", httpserver.url_for("").rstrip("/"))
    httpserver.expect_request(re.compile(".*")).respond_with_handler(echo)
    results = [(command, in_process(*command, cwd=home)) for command in COMMANDS]
    login = in_process("login", "--username", "me", input=f"{PASSWORD}\n", cwd=home)
    assert all(result.returncode for _, result in results)
    assert any(http.HIDDEN in result.stderr for _, result in results)
    assert find_token(home, [*results, ("login", login)]) == []


def test_nor_in_a_name_a_status_or_a_log(standin, zip_file):
    """Answers that are accepted are stored and shown, and logs written to files."""
    standin.objects["logs/prediction_stderr"] = f"Token {recorded.TOKEN}\n".encode()
    standin.next_row = {"details": f"failed for {recorded.TOKEN}", "walk": ("Submitting", "Failed")}
    standin.competition_changes = {"title": f"Title {recorded.TOKEN}"}
    home = zip_file.parent
    results = [("upload", sent(zip_file, "--wait"))]
    for command in (("status", "1"), ("logs", "1", "--out", home / "logs"), ("status", "--json")):
        results.append((command, in_process(*command, cwd=home)))
    assert find_token(home, results) == []
    assert any(http.HIDDEN in result.stdout + result.stderr for _, result in results)


@pytest.mark.parametrize("value", ["a token b", ["token"], {"token": {"x": "token"}}, 3, None])
def test_hiding(value):
    hidden = json.loads(json.dumps(value).replace("token", http.HIDDEN))
    assert http._Secret("token").hide(value) == hidden
    assert http._Secret("t").hide(value) == value  # too short to be told from other text
