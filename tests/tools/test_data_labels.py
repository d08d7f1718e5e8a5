"""`cbtool data labels` and `data relabel`: from flipped labels to a corrected file."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import assert_one_sentence, in_process
from toolkit.data import dataset
from toolkit.report import plots
from toolkit.training import features

FLIPPED = np.arange(0, 160, 7)  # of the drawn cells


def flip(labels):
    """`labels` of the drawn cells, with other ones for FLIPPED."""
    flipped = labels.copy()
    flipped[FLIPPED] = (labels[FLIPPED] + 1 + np.arange(len(FLIPPED)) % 7) % 8
    return flipped


@pytest.fixture
def file(cells, tmp_path, monkeypatch):
    """Drawn cells with wrong labels, after the irrelevant pictures, so that an id is no row of what
    is examined; in place of a backbone's features, the true labels."""
    order = np.roll(np.arange(len(cells)), len(cells) - 160)
    truth = cells.labels[order]

    def extract_features(samples, settings, progress):
        return np.eye(8, dtype=np.float32)[truth[samples.ids]]

    monkeypatch.setattr(features, "extract_features", extract_features)
    path = tmp_path / "flipped.npz"
    flipped = dataset.Samples(cells.images, flip(cells.labels), cells.ids, cells.class_names)
    dataset.save(flipped.take(order), path)
    return path


@pytest.fixture
def wrong_ids(cells):
    return (FLIPPED + len(cells) - 160).tolist()


def test_flipped_labels_are_listed_and_corrected(file, wrong_ids, cells, tmp_path):
    before = file.read_bytes()
    out = tmp_path / "labels"
    result = in_process("data", "labels", file, "--out", out)
    assert result.returncode == 0, result.stderr
    with (out / "labels.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert sorted(int(row["id"]) for row in rows) == wrong_ids
    assert "23 of 160 labels are suspected" in result.stdout
    shown = re.findall(r"^ *(\d+) .* 0\.\d+ *$", result.stdout, re.MULTILINE)
    assert shown == [row["id"] for row in rows[:20]]
    assert f"Left out: {len(cells) - 160} images" in result.stderr
    corrected = tmp_path / "corrected.npz"
    result = in_process("data", "relabel", file, "--labels", out / "labels.csv", "--out", corrected)
    assert result.returncode == 0, result.stderr
    assert file.read_bytes() == before
    found = dataset.load(corrected)
    assert np.array_equal(found.labels, np.roll(cells.labels, len(cells) - 160))
    assert np.array_equal(found.images, dataset.load(file).images)


def test_the_sheet_shows_each_suspect_below_its_labels(file, wrong_ids, tmp_path, monkeypatch):
    drawn = {}
    draw = plots.labelled_sheet

    def record(images, captions, path):
        drawn.update(zip(captions, images))
        draw(images, captions, path)

    monkeypatch.setattr(plots, "labelled_sheet", record)
    result = in_process("data", "labels", file, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    samples = dataset.load(file)
    for caption, image in drawn.items():
        number, given, suggested = caption.split("\n")
        assert np.array_equal(image, samples.images[int(number)])
        assert given == samples.class_names[samples.labels[int(number)]]
        assert suggested[:2] == "→ " and suggested[2:] in samples.class_names
    assert sorted(int(caption.split()[0]) for caption in drawn) == wrong_ids
    with Image.open(tmp_path / "labels.png") as sheet:
        assert np.asarray(sheet.convert("RGB"))[200:-200].std() > 10


def test_near_copies_do_not_confirm_each_others_labels(cells, tmp_path, monkeypatch):
    """Each cell has a near copy with the same label; features that only these two share would give
    the label away."""
    whole = cells.take(np.arange(160))
    brighter = np.clip(whole.images.astype(int) + 3, 0, 255).astype(np.uint8)
    both = dataset.concatenate([whole, whole.with_images(brighter)])

    def extract_features(samples, settings, progress):
        truth = np.tile(np.eye(8)[both.labels], 3)
        own = np.tile(np.eye(160), (2, 1))
        return np.concatenate([truth, own], axis=1)[samples.ids].astype(np.float32)

    monkeypatch.setattr(features, "extract_features", extract_features)
    path = tmp_path / "copies.npz"
    labels, ids = np.tile(flip(whole.labels), 2), np.arange(320)
    dataset.save(dataset.Samples(both.images, labels, ids, both.class_names), path)
    result = in_process("data", "labels", path, "--json")
    assert result.returncode == 0, result.stderr
    suspects = json.loads(result.stdout)["suspects"]
    assert sorted(each["id"] for each in suspects) == [*FLIPPED, *(FLIPPED + 160)]


def test_one_json_object_lists_all(file, wrong_ids, cells):
    result = in_process("data", "labels", file, "--folds", "3", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    suspects = found["suspects"]
    assert sorted(each["id"] for each in suspects) == wrong_ids
    assert found["table"] is None
    assert (found["examined"], found["left_out"], found["folds"]) == (160, len(cells) - 160, 3)
    assert set(suspects[0]) == {"id", "given", "suggested", "probability", "margin"}
    margins = [each["margin"] for each in suspects]
    assert margins == sorted(margins, reverse=True)
    joint = np.array(found["confident_joint"])
    assert joint.shape == (8, 8) and joint.sum() <= 160


def test_no_suspects_make_an_empty_table_and_no_sheet(file, tmp_path, monkeypatch):
    """Features that repeat the label make every prediction agree with it."""

    def repeat_labels(samples, settings, progress):
        return np.eye(8, dtype=np.float32)[samples.labels]

    monkeypatch.setattr(features, "extract_features", repeat_labels)
    out = tmp_path / "labels"
    result = in_process("data", "labels", file, "--out", out)
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
def test_what_cannot_be_examined_is_one_sentence(file, options, words):
    if "--folds" in options:
        cut = dataset.load(file).take(np.arange(120))
        dataset.save(cut, file)
        words = "20 folds need 20"
    result = in_process("data", "labels", file, *options)
    assert_one_sentence(result, words)


def test_a_file_is_not_overwritten_by_its_own_correction(file, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("id,given,suggested\n")
    command = ("data", "relabel", file, "--labels", table, "--out", file)
    assert_one_sentence(in_process(*command), "is the file itself")
