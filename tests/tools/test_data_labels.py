"""`cbtool data labels` and `data relabel`: from flipped labels to a corrected file."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import assert_one_sentence, in_process
from toolkit.data import dataset
from toolkit.training import features

FLIPPED = np.arange(0, 160, 7)  # of the drawn cells


@pytest.fixture
def flipped_file(cells, tmp_path, monkeypatch):
    """Drawn cells with wrong labels; in place of a backbone's features, the true labels."""

    def extract_features(samples, settings, progress):
        return np.eye(8, dtype=np.float32)[cells.labels[samples.ids]]

    monkeypatch.setattr(features, "extract_features", extract_features)
    labels = cells.labels.copy()
    labels[FLIPPED] = (labels[FLIPPED] + 1 + np.arange(len(FLIPPED)) % 7) % 8
    path = tmp_path / "flipped.npz"
    dataset.save(dataset.Samples(cells.images, labels, cells.ids, cells.class_names), path)
    return path


def test_flipped_labels_are_listed_shown_and_corrected(flipped_file, cells, tmp_path):
    before = flipped_file.read_bytes()
    out = tmp_path / "labels"
    result = in_process("data", "labels", "--data", flipped_file, "--out", out)
    assert result.returncode == 0, result.stderr
    with (out / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(int(row["id"]) for row in rows) == FLIPPED.tolist()
    assert "23 of 160 labels are suspected" in result.stdout
    shown = re.findall(r"^ *(\d+) .* 0\.\d+ *$", result.stdout, re.MULTILINE)
    assert shown == [row["id"] for row in rows[:20]]
    assert f"Left out: {len(cells) - 160} images" in result.stderr
    assert "relabel" in result.stderr
    with Image.open(out / "labels.png") as sheet:
        assert np.asarray(sheet).std() > 10
    corrected = tmp_path / "corrected.npz"
    result = in_process(
        "data", "relabel", flipped_file, "--labels", out / "labels.csv", "--out", corrected
    )
    assert result.returncode == 0, result.stderr
    assert flipped_file.read_bytes() == before
    found = dataset.load(corrected)
    assert np.array_equal(found.labels, cells.labels)
    assert np.array_equal(found.images, cells.images)


def test_one_json_object_lists_all(flipped_file, cells):
    result = in_process("data", "labels", "--data", flipped_file, "--folds", "3", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    suspects = found["suspects"]
    assert sorted(each["id"] for each in suspects) == FLIPPED.tolist()
    assert found["table"] is None
    assert (found["examined"], found["left_out"], found["folds"]) == (160, len(cells) - 160, 3)
    assert set(suspects[0]) == {"id", "given", "suggested", "probability", "margin"}
    margins = [each["margin"] for each in suspects]
    assert margins == sorted(margins, reverse=True)
    joint = np.array(found["confident_joint"])
    assert joint.shape == (8, 8) and joint.sum() <= 160


def test_no_suspects_make_an_empty_table_and_no_sheet(flipped_file, tmp_path, monkeypatch):
    """Features that repeat the label make every prediction agree with it."""

    def repeat_labels(samples, settings, progress):
        return np.eye(8, dtype=np.float32)[samples.labels]

    monkeypatch.setattr(features, "extract_features", repeat_labels)
    out = tmp_path / "labels"
    result = in_process("data", "labels", "--data", flipped_file, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "0 of 160 labels are suspected" in result.stdout
    assert not (out / "labels.png").exists()
    assert (out / "labels.csv").read_text() == "id,given,suggested,probability,margin\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "tiny"], "random weights"),
        (["--folds", "20"], "20 different images"),
        (["--preset", "liet"], "liet"),
    ],
)
def test_what_cannot_be_examined_is_one_sentence(flipped_file, options, words):
    if "--folds" in options:
        cut = dataset.load(flipped_file).take(np.arange(100))
        dataset.save(cut, flipped_file)
        words = "20 folds need 20"
    result = in_process("data", "labels", "--data", flipped_file, *options)
    assert_one_sentence(result, words)


def test_a_file_is_not_overwritten_by_its_own_correction(flipped_file, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("id,given,suggested\n")
    command = ("data", "relabel", flipped_file, "--labels", table, "--out", flipped_file)
    assert_one_sentence(in_process(*command), "is the file itself")
