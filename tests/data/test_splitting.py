"""Splitting: shares, strata, copies on one side, the same seed the same parts."""

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from toolkit.core import records
from toolkit.core.config import SplitConfig
from toolkit.core.errors import InputError
from toolkit.data import cleaning, dataset, splitting, synthetic


@pytest.fixture(scope="module")
def samples():
    drawn = synthetic.draw(40)
    return drawn.take(np.arange(320))


def parts_of(samples, **changes):
    groups = cleaning.group_copies(samples.images, near_copy_bits=30)
    return splitting.split(samples, np.arange(len(samples)), groups, SplitConfig(**changes))


def test_parts_are_disjoint_whole_and_stratified(samples):
    parts = parts_of(samples)
    assert sorted(parts.train + parts.validation + parts.test) == list(range(320))
    for part, count in (("train", 36), ("validation", 2), ("test", 2)):
        assert np.bincount(samples.labels[list(getattr(parts, part))]).tolist() == [count] * 8


def test_the_seed_decides(samples):
    assert parts_of(samples) == parts_of(samples)
    assert parts_of(samples, seed=1).test != parts_of(samples).test


def test_copies_stay_together(samples):
    rows = np.repeat(np.arange(320), 3)
    tripled = dataset.Samples(
        samples.images[rows], samples.labels[rows], np.arange(960), samples.class_names
    )
    parts = parts_of(tripled)
    pictures = [{row // 3 for row in part} for part in (parts.train, parts.validation, parts.test)]
    assert sum(len(part) for part in pictures) == 320


def test_writing_and_reading_returns_the_same_split(samples, tmp_path):
    splitting.write(parts_of(samples), tmp_path / "split.json")
    assert splitting.read(tmp_path / "split.json") == parts_of(samples)


def test_too_few_images_say_how_many_are_needed(samples):
    few = samples.take(np.flatnonzero((samples.labels != 3) | (samples.ids < 50)))
    with pytest.raises(
        InputError,
        match=r"class 3 \(immature granulocyte\) has \d+ different images after cleaning; "
        "the split needs 20",
    ):
        parts_of(few)


def test_other_data_is_refused(samples):
    other = samples.take(np.arange(319))
    with pytest.raises(InputError, match="not the data of this run"):
        parts_of(samples).rows("test", other)


def test_missing_and_damaged_files_are_errors(tmp_path):
    with pytest.raises(InputError, match="no split"):
        splitting.read(tmp_path / "split.json")
    (tmp_path / "split.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        splitting.read(tmp_path / "split.json")


def test_ids_beyond_the_data_are_refused(samples):
    parts = parts_of(samples)
    for wrong in (-1, 320, 2**70):
        changed = dataclasses.replace(parts, test=(*parts.test, wrong))
        with pytest.raises(InputError, match="lists images that the data has not: it has 320"):
            changed.rows("test", samples)
    empty = dataclasses.replace(parts, test=())
    assert len(samples.take(empty.rows("test", samples))) == 0


def test_a_list_of_anything_else_is_told_by_its_first(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"train": [' + '"a", ' * 200_000 + "1]}")
    with pytest.raises(ValidationError) as caught:
        records.parse(splitting.Split, path.read_text(), splitting.IMAGES_LIMIT)
    assert caught.value.error_count() == 5  # four keys are missing
    with pytest.raises(InputError, match=r"train\.0: input should be a valid integer"):
        splitting.read(path)
