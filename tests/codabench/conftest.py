"""A user with a token for the stand-in, and a light zip."""

import zipfile

import pytest

from tests.support import standin as recorded
from tests.support.uploads import MODEL
from toolkit.codabench import http as transport
from toolkit.codabench import upload
from toolkit.core import files
from toolkit.runtime import checks

VALIDATED = {}  # the checks of each zip, by digest and interpreter


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Short pauses, and each zip is run once for all tests of this file: most send the same one."""
    monkeypatch.setattr(upload, "MIN_PAUSE", 0.01)
    monkeypatch.setattr(upload, "MAX_PAUSE", 0.05)
    monkeypatch.setattr(upload, "SETTLE_SECONDS", 0.3)
    monkeypatch.setattr(upload, "LOOK_PAUSE", 0.05)
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)
    validate = checks.validate

    def validate_once(path, *arguments, **options):
        key = (files.digest(path), *arguments)
        if key not in VALIDATED:
            VALIDATED[key] = validate(path, *arguments, **options)
        return VALIDATED[key]

    monkeypatch.setattr(checks, "validate", validate_once)


@pytest.fixture
def home(standin, tmp_path, monkeypatch):
    """A user with a token, a place for it, and nothing else; in this process, too."""
    for name in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CODABENCH_URL", standin.url)
    monkeypatch.setenv("CODABENCH_TOKEN", recorded.TOKEN)
    return tmp_path


@pytest.fixture
def zip_file(home):
    """A light submission that passes `validate`."""
    path = home / "my submission.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("model.py"), MODEL)  # the same bytes at any time
    return path
