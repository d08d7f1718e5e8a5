"""A download that goes on: through transient statuses, and not through refusals."""

import http.client as http_client

import pytest
import requests
from urllib3.connection import HTTPConnection
from urllib3.exceptions import MaxRetryError, NameResolutionError, ProtocolError
from werkzeug import Response

from toolkit.core import http


def get(server, path, attempts=3):
    http.download(server.url_for("/file"), path, attempts=attempts, pause=0.01, timeout=5)


@pytest.fixture
def server(servers):
    servers[0].clear()
    return servers[0]


def test_transient_statuses_are_retried(server, tmp_path):
    for status in (503, 429):
        server.expect_oneshot_request("/file").respond_with_response(Response("no", status))
    server.expect_oneshot_request("/file").respond_with_data("content")
    get(server, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "content" and len(server.log) == 3


def test_the_attempts_are_counted(server, tmp_path):
    server.expect_request("/file").respond_with_response(Response("later", 503))
    with pytest.raises(requests.HTTPError) as caught:
        get(server, tmp_path / "file")
    assert caught.value.response.text == "later" and len(server.log) == 3
    assert not (tmp_path / "file").exists()


def test_the_reason_of_a_broken_connection_is_a_sentence():
    inner = http_client.RemoteDisconnected("Remote end closed connection without response")
    error = requests.ConnectionError(ProtocolError("Connection aborted.", inner))
    assert http.reason(error) == "Remote end closed connection without response"
    failure = NameResolutionError(
        "a.example", HTTPConnection("a.example"), OSError(-2, "Name or service not known")
    )
    error = requests.ConnectionError(MaxRetryError(None, "/", failure))
    assert http.reason(error) == "Failed to resolve 'a.example' (Name or service not known)"


def test_a_refusal_is_final(server, tmp_path):
    server.expect_request("/file").respond_with_response(Response("who are you?", 403))
    with pytest.raises(requests.HTTPError) as caught:
        get(server, tmp_path / "file")
    assert caught.value.response.text == "who are you?" and len(server.log) == 1
