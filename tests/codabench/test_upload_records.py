"""Records of uploads: which one goes on, whose they are, and how they are closed."""

import json

import pytest

from tests.support import standin as recorded
from tests.support.commands import assert_one_sentence, in_process
from tests.support.uploads import sent
from toolkit.codabench import upload_records
from toolkit.codabench.client import Client
from toolkit.codabench.credentials import Account


def records_of(standin):
    """The latest first, as the user in use sees them."""
    return upload_records.list_uploads(Client(Account(standin.url, recorded.TOKEN)))


@pytest.fixture
def former(standin, zip_file):
    """Alice's submission 1, whose record is of version 0.1: it has no user."""
    assert sent(zip_file).returncode == 0
    (file,) = upload_records.folder().glob("*.json")
    values = json.loads(file.read_text())
    del values["user"]
    file.write_text(json.dumps(values))
    return file


@pytest.fixture
def another_user(standin):
    """Bob, who sees no submission of Alice's."""
    rows = standin.rows

    def switch(name):
        standin.username = name
        standin.rows = rows if name == "alice" else []

    return switch


def test_a_record_of_version_0_1_gets_the_user_who_sees_its_submission(
    standin, zip_file, former, another_user
):
    assert_one_sentence(sent(zip_file), "is unfinished")
    assert json.loads(former.read_text())["user"] == "alice"
    another_user("bob")
    assert records_of(standin) == []


def test_another_user_does_not_close_a_record_of_version_0_1(
    standin, zip_file, former, another_user
):
    another_user("bob")
    assert_one_sentence(in_process("status"), "there are no submissions")
    assert_one_sentence(in_process("status", 1), "No Submission matches", code=3)
    result = in_process("upload", "--resume")
    assert_one_sentence(result, "submission 1 is not yours, or was deleted on CodaBench", code=3)
    assert "cbtool upload --abandon" in result.stderr
    assert sent(zip_file, "--dry-run").returncode == 0  # it does not block his own upload
    another_user("alice")
    assert "deleted" not in in_process("status").stdout
    assert "Score: 0.5" in in_process("upload", "--resume").stdout


def test_a_zip_that_changed_and_kept_its_size_is_not_continued(standin, zip_file, home):
    """The bytes decide: a bare --resume continues the upload before, and --abandon closes this."""
    standin.fail("POST /api/datasets/", "500", "500")
    other = home / "other.zip"
    other.write_bytes(zip_file.read_bytes() + b"x")
    assert sent(zip_file).returncode == 3 and sent(other).returncode == 3
    other.write_bytes(zip_file.read_bytes() + b"y")
    assert in_process("upload", "--resume").returncode == 0
    assert [row.filename[:13] for row in standin.rows] == ["my-submission"]
    assert_one_sentence(in_process("upload", "--resume"), f"{other} has changed or gone")
    assert in_process("upload", "--abandon").returncode == 0
    assert_one_sentence(in_process("upload", "--resume"), "no upload is unfinished")


def test_of_two_uploads_of_one_path_that_goes_on_which_can(standin, zip_file):
    """The first was uploaded whole; the second's zip has gone before it was sent."""
    standin.fail("POST /api/submissions/", "500")
    assert sent(zip_file).returncode == 3
    zip_file.write_bytes(zip_file.read_bytes() + b"x")
    standin.fail("POST /api/datasets/", "500")
    assert sent(zip_file).returncode == 3
    zip_file.unlink()
    assert in_process("upload", "--resume", zip_file).returncode == 0
    latest, first = records_of(standin)
    assert first.submission == 1 and latest.submission is None


def test_an_upload_is_not_closed_while_it_is_sent(standin, zip_file):
    standin.fail("POST /api/datasets/", "500")
    assert sent(zip_file).returncode == 3
    (begun,) = records_of(standin)
    with upload_records.lock(begun):
        result = in_process("upload", "--abandon")
    assert_one_sentence(result, "is sending this zip")
    assert not records_of(standin)[0].is_over
    report = json.loads(in_process("upload", "--abandon", "--json").stdout)
    assert (report["zip"], report["status"]) == (str(zip_file), "abandoned")
    assert records_of(standin)[0].is_over
    assert sent(zip_file).returncode == 0  # it blocks nothing any more


@pytest.mark.parametrize(
    ("request_line", "fault", "words"),
    [
        ("POST /api/submissions/", "lost", "cbtool status --competition 1"),
        ("PUT /private/", "500", "may lie in your storage"),
    ],
)
def test_closing_an_upload_says_what_may_be_left(standin, zip_file, request_line, fault, words):
    shown, standin._list = standin._list, lambda request: recorded.answer("submission 404")
    standin.fail(request_line, *[fault] * 4)
    assert sent(zip_file).returncode == 3
    standin._list = shown
    # The file's name has a space: the command that a sentence names can be pasted.
    command = f"cbtool upload --abandon '{zip_file}'"
    assert command in in_process("status").stderr and command in sent(zip_file).stderr
    result = in_process("upload", "--abandon")
    assert result.returncode == 0 and words in result.stderr


def test_deleting_what_was_deleted_closes_its_record(standin, zip_file):
    assert sent(zip_file).returncode == 0
    standin.rows[0].deleted = True
    assert_one_sentence(in_process("delete", 1, "--yes"), "No Submission matches", code=3)
    assert records_of(standin)[0].status == upload_records.DELETED
    assert_one_sentence(in_process("upload", "--resume"), "no upload is unfinished")


@pytest.mark.parametrize(
    ("status", "words"),
    [("Failed", None), ("Finished", "was scored in main"), ("Running", "is unfinished")],
)
def test_a_repetition_is_judged_by_what_codabench_says_now(standin, zip_file, status, words):
    """Nobody here has looked at the submission since it was entered."""
    assert sent(zip_file).returncode == 0
    standin.rows[0].walk = (status,)
    result = sent(zip_file)
    if words is None:
        assert result.returncode == 0 and len(standin.rows) == 2
    else:
        assert_one_sentence(result, words)
        assert len(standin.rows) == 1
