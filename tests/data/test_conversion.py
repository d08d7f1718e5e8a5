"""Pictures and npz files as people have them become samples; what cannot be read is told."""

import csv
import io
import json
import os
import struct

import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from tests.support.commands import assert_one_sentence, in_process
from toolkit.core.errors import InputError
from toolkit.data import (
    array_conversion,
    conversion,
    dataset,
    folder_conversion,
    parquet_conversion,
    pictures,
    synthetic,
)

RGB = synthetic.draw(1, side=32).images[:3]
LABELS = np.array([0, 1, 0])


@pytest.fixture
def folder(tmp_path):
    """Two classes of pictures in many modes, of which all show the same picture."""
    picture = Image.fromarray(RGB[0])
    grey = picture.convert("L")
    for name in ("b class", "a class"):
        (tmp_path / "pictures" / name / "deep").mkdir(parents=True)
    first, second = tmp_path / "pictures" / "a class", tmp_path / "pictures" / "b class"
    picture.save(first / "rgb.png")
    picture.convert("RGBA").save(first / "deep" / "rgba.png")
    grey.save(second / "grey.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(second / "wide.png")
    picture.quantize(64).save(second / "palette.gif")
    (second / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (second / "notes.txt").write_text("not looked at")
    (tmp_path / "pictures" / ".hidden").mkdir()
    return tmp_path / "pictures"


def test_a_folder_a_class(folder):
    found = folder_conversion.convert_folder(folder)
    samples = found.samples
    assert samples.class_names == ("a class", "b class")
    assert samples.labels.tolist() == [0, 0, 1, 1, 1]
    grey = np.asarray(Image.fromarray(RGB[0]).convert("L"))
    assert np.array_equal(samples.images[0], RGB[0]) and np.array_equal(samples.images[1], RGB[0])
    assert np.array_equal(samples.images[2], np.repeat(grey[..., None], 3, 2))
    assert np.array_equal(samples.images[4], samples.images[2])  # of 16 bits
    assert [each.where.rpartition("/")[2] for each in found.skipped] == ["broken.jpg", "notes.txt"]
    assert found.reasons == {"has no ending of a picture": 1, "cannot be read": 1}
    assert "cannot identify" in found.skipped[0].detail


def test_a_link_out_of_the_folder_is_not_followed(folder, tmp_path):
    """A stranger's archive must not lead to other pictures of this machine."""
    Image.fromarray(RGB[1]).save(tmp_path / "private.png")
    (folder / "a class" / "link.png").symlink_to(tmp_path / "private.png")
    (folder / "a class" / "own.png").symlink_to(folder / "a class" / "rgb.png")
    found = folder_conversion.convert_folder(folder)
    assert found.reasons["is a link that leads out of the folder"] == 1
    assert found.samples.labels.tolist() == [0, 0, 0, 1, 1, 1]  # its own link is a picture


def test_what_is_no_file_of_the_folder_is_not_opened(folder, tmp_path):
    """A class that is a link to / would have this machine searched; a pipe waits for a writer."""
    (tmp_path / "private" / "deep").mkdir(parents=True)
    Image.fromarray(RGB[1]).save(tmp_path / "private" / "deep" / "x.png")
    (folder / "c class").symlink_to(tmp_path / "private")
    (folder / "d class").symlink_to(folder / "a class")
    os.mkfifo(folder / "a class" / "pipe.png")
    found = folder_conversion.convert_folder(folder)
    assert found.samples.class_names == ("a class", "b class", "d class")
    assert found.reasons["is a link that leads out of the folder"] == 1
    assert found.reasons["is no file"] == 2  # there, and through the link to its folder
    assert str(folder / "c class") in [each.where for each in found.skipped]


def test_a_name_that_is_no_utf8_is_reported(folder, tmp_path):
    (folder / "a class" / os.fsdecode(b"\xff.txt")).write_text("")
    found = folder_conversion.convert_folder(folder)
    conversion.write_report(found.skipped, tmp_path / "skipped.csv")
    assert r"\udcff.txt" in (tmp_path / "skipped.csv").read_text(encoding="utf-8")


def test_a_picture_with_damaged_metadata_is_skipped(folder):
    """Pillow writes those of a rotated picture again, and raises any error at that."""
    orientation = struct.pack("<HHLL", 0x0112, 3, 1, 6)
    resolution = struct.pack("<HHL4s", 0x011A, 2, 4, b"abc")  # a text instead of a fraction
    metadata = b"II*\0" + struct.pack("<LH", 8, 2) + orientation + resolution + bytes(4)
    Image.fromarray(RGB[0]).save(folder / "a class" / "x.png", exif=metadata)
    found = folder_conversion.convert_folder(folder)
    assert len(found.samples) == 5 and found.reasons["cannot be read"] == 2


def test_all_that_was_skipped_is_written_and_counted(folder, tmp_path):
    out, report = tmp_path / "x.npz", tmp_path / "skipped.csv"
    arguments = ("data", "convert", folder, "--out", out, "--report", report, "--json")
    result = in_process(*arguments)
    assert result.returncode == 0, result.stderr
    counted = json.loads(result.stdout)["skipped_reasons"]
    assert counted == {"has no ending of a picture": 1, "cannot be read": 1}
    with report.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["reason"] for row in rows] == ["cannot be read", "has no ending of a picture"]


def test_nothing_that_can_be_read_is_an_error_not_an_empty_file(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "x.png").write_bytes(b"no picture")
    result = in_process("data", "convert", tmp_path / "pictures", "--out", tmp_path / "x.npz")
    assert_one_sentence(result, "has no picture that could be read")
    assert "cannot be read (cannot identify" in result.stderr
    assert not (tmp_path / "x.npz").exists()


def test_tables_of_other_spellings(folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file;class\na class\\rgb.png;1.5\nb class\\grey.png;2\n")
    found = folder_conversion.convert_table(table, folder)  # a path of Windows, semicolons
    assert found.samples.class_names == ("1.5", "2") and not found.skipped


def test_no_other_program_is_started_for_a_picture(folder):
    """Whatever its ending is: for EPS, Pillow would run Ghostscript."""
    picture = Image.fromarray(RGB[0])
    picture.save(folder / "a class" / "drawing.eps")
    (folder / "a class" / "drawing.eps").rename(folder / "a class" / "drawing.png")
    found = folder_conversion.convert_folder(folder)
    assert [each.where.rpartition("/")[2] for each in found.skipped] == [
        "drawing.png",
        "broken.jpg",
        "notes.txt",
    ]
    for kind in ("bmp", "gif", "jpeg", "ppm", "tiff", "webp"):
        picture.save(folder / "a class" / f"other.{kind}")
    assert len(folder_conversion.convert_folder(folder).samples) == len(found.samples) + 6


def test_other_sizes_are_cut_and_scaled_on_request(folder):
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = 200  # the square in the middle
    Image.fromarray(wide).save(folder / "a class" / "wide.png")
    with pytest.raises(InputError, match="2 different sizes; 5 have 32 × 32") as caught:
        folder_conversion.convert_folder(folder)
    assert "--size 32" in caught.value.hint
    found = folder_conversion.convert_folder(folder, size=16)
    assert found.samples.images.shape == (6, 16, 16, 3) and found.resized == 6
    assert found.samples.images[2][:, 1:-1].min() == 200  # its edges are smoothed


def test_a_name_that_is_too_long_is_no_picture(folder, tmp_path):
    rows = ["image,label", "a class/rgb.png,x", "b class/grey.png,y", f"{'9' * 5000},x", "a\0b,x"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = folder_conversion.convert_table(tmp_path / "labels.csv", folder)
    assert len(found.samples) == 2
    first, second = found.skipped
    assert first.reason == second.reason == "names no picture in the folder"
    assert first.detail.startswith("'999") and len(first.detail) < 300
    assert second.detail == r"'a\x00b'"


def test_a_table_of_pictures(folder, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(
        "\ufeffImage_ID,label\n"
        "a class/rgb,10\nb class/grey.png,9\nnone,9\nb class/wide.png,\n../labels.csv,9\n"
    )
    found = folder_conversion.convert_table(table, folder)
    assert found.samples.class_names == ("9", "10") and found.samples.labels.tolist() == [1, 0]
    assert [(each.where, each.reason) for each in found.skipped] == [
        ("row 4", "names no picture in the folder"),
        ("row 5", "has no label"),
        ("row 6", "names no picture in the folder"),
    ]
    with pytest.raises(InputError, match="has no column kind; it has: "):
        folder_conversion.convert_table(table, folder, label_column="kind")


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (RGB, RGB),
        (RGB.transpose(0, 3, 1, 2), RGB),
        (np.concatenate([RGB, RGB[..., :1]], -1), RGB),
        (RGB[..., 0], np.repeat(RGB[..., :1], 3, -1)),
        (RGB[..., :1], np.repeat(RGB[..., :1], 3, -1)),
        (RGB / np.float32(255), RGB),
        (RGB.astype(np.float64), RGB),
        (RGB.astype(np.uint16) * 257, RGB),
    ],
    ids=["as it is", "channels first", "RGBA", "grey", "one channel", "0..1", "float", "16 bit"],
)
def test_an_npz_of_another_kind(images, expected, tmp_path):
    np.savez(tmp_path / "x.npz", x_train=images, y_train=np.array(["cat", "dog", "cat"]))
    samples = array_conversion.convert_arrays(tmp_path / "x.npz").samples
    assert np.array_equal(samples.images, expected)
    assert samples.class_names == ("cat", "dog") and samples.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS[:, None], ("class 0", "class 1")),
        (np.eye(3)[LABELS], ("class 0", "class 1")),
        (np.array([b"x", b"y", b"x"]), ("x", "y")),
        (LABELS + 5, ("class 5", "class 6")),
        (LABELS.astype(float), ("class 0", "class 1")),
    ],
)
def test_labels_of_another_kind(labels, names, tmp_path):
    np.savez(tmp_path / "x.npz", x=RGB, y=labels)
    samples = array_conversion.convert_arrays(tmp_path / "x.npz").samples
    assert samples.labels.tolist() == [0, 1, 0] and samples.class_names == names


@pytest.mark.parametrize("labels", [[0.5, 1.0, 0.5], [0.0, np.nan, 1.0], [0.0, np.inf, 1.0]])
def test_fractions_are_no_labels(labels, tmp_path):
    np.savez(tmp_path / "x.npz", x=RGB, y=np.array(labels))
    with pytest.raises(InputError, match="neither numbers of classes nor names"):
        array_conversion.convert_arrays(tmp_path / "x.npz")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([["a", "b"]] * 3),
        np.zeros((3, 2), [("x", "i4")]),
        np.zeros((3, 2), complex),
        np.full((3, 2), np.nan),
        np.zeros((3, 2, 2), int),
        np.array([0.0, 1e300, 1.0]),
        np.array(["x" * 101, "y", "y"]),
        np.array([float("inf"), 1.0, 1.0]),
    ],
)
def test_other_arrays_are_no_labels(labels, tmp_path):
    np.savez(tmp_path / "x.npz", images=RGB, labels=labels)
    with pytest.raises(InputError, match=r"neither numbers of classes|names the class xxx"):
        array_conversion.convert_arrays(tmp_path / "x.npz", "images", "labels")


def test_images_that_are_too_small_are_refused_as_pictures_are(tmp_path):
    np.savez(tmp_path / "x.npz", images=RGB[:, :4, :4], labels=LABELS)
    with pytest.raises(InputError, match="4 × 4 pixels; 8 a side is the least"):
        array_conversion.convert_arrays(tmp_path / "x.npz")
    assert array_conversion.convert_arrays(tmp_path / "x.npz", size=16).resized == 3


@pytest.mark.parametrize("label", ["9" * 5000, "x" * 101])
def test_a_label_that_is_too_long_is_no_class(label, folder, tmp_path):
    (tmp_path / "labels.csv").write_text(f"image,label\na class/rgb.png,{label}\n")
    with pytest.raises(InputError, match="characters; the limit is 100"):
        folder_conversion.convert_table(tmp_path / "labels.csv", folder)


def test_arrays_are_scaled_on_request(tmp_path):
    np.savez(tmp_path / "x.npz", x=RGB, y=LABELS)
    found = array_conversion.convert_arrays(tmp_path / "x.npz", size=16)
    assert found.samples.images.shape == (3, 16, 16, 3) and found.resized == 3
    expected = np.asarray(pictures.resize(Image.fromarray(RGB[1]), (16, 16)))
    assert np.array_equal(found.samples.images[1], expected)
    assert array_conversion.convert_arrays(tmp_path / "x.npz", size=32).resized == 0


def test_what_is_not_clear_is_asked(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, train=RGB, test=RGB, y=LABELS)
    with pytest.raises(InputError, match="not clear which array") as caught:
        array_conversion.convert_arrays(path)
    assert "--images-key" in caught.value.hint
    assert len(array_conversion.convert_arrays(path, images_key="test").samples) == 3
    with pytest.raises(InputError, match="no array 'none'"):
        array_conversion.convert_arrays(path, images_key="none")
    np.savez(path, x=RGB.astype(np.float32) * 300, y=LABELS)
    with pytest.raises(InputError, match="go up to"):
        array_conversion.convert_arrays(path)


def test_the_command_writes_a_training_file(folder, tmp_path):
    out = tmp_path / "made.npz"
    result = in_process("data", "convert", folder, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "broken.jpg" in result.stdout and "2 skipped" in result.stdout
    assert "Next: cbtool data inspect" in result.stderr
    assert dataset.load(out).class_names == ("a class", "b class")
    report = json.loads(in_process("data", "convert", folder, "--out", out, "--json").stdout)
    assert report["class_counts"] == {"a class": 2, "b class": 3}
    assert_one_sentence(in_process("data", "convert", tmp_path / "none"), "there is no file")
    (tmp_path / "empty").mkdir()
    assert_one_sentence(in_process("data", "convert", tmp_path / "empty"), "0 folders")


def test_hdf5_files_are_read_as_npz_files_are(tmp_path):
    path = tmp_path / "cells.h5"
    with h5py.File(path, "w") as file:
        file["train/X"] = RGB.transpose(0, 3, 1, 2) / np.float32(255)
        file["train/y"] = ["b", "a", "b"]
        file["version"] = 3
    samples = array_conversion.convert_arrays(path).samples
    assert np.array_equal(samples.images, RGB)
    assert samples.class_names == ("a", "b") and samples.labels.tolist() == [1, 0, 1]
    with h5py.File(path, "a") as file:
        file["test/X"] = RGB
    with pytest.raises(InputError, match=r"it contains: test/X \(3, 32, 32, 3\), train/X"):
        array_conversion.convert_arrays(path)
    result = in_process(
        "data", "convert", path, "--images-key", "test/X", "--out", tmp_path / "x.npz"
    )
    assert result.returncode == 0, result.stderr
    assert np.array_equal(dataset.load(tmp_path / "x.npz").images, RGB)


def test_hdf5_files_that_cannot_be_read_are_one_sentence(tmp_path, monkeypatch):
    path = tmp_path / "cells.h5"
    path.write_bytes(b"no HDF5")
    assert_one_sentence(in_process("data", "convert", path), "is no HDF5 file")
    assert_one_sentence(in_process("data", "convert", tmp_path / "none.h5"), "there is no file")
    with h5py.File(path, "w") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/other.h5", "/values")
    assert_one_sentence(in_process("data", "convert", path), "elsewhere is a link")
    with h5py.File(path, "w") as file:
        file["X"], file["y"] = RGB, LABELS
    monkeypatch.setattr(array_conversion, "UNPACKED_LIMIT", 1000)
    assert_one_sentence(in_process("data", "convert", path), "hold 9.24 kB of values")


@pytest.fixture
def parquet(tmp_path):
    """A table as the `datasets` library writes it: pictures as records, numbered labels."""
    rows = []
    for pixels, label in zip(RGB, (1, 0, 1)):
        memory = io.BytesIO()
        Image.fromarray(pixels).save(memory, "PNG")
        rows.append({"image": {"bytes": memory.getvalue(), "path": "x.png"}, "label": label})
    rows += [
        {"image": {"bytes": b"no picture", "path": None}, "label": 0},
        {"image": None, "label": 0},
        {"image": rows[0]["image"], "label": None},
    ]
    features = {"label": {"names": ["cat", "dog", "never"], "_type": "ClassLabel"}}
    described = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.Table.from_pylist(rows).replace_schema_metadata(described)
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    return tmp_path / "train.parquet"


def test_a_parquet_table_of_pictures(parquet, tmp_path):
    result = in_process("data", "convert", parquet, "--out", tmp_path / "x.npz", "--json")
    assert result.returncode == 0, result.stderr
    samples = dataset.load(tmp_path / "x.npz")
    assert np.array_equal(samples.images, RGB)
    assert samples.class_names == ("cat", "dog") and samples.labels.tolist() == [1, 0, 1]
    skipped = {each["where"]: each["reason"] for each in json.loads(result.stdout)["skipped"]}
    assert skipped == {
        "row 4": "cannot be read",
        "row 5": "has no picture",
        "row 6": "has no label",
    }


def test_labels_and_pictures_of_a_parquet_table(parquet, tmp_path):
    picture = pyarrow.parquet.read_table(parquet).column("image")[0].as_py()["bytes"]
    convert = ("data", "convert", parquet, "--out", tmp_path / "x.npz")

    def write(labels, images=None):
        columns = {"image": images or [picture] * len(labels), "label": labels}
        pyarrow.parquet.write_table(pyarrow.table(columns), parquet)

    write([1.0, None, 10.0, 2.0])  # as pandas stores numbers where one is missing
    result = in_process(*convert)
    assert result.returncode == 0, result.stderr
    assert dataset.load(tmp_path / "x.npz").class_names == ("1", "2", "10")
    write([0.5, 1.0])
    assert_one_sentence(in_process(*convert), "the column label holds 0.5")
    write([0, 1], ["a path", "another"])
    result = in_process(*convert)
    assert_one_sentence(result, "has no picture that could be read")
    assert "--images-key NAME; it was image" in result.stderr


@pytest.mark.parametrize("column", ["image", "label"])
@pytest.mark.parametrize("described", [True, False])
def test_a_small_parquet_file_takes_little_memory(column, described, parquet):
    """A value that is stored once for all rows; described: the reader keeps it once, too."""
    picture = pyarrow.parquet.read_table(parquet).column("image")[0].as_py()["bytes"]
    long = picture.ljust(30_000_000, b"\0") if column == "image" else b"x" * 30_000_000
    numbers = pyarrow.array([0] * 16, pyarrow.int32())
    repeated = pyarrow.DictionaryArray.from_arrays(numbers, pyarrow.array([long]))
    columns = {"image": [picture] * 16, "label": ["a", "b"] * 8, column: repeated}
    pyarrow.parquet.write_table(
        pyarrow.table(columns),
        parquet,
        compression="zstd",
        dictionary_pagesize_limit=2**30,
        store_schema=described,
    )
    assert parquet.stat().st_size < 20_000
    if column == "image" and described:  # one picture after the other is read from the one value
        assert len(parquet_conversion.convert_parquet(parquet).samples) == 16
        return
    with pytest.raises(InputError, match=r"8 rows of it take more|too long for names"):
        parquet_conversion.convert_parquet(parquet)


def test_a_parquet_file_whose_reading_takes_all_memory_is_one_sentence(parquet, monkeypatch):
    """The limit on the process that reads it first: here what pyarrow needs to start."""
    monkeypatch.setattr(parquet_conversion, "MEMORY", 100_000_000)
    with pytest.raises(InputError, match="take more memory than there is for them"):
        parquet_conversion.convert_parquet(parquet)


def test_parquet_files_that_are_none_are_one_sentence(parquet, tmp_path, monkeypatch):
    convert = ("data", "convert", parquet, "--out", tmp_path / "x.npz")
    assert_one_sentence(in_process(*convert, "--labels-key", "kind"), "has no column kind")
    content = parquet.read_bytes()
    for size in (0, 10, len(content) // 2):
        parquet.write_bytes(content[:size])
        assert_one_sentence(in_process(*convert), "train.parquet is damaged")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_one_sentence(in_process(*convert), "pyarrow, which reads Parquet, is not installed")
    assert not (tmp_path / "x.npz").exists()
