"""Loading: what is accepted, and one sentence for everything else."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core.errors import InputError
from toolkit.data import dataset

LABELS = np.arange(8)


def written(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_both_label_shapes_and_other_sizes_load(tmp_path, images):
    flat = dataset.load(written(tmp_path / "a.npz", images=images, labels=LABELS))
    column = dataset.load(
        written(tmp_path / "b.npz", images=images, labels=LABELS[:, None].astype(np.uint8))
    )
    assert flat.labels.tolist() == column.labels.tolist() == list(range(8))
    assert flat.images.shape == (8, 32, 32, 3)
    assert flat.fingerprint == column.fingerprint
    assert flat.class_names == dataset.CELL_NAMES


def test_class_names_in_the_file_decide_the_number_of_classes(tmp_path, images):
    file = written(
        tmp_path / "a.npz", images=images, labels=LABELS % 2, class_names=np.array(["cat", "dog"])
    )
    assert dataset.load(file).class_names == ("cat", "dog")
    with pytest.raises(InputError, match="out of range: classes go from 0 to 1"):
        dataset.load(
            written(
                tmp_path / "b.npz",
                images=images,
                labels=LABELS % 3,
                class_names=np.array(["cat", "dog"]),
            )
        )


def test_saving_and_loading_returns_the_same_samples(tmp_path, cells):
    dataset.save(cells, tmp_path / "cells.npz")
    again = dataset.load(tmp_path / "cells.npz")
    assert again.fingerprint == cells.fingerprint
    assert again.class_names == cells.class_names


def test_the_fingerprint_sees_one_pixel_and_one_label(images):
    samples = dataset.Samples(images, LABELS, LABELS, dataset.CELL_NAMES)
    pixel = images.copy()
    pixel[0, 0, 0, 0] ^= 1
    assert (
        dataset.Samples(pixel, LABELS, LABELS, dataset.CELL_NAMES).fingerprint
        != samples.fingerprint
    )
    assert (
        dataset.Samples(images, LABELS[::-1], LABELS, dataset.CELL_NAMES).fingerprint
        != samples.fingerprint
    )


class Trap:
    """Unpickling it would leave a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def bad_files(folder, images):
    nan = images.astype(np.float32)
    nan[0, 0, 0, 0] = np.nan
    mark = folder / "unpickled"
    return {
        "missing keys": (dict(pictures=images), "no array 'images'"),
        "no labels": (dict(images=images), "no array 'labels'"),
        "float images": (dict(images=images / 255.0, labels=LABELS), "float64"),
        "beyond the range": (
            dict(images=images.astype(np.int16) + 10, labels=LABELS),
            "outside 0..255",
        ),
        "NaN": (dict(images=nan, labels=LABELS), "NaN"),
        "times": (dict(images=images.astype("m8[s]"), labels=LABELS), "timedelta64[s], not uint8"),
        "grey images": (dict(images=images[..., 0], labels=LABELS), "not (n, height, width, 3)"),
        "tiny images": (dict(images=images[:, :7, :7], labels=LABELS), "7×7"),
        "no images": (dict(images=images[:0], labels=LABELS[:0]), "contains no images"),
        "label out of range": (dict(images=images, labels=LABELS + 1), "label 8 of image 7"),
        "negative label": (dict(images=images, labels=LABELS - 1), "label -1 of image 0"),
        "float labels": (dict(images=images, labels=LABELS / 1.0), "not integers"),
        "one-hot labels": (dict(images=images, labels=np.eye(8, dtype=int)), "labels.argmax(1)"),
        "other lengths": (dict(images=images, labels=LABELS[:5]), "for 8 images"),
        "pickled objects": (dict(images=np.array([Trap(mark)], object), labels=LABELS), "pickled"),
        "empty class": (dict(images=images, labels=np.minimum(LABELS, 6)), "no image of class 7"),
        "one class": (dict(images=images, labels=LABELS * 0 + 3), "one class only"),
    }


@pytest.mark.parametrize("case", bad_files(Path(), np.zeros((8, 32, 32, 3), np.uint8)))
def test_bad_files_get_one_sentence(case, tmp_path, images):
    arrays, words = bad_files(tmp_path, images)[case]
    file = written(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError) as caught:
        dataset.require_trainable(dataset.load(file), file)
    assert words in f"{caught.value.sentence} {caught.value.hint}"
    assert caught.value.hint
    assert not (tmp_path / "unpickled").exists()


def test_files_that_are_no_npz(tmp_path, images):
    (tmp_path / "text.npz").write_text("images")
    whole = written(tmp_path / "whole.npz", images=images, labels=LABELS).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 255
    (tmp_path / "flipped.npz").write_bytes(middle)
    for name, words in {
        "none.npz": "no file",
        "text.npz": "not an npz",
        "cut.npz": "is incomplete: its end is missing",
        "flipped.npz": "not a readable array: Bad CRC",
    }.items():
        with pytest.raises(InputError, match=words):
            dataset.load(tmp_path / name)
    with pytest.raises(InputError, match=r"is a folder"):
        dataset.load(tmp_path)


@pytest.mark.parametrize(
    "command", ["data inspect {}", "data clean {} --out out", "train --data {} --run out"]
)
@pytest.mark.parametrize("case", ["missing", "NaN", "empty class"])
def test_commands_refuse_bad_files_and_write_nothing(command, case, tmp_path, images):
    file = tmp_path / "bad.npz"
    if case != "missing":
        written(file, **bad_files(tmp_path, images)[case][0])
    words = {"missing": "no file", "NaN": "NaN", "empty class": "no image of class 7"}[case]
    result = in_process(*command.format(file).split(), cwd=tmp_path)
    assert_one_sentence(result, words)
    assert not (tmp_path / "out").exists()


def test_inspect_shows_counts_and_writes_a_sheet_a_class(training_file, tmp_path):
    result = in_process("data", "inspect", training_file, "--out", tmp_path / "sheets", "--json")
    report = json.loads(result.stdout)
    samples = dataset.load(training_file)
    assert result.returncode == 0
    assert list(report["class_counts"].values()) == samples.counts.tolist()
    assert report["images"] == list(samples.images.shape)
    assert (report["lowest"], report["highest"]) == (samples.images.min(), samples.images.max())
    assert report["copies"] > 0
    assert len(list((tmp_path / "sheets").glob("*.png"))) == 8


def test_class_names_are_few_short_texts(tmp_path, images):
    def load(names):
        return dataset.load(
            written(tmp_path / "x.npz", images=images, labels=LABELS, class_names=names)
        )

    eight = [f"class {number}" for number in range(8)]
    assert load(np.array(eight, "S")).class_names == tuple(eight)  # bytes
    assert load(np.array([*eight[:7], "x" * 500])).class_names[7] == "x" * 100
    with pytest.raises(InputError, match="names 1,000,000 classes; the limit is 256"):
        load(np.full(1_000_000, "a"))
    with pytest.raises(InputError, match="not a list of names"):
        load(np.arange(8))


def test_other_channels_are_told_the_way_out(tmp_path, images):
    for changed, hint in (
        (np.concatenate([images, images[..., :1]], -1), "Leave out the alpha channel"),
        (images.transpose(0, 3, 1, 2), "Put the channels last"),
        (images[..., 0], "make them RGB with cbtool data convert"),
    ):
        path = written(tmp_path / "x.npz", images=changed, labels=LABELS)
        with pytest.raises(InputError) as caught:
            dataset.load(path)
        assert hint in caught.value.hint
