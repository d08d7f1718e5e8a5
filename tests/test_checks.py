"""Validation: a good zip passes every check, and each defect fails the check that is for it."""

import json
import stat
import zipfile

import numpy as np
import pytest
from conftest import assert_one_sentence, cbtool

from toolkit import checks, sandbox
from toolkit.errors import LimitError, SubmissionError

GOOD = """
import numpy as np

class Model:
    def __init__(self):
        with open("weights.txt") as file:
            self.label = int(file.read())

    def predict(self, X):
        return np.full(len(X), self.label)
"""


def made(path, source=GOOD, files=(("weights.txt", "3"),), folder=""):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{folder}model.py", source)
        for name, content in files:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else f"{folder}{name}", content)
    return path


def statuses(path):
    return {check.name: check for check in checks.validate(path)}


def test_a_good_zip_passes_every_check(tmp_path):
    found = statuses(made(tmp_path / "good.zip"))
    assert len(found) == len(checks.CHECKS)
    assert {check.status for check in found.values()} == {"ok"}, found


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


PREDICT = "return np.full(len(X), self.label)"
DEFECTS = {
    "nested folder": (dict(folder="submission/"), "layout", "CodaBench does not flatten"),
    "no class": (dict(source="x = 1"), "interface", "no class Model"),
    "no predict": (dict(source=GOOD.replace("def predict", "def forecast")), "interface", "no method predict"),
    "arguments to Model": (dict(source=GOOD.replace("__init__(self)", "__init__(self, path)")), "interface", "without arguments"),
    "two arguments": (dict(source=GOOD.replace("(self, X)", "(self, X, batch)")), "interface", "one argument"),
    "syntax": (dict(source="class Model\n"), "interface", "line 1"),
    "undefined name": (dict(source=GOOD.replace("np.full", "tfk_models.full")), "names", "tfk_models (line 10)"),
    "missing weights": (dict(files=()), "references", "weights.txt"),
    "misspelt weights": (dict(files=[("weights .txt", "3")]), "references", "weights.txt"),
    "fails at import": (dict(source="import keras_cvv\n" + GOOD), "start", "model.py line 1: ModuleNotFoundError"),
    "needs the toolkit": (dict(source="import toolkit.data\n" + GOOD), "start", "toolkit"),
    "fails at Model()": (dict(files=[("weights.txt", "many")]), "start", "model.py line 7: ValueError"),
    "fails in predict": (dict(source=GOOD.replace(PREDICT, "return X.mean(9)")), "predict", "model.py line 10: AxisError"),
    "one-hot": (dict(source=GOOD.replace(PREDICT, "return np.eye(8)[[self.label] * len(X)]")), "predict", "shape (1, 8)"),
    "floats": (dict(source=GOOD.replace(PREDICT, "return np.full(len(X), 3.0)")), "predict", "float64"),
    "a list": (dict(source=GOOD.replace(PREDICT, "return [3] * len(X)")), "predict", "returned list"),
    "label 8": (dict(files=[("weights.txt", "8")]), "predict", "outside 0..7"),
    "exits": (dict(source=GOOD.replace(PREDICT, "raise SystemExit(3)")), "predict", "SystemExit"),
    "depends on neighbours": (
        dict(source=GOOD.replace(PREDICT, "return np.full(len(X), len(X) % 8)")), "slices", "labels differ"),
    "depends on the type": (
        dict(source=GOOD.replace(PREDICT, "return np.full(len(X), 1 if X.dtype == np.uint8 else 2)")), "slices", "float32"),
    "connects": (
        dict(source=GOOD.replace(PREDICT, "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')")), "network", "127.0.0.1"),
    "writes elsewhere": (dict(source=GOOD.replace(PREDICT, "open('../../escaped', 'w')")), "writes", "escaped"),
    "makes folders elsewhere": (dict(source="import os\nos.mkdir('/tmp/cbtool-escaped')\n" + GOOD), "writes", "cbtool-escaped"),
    "crashes": (dict(source=GOOD.replace(PREDICT, "import os; os._exit(7)")), "start", "code 7"),
    "link": (dict(files=[("weights.txt", "3"), (link("alias"), "/etc/passwd")]), "entries", "is a link"),
    "leaves the folder": (dict(files=[("weights.txt", "3"), ("../up.txt", "")]), "entries", "outside"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_fails_its_check(defect, tmp_path):
    changes, check, words = DEFECTS[defect]
    found = statuses(made(tmp_path / "bad.zip", **changes))
    assert found[check].status == "failed", found
    assert words in found[check].detail


@pytest.mark.parametrize(
    ("entry", "words"), [("__MACOSX/._model.py", "does not belong"), ("metadata", "how CodaBench runs")]
)
def test_strays_are_warnings(entry, words, tmp_path):
    found = statuses(made(tmp_path / "stray.zip", files=[("weights.txt", "3"), (entry, "")]))
    assert found["entries"].status == "warning" and words in found["entries"].detail


def test_writing_into_its_own_folder_and_the_temporary_one_is_allowed(tmp_path):
    source = "import tempfile\n" + GOOD.replace(
        PREDICT, f"open('own.log', 'w').close(); tempfile.TemporaryFile().close(); {PREDICT}"
    )
    assert {check.status for check in statuses(made(tmp_path / "good.zip", source)).values()} == {"ok"}


def test_the_class_may_come_from_another_file(tmp_path):
    path = made(tmp_path / "good.zip", "from other import Model\n", files=[("weights.txt", "3"), ("other.py", GOOD)])
    assert {check.status for check in statuses(path).values()} == {"ok"}


def test_all_failures_come_in_one_report(tmp_path):
    path = made(tmp_path / "bad.zip", GOOD.replace("np.full", "nq.full"), files=())
    result = cbtool("validate", path, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 1 and not report["ok"]
    assert {check["name"] for check in report["checks"] if check["status"] == "failed"} >= {
        "names",
        "references",
        "start",
        "predict",
    }


def test_our_own_zip_is_valid_here_and_in_the_evaluators_environment(submission_zip, evaluator_python):
    for python in ([], ["--python", evaluator_python]):
        result = cbtool("validate", submission_zip, "--json", *python)
        assert result.returncode == 0, result.stdout
        assert all(check["status"] == "ok" for check in json.loads(result.stdout)["checks"])


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("zip")
    assert_one_sentence(cbtool("validate", tmp_path / "text.zip"), "not a readable zip")
    assert_one_sentence(cbtool("validate", tmp_path / "none.zip"), "there is no file")
    assert_one_sentence(cbtool("validate", made(tmp_path / "good.zip"), "--python", "/none"), "cannot run /none")


def test_damage_inside_is_found(tmp_path):
    path = made(tmp_path / "bad.zip", files=[("weights.txt", "3" * 1000)])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"3" * 1000, b"3" * 999 + b"4"))
    assert_one_sentence(cbtool("validate", path), "damaged")


def test_the_time_limit_ends_the_process(tmp_path):
    path = made(tmp_path / "slow.zip", GOOD.replace(PREDICT, "while True: pass"))
    with pytest.raises(LimitError, match="longer than 2 seconds"):
        sandbox.run(path, {"images": np.zeros((1, 96, 96, 3), np.uint8)}, time_limit=2)
    assert_one_sentence(cbtool("time", path, "--images", 10, "--limit", 2), "longer than 2 seconds", code=4)


def test_a_killed_process_is_named_as_such(tmp_path):
    path = made(
        tmp_path / "killed.zip", GOOD.replace(PREDICT, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    )
    with pytest.raises(LimitError, match="want of memory"):
        sandbox.run(path, {"images": np.zeros((1, 96, 96, 3), np.uint8)})


def test_a_crash_is_named_with_its_code(tmp_path):
    path = made(tmp_path / "crashed.zip", GOOD.replace(PREDICT, "import os; os._exit(7)"))
    with pytest.raises(SubmissionError, match="ended with code 7"):
        sandbox.run(path, {"images": np.zeros((1, 96, 96, 3), np.uint8)})
