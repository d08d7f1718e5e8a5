"""Validation: a good zip passes every check, and each defect fails the check that is for it."""

import json
import stat
import zipfile

import numpy as np
import pytest

from tests.support.commands import assert_one_sentence, in_process
from tests.support.readers import MANIFEST
from tests.support.submissions import GOOD, made
from toolkit.core.errors import LimitError, SubmissionError
from toolkit.runtime import checks, sandbox
from toolkit.runtime.checks import behaviour

NO_EVALUATOR = ("--evaluator", "none")


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
    "no predict": (
        dict(source=GOOD.replace("def predict", "def forecast")),
        "interface",
        "no method predict",
    ),
    "arguments to Model": (
        dict(source=GOOD.replace("__init__(self)", "__init__(self, path)")),
        "interface",
        "without arguments",
    ),
    "two arguments": (
        dict(source=GOOD.replace("(self, X)", "(self, X, batch)")),
        "interface",
        "one argument",
    ),
    "syntax": (dict(source="class Model\n"), "interface", "line 1"),
    "undefined name": (
        dict(source=GOOD.replace("np.full", "tfk_models.full")),
        "names",
        "tfk_models (line 10)",
    ),
    "missing weights": (dict(files=()), "references", "weights.txt"),
    "misspelt weights": (dict(files=[("weights .txt", "3")]), "references", "weights.txt"),
    "fails at import": (
        dict(source="import keras_cvv\n" + GOOD),
        "start",
        "model.py line 1: ModuleNotFoundError",
    ),
    "needs the toolkit": (dict(source="import toolkit.data\n" + GOOD), "start", "toolkit"),
    "fails at Model()": (
        dict(files=[("weights.txt", "many")]),
        "start",
        "model.py line 7: ValueError",
    ),
    "fails in predict": (
        dict(source=GOOD.replace(PREDICT, "return X.mean(9)")),
        "predict",
        "model.py line 10: AxisError",
    ),
    "one-hot": (
        dict(source=GOOD.replace(PREDICT, "return np.eye(8)[[self.label] * len(X)]")),
        "returns",
        "shape (1, 8)",
    ),
    "floats": (
        dict(source=GOOD.replace(PREDICT, "return np.full(len(X), 3.0)")),
        "returns",
        "float64",
    ),
    "a list": (
        dict(source=GOOD.replace(PREDICT, "return [3] * len(X)")),
        "returns",
        "returned list",
    ),
    "label 8": (dict(files=[("weights.txt", "8")]), "returns", "outside 0..7"),
    "exits": (dict(source=GOOD.replace(PREDICT, "raise SystemExit(3)")), "predict", "SystemExit"),
    "depends on neighbours": (
        dict(source=GOOD.replace(PREDICT, "return np.full(len(X), len(X) % 8)")),
        "slices",
        "labels differ",
    ),
    "depends on the type": (
        dict(
            source=GOOD.replace(PREDICT, "return np.full(len(X), 1 if X.dtype == np.uint8 else 2)")
        ),
        "slices",
        "float32",
    ),
    "connects": (
        dict(
            source=GOOD.replace(
                PREDICT, "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')"
            )
        ),
        "network",
        "127.0.0.1",
    ),
    "writes elsewhere": (
        dict(source=GOOD.replace(PREDICT, "open('../../escaped', 'w')")),
        "writes",
        "escaped",
    ),
    "makes folders elsewhere": (
        dict(source=("import os\nos.mkdir('/tmp/cbtool-escaped')\n") + GOOD),
        "writes",
        "cbtool-escaped",
    ),
    "crashes": (dict(source=GOOD.replace(PREDICT, "import os; os._exit(7)")), "start", "code 7"),
    "link": (
        dict(files=[("weights.txt", "3"), (link("alias"), "/etc/passwd")]),
        "entries",
        "is a link",
    ),
    "desktop strays": (
        dict(files=[("weights.txt", "3"), ("__MACOSX/._model.py", "")]),
        "entries",
        "does not belong",
    ),
    "truncated HDF5": (
        dict(files=[("weights.txt", "3"), ("w.h5", "\x89HDF\r\n")]),
        "weights",
        "not a complete HDF5",
    ),
    "truncated keras": (
        dict(files=[("weights.txt", "3"), ("w.keras", "PK\x03\x04")]),
        "weights",
        "not a complete .keras",
    ),
    "prints 100 MB": (
        dict(source=GOOD.replace(PREDICT, "print('x' * 100_000_000)")),
        "output",
        "more than 10 MB",
    ),
    "prints without end": (
        dict(source=("while True: print('x' * 1000)\n") + GOOD),
        "output",
        "more than 10 MB",
    ),
    "forks": (dict(source=GOOD.replace(PREDICT, "import os; os.fork()")), "processes", "os.fork"),
    "runs a program": (
        dict(source=GOOD.replace(PREDICT, "import subprocess; subprocess.run(['ls'])")),
        "processes",
        "ls",
    ),
    "listens": (
        dict(
            source=GOOD.replace(
                PREDICT, "import socket; socket.create_server(('127.0.0.1', 49152))"
            )
        ),
        "network",
        "49152",
    ),
    "out of memory": (
        dict(
            source=GOOD.replace(PREDICT, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
        ),
        "memory",
        "memory ran out",
    ),
    "leaves the folder": (
        dict(files=[("weights.txt", "3"), ("../up.txt", "")]),
        "entries",
        "outside",
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_fails_its_check(defect, tmp_path):
    changes, check, words = DEFECTS[defect]
    found = statuses(made(tmp_path / "bad.zip", **changes))
    assert found[check].status == "failed", found
    assert words in found[check].detail
    assert found[check].hint
    if check in ("entries", "weights", "network", "writes", "processes", "output", "memory"):
        others = [name for name, each in found.items() if each.status == "failed" and name != check]
        assert not others


def test_a_label_that_tips_among_hundreds_is_a_warning(tmp_path):
    source = GOOD.replace(
        PREDICT,
        "labels = np.full(len(X), 3); labels[299:] = int(X.dtype == np.uint8); return labels",
    )
    found = statuses(made(tmp_path / "tie.zip", source))
    assert found["slices"].status == "warning" and "1 labels differ" in found["slices"].detail


def test_a_metadata_file_is_a_warning(tmp_path):
    found = statuses(made(tmp_path / "stray.zip", files=[("weights.txt", "3"), ("metadata", "")]))
    assert found["entries"].status == "warning" and "how CodaBench runs" in found["entries"].detail


def test_sleeping_for_ever_fails_the_check_of_the_time(tmp_path):
    path = made(tmp_path / "slow.zip", GOOD.replace(PREDICT, "import time; time.sleep(1e6)"))
    result = in_process("validate", path, "--limit", 3, "--json", *NO_EVALUATOR)
    found = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
    assert result.returncode == 1
    assert (
        found["time"]["status"] == "failed" and "longer than 3 seconds" in found["time"]["detail"]
    )
    assert {
        found[name]["status"] for name in ("start", "memory", "output", "network", "weights")
    } == {"ok"}


def test_somebody_elses_manifest_is_not_taken_for_ours(tmp_path):
    for networks in ('["resnet"]', '{"a": 1}', '[{"weights": "w.h5"}]', "3"):
        files = [("weights.txt", "3"), ("manifest.json", f'{{"networks": {networks}}}')]
        found = statuses(made(tmp_path / "good.zip", files=files))
        assert {check.status for check in found.values()} == {"ok"}, found


def test_a_manifest_of_giant_images_is_nobodys(tmp_path):
    """Drawing images of 100,000² pixels to show them to predict took 12 GB."""
    giant = MANIFEST.replace("[96, 96, 3]", "[100000, 100000, 3]")
    path = made(tmp_path / "s.zip", files=[("weights.txt", "3"), ("manifest.json", giant)])
    assert checks.read_subject(path).manifest is None
    path = made(tmp_path / "t.zip", files=[("weights.txt", "3"), ("manifest.json", MANIFEST)])
    assert checks.read_subject(path).image_shape == (96, 96, 3)


def test_large_images_are_shown_in_smaller_numbers(tmp_path):
    assert behaviour.count_images((96, 96, 3)) == (1, 7, 300)
    assert behaviour.count_images((224, 224, 3)) == (1, 7, 300)
    assert behaviour.count_images((1024, 1024, 3)) == (1, 7, 15)
    large = MANIFEST.replace("[96, 96, 3]", "[1024, 1024, 3]")
    path = made(tmp_path / "s.zip", files=[("weights.txt", "3"), ("manifest.json", large)])
    assert statuses(path)["predict"].detail == "n = 1, 7, 15 as uint8 and float32"


def test_a_giant_model_py_is_not_parsed(tmp_path):
    """2 MB of `a=1` took 21 s and 1.5 GB."""
    path = made(tmp_path / "s.zip", "a=1\n" * 200_000)
    assert_one_sentence(in_process("validate", path, *NO_EVALUATOR), "has more than 500 kB")


def test_hints_are_printed(tmp_path):
    result = in_process("validate", made(tmp_path / "bad.zip", files=()), *NO_EVALUATOR)
    assert result.returncode == 1
    assert "references: Add them under exactly these names." in result.stderr


@pytest.fixture
def altered(fitted_zip, tmp_path):
    """Makes a copy of our own zip in which one file's bytes are changed."""

    def alter(name, change):
        path = tmp_path / "altered.zip"
        with zipfile.ZipFile(fitted_zip) as source, zipfile.ZipFile(path, "w") as target:
            for entry in source.namelist():
                content = source.read(entry)
                target.writestr(entry, change(content) if entry == name else content)
        return path

    return alter


def test_weights_of_ours_that_are_cut_or_exchanged_fail_their_check(altered):
    cut = statuses(altered("weights.h5", lambda content: content[: len(content) // 2]))
    assert cut["weights"].status == "failed" and "not a complete HDF5" in cut["weights"].detail
    assert cut["start"].status == "skipped" and "check weights" in cut["start"].detail
    other = statuses(altered("weights.h5", lambda content: content[:-2] + b"zz"))
    assert (
        other["weights"].status == "failed" and "manifest.json describes" in other["weights"].detail
    )


def test_writing_into_its_own_folder_and_the_temporary_one_is_allowed(tmp_path):
    source = "import tempfile\n" + GOOD.replace(
        PREDICT, f"open('own.log', 'w').close(); tempfile.TemporaryFile().close(); {PREDICT}"
    )
    assert {check.status for check in statuses(made(tmp_path / "good.zip", source)).values()} == {
        "ok"
    }


def test_the_class_may_come_from_another_file(tmp_path):
    path = made(
        tmp_path / "good.zip",
        "from other import Model\n",
        files=[("weights.txt", "3"), ("other.py", GOOD)],
    )
    assert {check.status for check in statuses(path).values()} == {"ok"}


def test_a_zip_may_bring_modules_called_as_ours(tmp_path):
    source = "from tools import label\nimport toolkit.own\n" + GOOD.replace("self.label)", "label)")
    files = [("weights.txt", "3"), ("tools.py", "label = 3\n"), ("toolkit/own.py", "")]
    path = made(tmp_path / "good.zip", source, files=files)
    assert {check.status for check in statuses(path).values()} == {"ok"}


def test_all_failures_come_in_one_report(tmp_path):
    path = made(tmp_path / "bad.zip", GOOD.replace("np.full", "nq.full"), files=())
    result = in_process("validate", path, "--json", *NO_EVALUATOR)
    report = json.loads(result.stdout)
    assert result.returncode == 1 and not report["ok"]
    by_status = {}
    for check in report["checks"]:
        by_status.setdefault(check["status"], set()).add(check["name"])
    # What follows from them is not counted again.
    assert by_status["failed"] == {"names", "references"}
    assert by_status["skipped"] == {"environment", "start", "predict", "returns", "slices"}


def test_our_own_zip_is_valid(fitted_zip):
    assert_valid(in_process("validate", fitted_zip, "--json", *NO_EVALUATOR))


@pytest.mark.slow  # makes the evaluator's environment where there is none
def test_our_own_zip_is_valid_in_the_evaluators_environment(fitted_zip, evaluator):
    assert_valid(in_process("validate", fitted_zip, "--json", *evaluator))


def assert_valid(result):
    assert result.returncode == 0, result.stdout
    found = json.loads(result.stdout)["checks"]
    assert all(check["status"] == "ok" for check in found if check["name"] != "environment")


def test_drawn_images_have_the_size_of_the_manifest_and_differ():
    images = checks.draw_images(330, (32, 48, 3))
    assert images.shape == (330, 32, 48, 3) and images.dtype == np.uint8
    assert len(np.unique(images.reshape(330, -1), axis=0)) == 320


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "text.zip").write_text("zip")
    assert_one_sentence(in_process("validate", tmp_path / "text.zip"), "not a readable zip")
    assert_one_sentence(in_process("validate", tmp_path / "none.zip"), "there is no file")
    assert_one_sentence(
        in_process("validate", made(tmp_path / "good.zip"), "--python", "/none"), "cannot run /none"
    )


def test_damage_inside_is_found(tmp_path):
    path = made(tmp_path / "bad.zip", files=[("weights.txt", "3" * 1000)])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"3" * 1000, b"3" * 999 + b"4"))
    assert_one_sentence(in_process("validate", path, *NO_EVALUATOR), "damaged")


def test_the_time_limit_ends_the_process(tmp_path):
    path = made(tmp_path / "slow.zip", GOOD.replace(PREDICT, "while True: pass"))
    with pytest.raises(LimitError, match="longer than 2 seconds"):
        sandbox.run(path, {"images": np.zeros((1, 96, 96, 3), np.uint8)}, time_limit=2)
    assert_one_sentence(
        in_process("time", path, "--images", 10, "--limit", 2), "longer than 2 seconds", code=4
    )


def test_a_killed_process_is_named_as_such(tmp_path):
    path = made(
        tmp_path / "killed.zip",
        GOOD.replace(PREDICT, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    )
    with pytest.raises(LimitError, match="memory ran out"):
        sandbox.run(path, {"images": np.zeros((1, 96, 96, 3), np.uint8)})


def test_a_crash_is_named_with_its_code(tmp_path):
    path = made(tmp_path / "crashed.zip", GOOD.replace(PREDICT, "import os; os._exit(7)"))
    with pytest.raises(SubmissionError, match="ended with code 7"):
        sandbox.run(path, {"images": np.zeros((1, 96, 96, 3), np.uint8)})
