"""Work in a process of its own."""

from dataclasses import dataclass

import pytest

from toolkit.core.errors import InputError
from toolkit.training import child


@dataclass(frozen=True)
class Request:
    number: int


def test_modules_of_the_users_folder_are_not_imported(tmp_path, monkeypatch):
    """A process, because what it imports is the point: a random.py of a student's would come before
    Python's own."""
    (tmp_path / "of_the_user.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="No module named of_the_user"):
        child.ask("of_the_user", Request(1), "the work")
