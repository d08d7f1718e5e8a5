"""Where a zip is checked, and what of a saved model does not load there."""

import io
import json
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest

from tests.support.commands import assert_one_sentence, in_process
from tests.support.submissions import GOOD, made
from toolkit.core.contract import Contract
from toolkit.core.errors import InputError
from toolkit.data import dataset
from toolkit.runtime import checks, environments
from toolkit.runtime.checks import environment


def saved_model(version, *layers):
    """The bytes of a .keras file with what is read of it: no weights."""
    file = io.BytesIO()
    config = {"module": "keras", "class_name": "Functional", "config": {"layers": list(layers)}}
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config | {"registered_name": "Functional"}))
    return file.getvalue()


def hdf5(version, **attributes):
    file = io.BytesIO()
    with h5py.File(file, "w") as model:
        model.attrs["keras_version"] = version
        for name, value in attributes.items():
            model.attrs[name] = value
    return file.getvalue()


def layer(name, module="keras.layers", registered=None):
    return {"module": module, "class_name": name, "config": {}, "registered_name": registered}


@pytest.mark.parametrize(
    ("name", "content", "status", "words"),
    [
        ("m.keras", saved_model("3.15.1"), "failed", "3.15.1, the evaluator has 3.4.1, which can"),
        ("m.keras", saved_model("3.6.0"), "failed", "saved by Keras 3.6.0"),
        ("m.keras", saved_model("3.5.0"), "ok", "m.keras by Keras 3.5.0; the evaluator has 3.4.1"),
        ("m.keras", saved_model("3.3.3"), "ok", "by Keras 3.3.3"),
        ("m.keras", saved_model("2.15.0"), "warning", "older files often do not load"),
        ("m.h5", hdf5("3.15.1", model_config="{}"), "failed", "m.h5 was saved by Keras 3.15.1"),
        ("m.weights.h5", hdf5("3.15.1"), "ok", "no saved model"),
        ("m.keras", saved_model("3.4.1", layer("Dense")), "ok", "by Keras 3.4.1"),
        ("m.keras", saved_model("3.4.1", layer("Lambda")), "warning", "Lambda"),
        (
            "m.keras",
            saved_model("3.4.1", layer("RandomCutout", "keras_cv.layers", "keras_cv>RandomCutout")),
            "warning",
            "RandomCutout",
        ),
        ("m.keras", saved_model("3.4.1", layer("Mine", None, "Custom>Mine")), "warning", "Mine"),
        # The gravest is told: that it cannot be read.
        ("m.keras", saved_model("3.15.1", layer("Lambda")), "failed", "saved by Keras 3.15.1"),
    ],
)
def test_the_keras_that_saved_a_model_is_read(tmp_path, name, content, status, words):
    path = made(tmp_path / "s.zip", files=[("weights.txt", "3"), (name, content)])
    found = {check.name: check for check in checks.validate(path)}
    assert found["keras"].status == status and words in found["keras"].detail, found["keras"]
    failed = [check.name for check in found.values() if check.status == "failed"]
    assert failed == (["keras"] if status == "failed" else [])


def test_a_model_that_loaded_in_the_evaluator_is_right(tmp_path):
    files = [("weights.txt", "3"), ("m.keras", saved_model("3.15.1"))]
    found = checks.validate(made(tmp_path / "s.zip", files=files), in_evaluator=True)
    (check,) = [check for check in found if check.name == "keras"]
    assert check.status == "ok" and "it loads there all the same" in check.detail


@pytest.fixture
def offline(monkeypatch):
    """The competition's environment cannot be installed."""

    def fail(name, progress=None, packages=()):
        raise InputError(f"the evaluator {name} is missing.", "Connect to the network once.")

    monkeypatch.setattr(environments, "find_python", fail)


def test_every_zip_is_checked_in_the_competitions_environment(tmp_path, monkeypatch):
    asked = []

    def find(name, progress=None, packages=()):
        asked.append(name)
        return "/there/python"

    monkeypatch.setattr(environments, "find_python", find)
    path = made(tmp_path / "s.zip")
    place = environment.choose_place(path)
    assert (place.python, place.in_evaluator, asked) == ("/there/python", True, ["an2dl2024"])
    assert place.check.status == "ok" and "Keras 3.4.1" in place.check.detail
    assert not environment.choose_place(path, evaluator="latest").in_evaluator
    for chosen in ({"evaluator": "none"}, {"python": "/mine/python"}):
        place = environment.choose_place(path, **chosen)
        assert place.check.status == "skipped" and not place.in_evaluator
    assert asked == ["an2dl2024", "latest"]
    elsewhere = Contract("Elsewhere", "class", 3, (32, 32, 3), 60.0)
    assert environment.choose_place(path, contract=elsewhere).check.status == "skipped"


def test_offline_a_foreign_zip_fails_unless_forced(tmp_path, offline):
    path = made(tmp_path / "s.zip")
    result = in_process("validate", path, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 1 and not report["ok"]
    failed = [check for check in report["checks"] if check["status"] == "failed"]
    assert [check["name"] for check in failed] == ["environment"]
    assert "the evaluator an2dl2024 is missing." in failed[0]["detail"]
    assert "--force" in failed[0]["hint"]
    assert in_process("validate", path, "--force").returncode == 0


def test_offline_our_own_code_is_a_warning(fitted_zip, tmp_path, offline):
    """No manifest makes foreign code ours."""
    place = environment.choose_place(fitted_zip)
    assert place.check.status == "warning" and "model.py is cbtool's own" in place.check.hint
    changed = tmp_path / "changed.zip"
    with zipfile.ZipFile(fitted_zip) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, content + b"#" if name == "model.py" else content)
    assert environment.choose_place(changed).check.status == "failed"
    with zipfile.ZipFile(fitted_zip) as source, zipfile.ZipFile(changed, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        target.writestr("numpy.py", "")
    assert environment.choose_place(changed).check.status == "failed"


FUNCTION = "import numpy as np\ndef predict(X):\n    return np.full(len(X), 3)\n"
FITTED = """
import numpy as np

class Model:
    def fit(self, X, y):
        self.label = int(np.bincount(y).argmax())

    def predict(self, X):
        return np.full(len(X), self.label)
"""


@pytest.mark.parametrize(
    ("style", "source"), [("class", GOOD), ("function", FUNCTION), ("fit", FITTED)]
)
def test_a_contract_says_what_model_py_offers(tmp_path, style, source):
    """The same zip passes where it is asked for, and fails where another interface is."""
    path = made(tmp_path / "s.zip", source)
    asked = Contract("Other", style, 8, (96, 96, 3), 60.0)
    found = checks.validate(path, contract=asked)
    assert {check.status for check in found} <= {"ok", "skipped"}, found
    other = Contract("Other", "function" if style == "class" else "class", 8, (96, 96, 3), 60.0)
    failed = [check for check in checks.validate(path, contract=other) if check.status == "failed"]
    if style != "fit":  # such a class has all that the other style asks for
        assert [check.name for check in failed] == ["interface"]
        assert other.interface in failed[0].hint
        assert "it has a" in failed[0].detail


def test_one_cause_is_one_failure(tmp_path):
    result = in_process("validate", made(tmp_path / "s.zip", folder="mine/"), "--evaluator", "none")
    assert result.returncode == 1 and result.stdout.count("FAILED") == 1
    assert "skipped" in result.stdout and "1 of 20 checks failed." in result.stderr


def test_other_files_are_recognised(tmp_path):
    (tmp_path / "m.keras").write_bytes(saved_model("3.4.1"))
    (tmp_path / "m.h5").write_bytes(hdf5("3.4.1"))
    np.savez(tmp_path / "data.npz", images=np.zeros(3))
    (tmp_path / "folder").mkdir()
    for name, words in [
        ("m.keras", "m.keras is a saved Keras model, not a submission"),
        ("m.h5", "m.h5 is an HDF5 file, not a zip"),
        ("data.npz", "data.npz is an npz file of arrays, not a submission"),
        ("folder", "folder is a folder, not a zip"),
    ]:
        for command in (["validate"], ["time", "--images", 10]):
            assert_one_sentence(in_process(*command, tmp_path / name), words)


def test_the_time_limit_is_the_competitions(tmp_path):
    """One figure, wherever a command needs one."""
    for command in ("validate", "time", "score", "build"):
        text = in_process(command, "--help").stdout
        assert "[default: the competition's]" in " ".join(text.split()), command


def test_images_of_another_size_are_named(fitted_zip, cells, tmp_path):
    """The zip is not to blame."""
    small = replace(cells, images=cells.images[:, :32, :32])
    dataset.save(small, tmp_path / "small.npz")
    result = in_process("score", fitted_zip, "--data", tmp_path / "small.npz")
    assert_one_sentence(result, "small.npz are 32 × 32, but", "takes 96 × 96")
