"""Logging in: where the token goes, who can read it, and where it never shows."""

import json
import stat

import pytest

from tests.support import standin as recorded
from tests.support.commands import assert_one_sentence, in_process
from toolkit.codabench import credentials
from toolkit.codabench.credentials import Account
from tools import doctor

PASSWORD = "pw-alice-123"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user who never logged in."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CODABENCH_URL", "CODABENCH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_login_keeps_a_token_that_only_the_user_can_read(standin, home):
    result = in_process(
        "login", "--url", standin.url + "/api/", "--username", "alice", input=PASSWORD + "\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"Logged in at {standin.url} as alice.\n"
    file = home / "cbtool" / "codabench.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["accounts"][standin.url]["token"] == recorded.TOKEN
    assert PASSWORD not in file.read_text() and recorded.TOKEN not in result.stdout + result.stderr
    assert (
        in_process("whoami").stdout == f"alice at {standin.url}; 15 GB of your storage are free\n"
    )
    assert json.loads(in_process("whoami", "--json").stdout)["username"] == "alice"
    file.chmod(0o644)
    assert in_process("whoami").returncode == 0 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "Logged out" in in_process("logout").stdout and recorded.TOKEN not in file.read_text()
    assert_one_sentence(in_process("whoami"), "not logged in", code=3)
    assert "There was no login" in in_process("logout").stdout


def test_wrong_passwords_and_servers_are_one_sentence(standin, home):
    result = in_process("login", "--url", standin.url, "--username", "alice", input="wrong\n")
    assert_one_sentence(result, "does not accept 'alice' with this password", code=3)
    assert not (home / "cbtool").exists()
    assert_one_sentence(
        in_process("login", "--url", "http://127.0.0.1:9", "--username", "a", input="b\n"),
        "cannot reach",
        code=3,
    )
    assert_one_sentence(
        in_process("login", "--url", "no host", "--username", "a", input="b\n"),
        "not the address of a server",
    )


def test_the_environment_goes_first(standin, home, monkeypatch):
    credentials.store(Account("https://elsewhere.example", "t" * 40, "bob"))
    assert credentials.find_account().url == "https://elsewhere.example"
    monkeypatch.setenv("CODABENCH_URL", standin.url)
    assert_one_sentence(
        in_process("whoami"), f"not logged in at {standin.url}", code=3
    )  # the other server's token stays there
    monkeypatch.setenv("CODABENCH_TOKEN", recorded.TOKEN)
    assert in_process("whoami").stdout.startswith("alice at")
    assert recorded.TOKEN not in repr(credentials.find_account())


def test_addresses_are_normalised():
    for text in (
        "www.codabench.org",
        "https://www.codabench.org/",
        "https://www.codabench.org/api",
        "https://www.codabench.org/api/",
    ):
        assert credentials.normalise_url(text) == credentials.DEFAULT_URL
    assert credentials.normalise_url("http://localhost:8000") == "http://localhost:8000"
    for text in ("", "ftp://x", "https://me:secret@x", "https://"):
        with pytest.raises(credentials.InputError):
            credentials.normalise_url(text)


def test_a_damaged_file_is_told_without_what_is_in_it(home):
    file = home / "cbtool" / "codabench.json"
    file.parent.mkdir()
    file.write_text('{"accounts": "' + "s" * 40)
    result = in_process("whoami")
    assert_one_sentence(result, "cannot be read")
    assert "sss" not in result.stderr


def test_doctor_asks_the_server_whether_it_knows_the_login(home, standin, monkeypatch):
    monkeypatch.setenv("CODABENCH_URL", standin.url)
    monkeypatch.setenv("CODABENCH_TOKEN", recorded.TOKEN)
    check = doctor.check_codabench()
    assert check.status == "ok" and f"{standin.url} answers" in check.detail
    monkeypatch.setenv("CODABENCH_TOKEN", "0" * 40)
    check = doctor.check_codabench()
    assert check.status == "warning" and "cbtool login" in check.hint
    monkeypatch.delenv("CODABENCH_TOKEN")
    check = doctor.check_codabench()
    assert check.status == "warning" and "answers; no login" in check.detail
    monkeypatch.setenv("CODABENCH_URL", "http://127.0.0.1:9")
    check = doctor.check_codabench()
    assert check.status == "warning" and "cannot reach 127.0.0.1" in check.detail
    monkeypatch.setenv("CODABENCH_URL", "no address")
    assert doctor.check_codabench().status == "failed"
