"""The zip: its bytes, its layout, and the submission's own interface."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from submission.model import Model
from tests.support.commands import ROOT, assert_one_sentence, in_process
from tests.support.networks import worked
from toolkit.core.config import ModelConfig
from toolkit.data import dataset, splitting
from toolkit.export import graph, package
from toolkit.export.manifest import (
    FORMAT,
    Manifest,
    NetworkEntry,
    WeightsEntry,
    read_manifest,
    write_manifest,
)
from toolkit.export.optimize import REWRITES, rewrite_all
from toolkit.models.network import build as build_network
from toolkit.runtime import environments, sandbox
from toolkit.training import run_folder


def test_the_same_run_gives_the_same_bytes(small_run, small_zip, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(small_run, copy)
    (
        copy / "package" / "weights.h5"
    ).unlink()  # what is not whole is written again; the chosen views stay
    again = tmp_path / "again.zip"
    result = in_process("build", "--run", copy, "--out", again)
    assert result.returncode == 0, result.stderr
    assert again.read_bytes() == small_zip.read_bytes()
    assert hashlib.sha256(again.read_bytes()).hexdigest() in result.stdout


def test_files_lie_flat_and_stored(small_zip):
    with zipfile.ZipFile(small_zip) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        assert set(entries) == {"manifest.json", "model.py", "weights.h5"}
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
        assert archive.read("model.py") == (ROOT / "submission" / "model.py").read_bytes()
        manifest = json.loads(archive.read("manifest.json"))
        assert (
            manifest["networks"][0]["weights"]["sha256"]
            == hashlib.sha256(archive.read("weights.h5")).hexdigest()
        )


def test_several_runs_become_one_zip_that_averages_them(small_run, tmp_path, cells):
    path, other = tmp_path / "both.zip", tmp_path / "other"
    shutil.copytree(small_run, other)
    result = in_process(
        "build",
        "--run",
        small_run,
        "--run",
        other,
        "--out",
        path,
        "--time-limit",
        30,
        "--images",
        500,
    )
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(path) as archive:
        assert set(archive.namelist()) == {
            "manifest.json",
            "model.py",
            "weights.h5",
            "weights_2.h5",
        }
        archive.extractall(tmp_path / "both")
    manifest = json.loads((tmp_path / "both" / "manifest.json").read_text())
    assert (manifest["time_limit"], manifest["images"]) == (30, 500)
    manifest["time_limit"] = 0  # 30 seconds from this process's start are over
    model = Model(tmp_path / "both", manifest=manifest)
    alone = Model(run_folder.Run(small_run).package)
    pictures = cells.images[:9, ::3, ::3]
    np.testing.assert_allclose(
        model.probabilities(pictures), alone.probabilities(pictures), atol=1e-6
    )


@pytest.mark.parametrize(
    "backbone",
    [
        "convnext-tiny",
        "mobilenetv3-small",
        pytest.param("simple-cnn", marks=pytest.mark.slow),
        pytest.param("efficientnet-lite0", marks=pytest.mark.slow),
        pytest.param("efficientnetv2-b0", marks=pytest.mark.slow),
        pytest.param("vgg16", marks=pytest.mark.slow),
    ],
)
def test_every_family_gives_the_same_labels_in_the_evaluators_environment(
    backbone, evaluator, cells, tmp_path
):
    network = worked(
        build_network(ModelConfig(backbone, "none", head_units=()), (32, 32, 3), 8).model
    )
    operations = package.round_kernels(rewrite_all(graph.operations(network)), "float16")
    (tmp_path / "weights.h5").write_bytes(package.to_hdf5(operations))
    entry = NetworkEntry(
        backbone=backbone,
        gflop=1.0,
        bfloat16=False,
        families=(),
        views=("identity", "quarter-turn"),
        temperature=None,
        weights=WeightsEntry("weights.h5", "float16", ""),
        operations=tuple(operation.entry for operation in operations),
    )
    write_manifest(Manifest(FORMAT, (32, 32, 3), tuple("abcdefgh"), None, (entry,)), tmp_path)
    (tmp_path / "model.py").write_bytes((ROOT / "submission" / "model.py").read_bytes())
    package.write_zip([tmp_path], tmp_path / "submission.zip")
    pictures = np.ascontiguousarray(cells.images[:70, ::3, ::3])
    python = environments.find_python("an2dl2024")
    outcome = sandbox.run(tmp_path / "submission.zip", {"cells": pictures}, python)
    assert np.array_equal(outcome.labels("cells"), Model(tmp_path).predict(pictures))


def test_runs_of_other_classes_cannot_be_averaged(small_run, tmp_path):
    other = shutil.copytree(small_run, tmp_path / "other")
    manifest = read_manifest(other / "package")
    write_manifest(replace(manifest, class_names=("a", "b")), other / "package")
    result = in_process("build", "--run", small_run, "--run", other, "--out", tmp_path / "both.zip")
    assert_one_sentence(result, "was trained with other classes")
    assert not (tmp_path / "both.zip").exists()


def test_weights_may_be_stored_whole(small_run, small_zip, tmp_path):
    copy, path = shutil.copytree(small_run, tmp_path / "copy"), tmp_path / "whole.zip"
    result = in_process("build", "--run", copy, "--out", path, "--weights", "float32")
    assert result.returncode == 0, result.stderr
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(small_zip) as half:
        sizes = [archive.getinfo("weights.h5").file_size for archive in (whole, half)]
    assert sizes[0] > 1.8 * sizes[1]
    kept, now = (read_manifest(folder / "package").networks[0] for folder in (small_run, copy))
    assert now.weights.dtype == "float32" and now.views == kept.views


def test_build_verifies_each_rewrite_on_held_out_images(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "copy")
    shutil.rmtree(copy / "package")
    result = in_process("build", "--run", copy, "--out", tmp_path / "submission.zip")
    assert result.returncode == 0, result.stderr
    comparison = json.loads((copy / "package" / "equivalence.json").read_text())
    assert comparison["images"] == len(splitting.read(run_folder.Run(copy).split).validation)
    assert len(comparison["steps"]) == len(REWRITES) + 3
    for step in comparison["steps"]:
        assert step["rewrite"] in result.stdout
        exact = step["rewrite"] == "plain operations" or step["rewrite"] in REWRITES
        assert step["max_relative_difference"] < (1e-5 if exact else 0.1)
        # Rounding may change one label of the few images; rewriting must not.
        assert step["label_agreement"] >= (1 if exact else 1 - 1 / comparison["images"] - 1e-4)


def test_a_damaged_comparison_is_made_again(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "copy")
    run = run_folder.Run(copy)
    (run.package / package.EQUIVALENCE).write_text('{"images": "many"}')
    assert not package.is_current(run)
    result = in_process("build", "--run", copy, "--out", tmp_path / "submission.zip")
    assert result.returncode == 0, result.stderr
    assert package.read_comparison(run) == package.read_comparison(run_folder.Run(small_run))


def test_samples_are_loaded_only_for_runs_without_a_package(small_run, small_data, tmp_path):
    whole, bare = (
        run_folder.Run(shutil.copytree(small_run, tmp_path / name)) for name in ("whole", "bare")
    )
    shutil.rmtree(bare.package)
    loaded = []

    def load_samples(run):
        loaded.append(run)
        return dataset.load(small_data)

    package.build([whole, bare], tmp_path / "both.zip", load_samples)
    assert loaded == [bare]


def test_build_without_a_package_needs_the_data(small_run, tmp_path):
    copy = shutil.copytree(small_run, tmp_path / "copy")
    shutil.rmtree(copy / "package")
    provenance = json.loads((copy / "provenance.json").read_text())
    (copy / "provenance.json").write_text(
        json.dumps(provenance | {"data": str(tmp_path / "gone.npz")})
    )
    result = in_process("build", "--run", copy, "--out", tmp_path / "submission.zip")
    assert_one_sentence(result, "is not at")
    assert not (copy / "package").exists() and not (tmp_path / "submission.zip").exists()


def test_a_full_disk_and_a_limit_on_file_sizes_leave_nothing(small_run, tmp_path):
    """`ulimit -f` makes the kernel refuse the write half-way, as a full disk does."""
    command = (
        f"ulimit -f 50; exec {sys.executable} -m tools build --run {small_run} --out "
        f"{tmp_path}/out/submission.zip"
    )
    # Not measured where coverage is: its own file would meet the limit first.
    environment = {name: os.environ[name] for name in os.environ if "COVERAGE" not in name}
    result = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert_one_sentence(result, "submission.zip")
    assert list((tmp_path / "out").iterdir()) == []


def test_unwritable_places_are_errors(small_run, tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_sentence(
        in_process("build", "--run", small_run, "--out", tmp_path / "file" / "x.zip"),
        "cannot write",
    )
    assert_one_sentence(in_process("build", "--run", small_run, "--out", tmp_path), "is a folder")
    assert_one_sentence(
        in_process("build", "--run", small_run, "--out", "/proc/none/x.zip"), "cannot write"
    )
