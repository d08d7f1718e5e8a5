"""Cleaning: what is dropped, why, and that nothing else is."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from tests.support.commands import COMPETITION, in_process
from toolkit.core.config import CleanConfig
from toolkit.core.errors import InputError
from toolkit.data import cleaning, dataset


def clean(samples, **changes):
    return cleaning.clean(samples, CleanConfig(**changes))


def with_images(samples, images, labels):
    """`samples` with more images at the end."""
    return dataset.Samples(
        np.concatenate([samples.images, images]),
        np.concatenate([samples.labels, labels]),
        np.arange(len(samples) + len(images)),
        samples.class_names,
    )


def test_exactly_the_irrelevant_copies_are_dropped(cells):
    n = 8 * 20
    found = clean(cells)
    assert found.kept.tolist() == [True] * n + [False] * (len(cells) - n)
    assert set(found.reasons[n:]) == {"outlier"}


def test_each_defect_gets_its_reason(cells):
    whole = cells.take(np.arange(160))
    brighter = np.clip(whole.images[:1].astype(int) + 3, 0, 255).astype(np.uint8)
    constant = np.full_like(whole.images[:1], 90)
    other_label = (whole.labels[2] + 1) % 8
    labels = np.array([whole.labels[0], whole.labels[0], whole.labels[1], other_label])
    samples = with_images(whole, np.concatenate([brighter, constant, whole.images[1:3]]), labels)
    reasons = clean(samples).reasons
    assert reasons[160:] == (
        "near copy of 0",
        "constant",
        "copy of 1",
        "same picture under several labels",
    )
    assert reasons[2] == "same picture under several labels"
    assert set(reasons[3:160]) | {reasons[0], reasons[1]} == {""}


def test_limits_are_those_of_the_configuration(cells):
    assert clean(cells, outlier_score=1000.0).reasons.count("outlier") == 0
    assert clean(cells, outlier_score=0.001).reasons.count("outlier") > len(cells) // 3


def test_scores_do_not_depend_on_how_often_a_picture_is_copied(cells):
    once = cells.take(np.r_[0:160, 160, len(cells) - 1])
    assert clean(once).scores[160] == pytest.approx(clean(cells).scores[160])


def test_the_groups_are_those_of_the_kept_images_in_the_same_order(cells):
    """Also where the first image of a pair of near copies has the larger digest, or the smaller."""
    whole = cells.take(np.arange(48))
    brighter = np.clip(whole.images[:16].astype(int) + 3, 0, 255).astype(np.uint8)
    found = clean(with_images(whole, brighter, whole.labels[:16]))
    assert found.kept.tolist() == [True] * 48 + [False] * 16
    assert np.array_equal(found.groups[48:], found.groups[:16])
    kept_alone = cleaning.group_copies(whole.images, CleanConfig().near_copy_bits)
    assert np.array_equal(np.argsort(found.groups[:48]), np.argsort(kept_alone))


def test_only_constant_images_is_an_error(cells):
    blank = dataset.Samples(
        np.full((3, 96, 96, 3), 7, np.uint8), np.arange(3), np.arange(3), dataset.CELL_NAMES
    )
    with pytest.raises(InputError, match="constant"):
        clean(blank)


def test_the_command_writes_a_row_an_image_and_two_pictures(training_file, tmp_path):
    before = training_file.read_bytes()
    result = in_process("data", "clean", training_file, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    with (tmp_path / "clean.csv").open() as file:
        rows = list(csv.DictReader(file))
    samples = dataset.load(training_file)
    assert list(rows[0]) == list(cleaning.COLUMNS)
    assert len({(row["x"], row["y"]) for row in rows[:100]}) > 90  # a place for each picture
    assert [int(row["id"]) for row in rows] == list(range(len(samples)))
    assert all((row["kept"] == "1") == (row["reason"] == "") for row in rows)
    dropped = np.array([row["kept"] == "0" for row in rows])
    assert dropped[160:].all() and dropped[:160].sum() <= 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "clean.csv",
        "clean_before.png",
        "clean_after.png",
    }
    assert training_file.read_bytes() == before
    assert f"{tmp_path / 'clean_before.png'}, {tmp_path / 'clean_after.png'}" in result.stderr


@pytest.mark.slow
@pytest.mark.skipif(not COMPETITION.exists(), reason="the competition's images are not at hand")
def test_the_whole_competition_set_loses_its_1800_pictures_and_at_most_35_cells(tmp_path):
    file = tmp_path / "training_set.npz"
    subprocess.run(
        [sys.executable, COMPETITION / "make_training_set.py", file],
        check=True,
        capture_output=True,
    )
    kept = clean(dataset.load(file)).kept
    assert not kept[11_959:].any()
    assert (~kept[:11_959]).sum() <= 35
