"""--notify, with a real shell and a real server; the commands end at once."""

import json

import click
import pytest
from pytest_httpserver import HTTPServer

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core.errors import InputError
from tools.notify import notified


@pytest.fixture
def server():
    with HTTPServer() as server:
        yield server


def make_command(outcome):
    """A command that ends with `outcome`, an exit code or an exception."""

    @click.command()
    @notified("training")
    def command():
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return command


def call(outcome, target):
    return make_command(outcome).main(["--notify", target], standalone_mode=False)


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (None, "done", ""),
        (1, "failed", ""),
        (InputError("the disk is full."), "failed", "the disk is full."),
        (KeyboardInterrupt(), "interrupted", "exit code 130"),
    ],
)
def test_a_command_gets_the_outcome_in_variables(outcome, status, reason, tmp_path):
    told = tmp_path / "told"
    target = f'printf "%s|%s|%s" "$CBTOOL_EVENT" "$CBTOOL_STATUS" "$CBTOOL_REASON" > {told}'
    if isinstance(outcome, BaseException):
        # click turns an interruption into its own exception.
        with pytest.raises((type(outcome), click.Abort)):
            call(outcome, target)
    else:
        assert call(outcome, target) == outcome
    assert told.read_text() == f"training|{status}|{reason}"


def test_an_error_is_no_command(tmp_path):
    """What a file says may be in the sentence."""
    with pytest.raises(InputError):
        call(InputError(f"$(touch {tmp_path}/bad) `touch {tmp_path}/bad`"), "true $CBTOOL_REASON")
    assert not (tmp_path / "bad").exists()


def test_an_address_gets_json(server):
    server.expect_request("/hook", method="POST").respond_with_data("")
    call(None, server.url_for("/hook"))
    ((request, _),) = server.log
    message = json.loads(request.data)
    assert message["status"] == "done" and message["content"] == message["text"]
    assert "the training is done after" in message["text"]


@pytest.mark.parametrize("sentence", ["a\0b", "a\ud800b", "x" * 200_000])
def test_any_sentence_reaches_a_command_and_stays_the_error(sentence, tmp_path):
    told = tmp_path / "told"
    with pytest.raises(InputError) as raised:
        call(InputError(sentence), f'printf "%s" "$CBTOOL_REASON" > {told}')
    assert raised.value.sentence == sentence
    assert 0 < len(told.read_text()) <= 2000


def test_a_command_that_cannot_be_run_is_a_hint(capsys):
    assert call(0, "true \0") == 0
    assert "--notify failed: the command cannot be run." in capsys.readouterr().err


def test_a_redirection_is_no_delivery(server, capsys):
    server.expect_request("/hook").respond_with_data(
        "", status=302, headers={"Location": server.url_for("/other")}
    )
    assert call(0, server.url_for("/hook")) == 0
    assert "--notify failed: the address answered with 302." in capsys.readouterr().err


def test_the_message_holds_no_argument(monkeypatch, server):
    """An address in front of the other options would be among the first words of the command."""
    target = f"--notify={server.url_for('/secret-token')}"
    server.expect_request("/secret-token").respond_with_data("")
    monkeypatch.setattr("sys.argv", ["cbtool", "train", target])
    make_command(0).main([target], prog_name="train", standalone_mode=False)
    ((request, _),) = server.log
    message = json.loads(request.data)
    assert "secret-token" not in request.data.decode()
    assert message["text"].startswith("cbtool train: the training is done after")


@pytest.mark.parametrize("place", ["/secret-token", None])
def test_a_notification_that_fails_is_a_hint_without_the_address(place, server, capsys):
    server.expect_request("/secret-token").respond_with_data("no", status=403)
    target = server.url_for(place) if place else "http://127.0.0.1:9/secret-token"
    assert call(0, target) == 0
    shown = capsys.readouterr().err
    assert "--notify failed: " in shown and "secret-token" not in shown


def test_a_real_command_is_notified_of_its_own_error(tmp_path):
    told = tmp_path / "told"
    result = in_process(
        *("train", "--data", tmp_path / "none.npz", "--run", tmp_path / "run"),
        *("--notify", f"cat > {told}"),
    )
    assert_one_sentence(result, "none.npz")
    message = json.loads(told.read_text())
    assert message["status"] == "failed" and "none.npz" in message["reason"]
