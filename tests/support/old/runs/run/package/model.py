"""The networks that are judged: plain TensorFlow operations, listed in manifest.json, on weights from HDF5 files.

It needs numpy, h5py and TensorFlow 2.16 or later, and nothing of the Keras that trained it: files that one
Keras saves do not load in another. Everything it reads lies beside this file.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()  # before TensorFlow is imported: the evaluator's clock runs already

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

SLICE = 64  # images predicted at a time, at most, so that memory does not grow with their number
SLICE_GFLOP = 800.0  # arithmetic of a slice, at most: heavy networks have large results in between
STEP = 1 / 16  # of the side: how far views are moved, and what a closer one leaves out at each edge
ENOUGH, ROUNDS = 200, 50  # images that class shares are told from; rounds until they change no more


def _window(images: tf.Tensor, down: float = 0.0, right: float = 0.0, margin: float = 0.0) -> tf.Tensor:
    """`images` [n, h, w, 3] seen through a window moved and narrowed by shares of the side; edges are repeated."""
    height, width = images.shape[1:3]
    for axis, side, start in ((1, height, down), (2, width, right)):
        places = tf.range(round((start + margin) * side), side + round((start - margin) * side))
        images = tf.gather(images, tf.clip_by_value(places, 0, side - 1), axis=axis)
    return tf.image.resize(images, [height, width]) if margin else images


# What test-time augmentation looks at: the same picture in ways that keep its class.
VIEWS = {
    "identity": lambda images: images,
    "mirror": lambda images: tf.reverse(images, [2]),
    "flip": lambda images: tf.reverse(images, [1]),
    "half-turn": lambda images: tf.reverse(images, [1, 2]),
    "up": lambda images: _window(images, down=STEP),
    "down": lambda images: _window(images, down=-STEP),
    "left": lambda images: _window(images, right=STEP),
    "right": lambda images: _window(images, right=-STEP),
    "closer": lambda images: _window(images, margin=STEP),
    "farther": lambda images: _window(images, margin=-STEP),
    "quarter-turn": lambda images: tf.reverse(tf.transpose(images, [0, 2, 1, 3]), [1]),  # from here on for square images
    "three-quarter-turn": lambda images: tf.reverse(tf.transpose(images, [0, 2, 1, 3]), [2]),
    "transpose": lambda images: tf.transpose(images, [0, 2, 1, 3]),
    "anti-transpose": lambda images: tf.reverse(tf.transpose(images, [0, 2, 1, 3]), [1, 2]),
}


ACTIVATIONS = {
    "linear": lambda values: values,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    # in the form that TensorFlow 2.16 to 2.21 all join to the product before it; tf.nn.gelu has changed its form
    "gelu": lambda values: 0.5 * values * (1.0 + tf.math.erf(values * 0.7071067811865476)),
    "silu": tf.nn.silu,
    "sigmoid": tf.nn.sigmoid,
    "hard_silu": lambda values: values * tf.nn.relu6(values + 3.0) / 6.0,
}


def _dense(values: tf.Tensor, entry: dict, w: dict) -> tf.Tensor:
    """The last axis of `values` times the kernel, with bias and activation: one product of matrices TensorFlow fuses."""
    rows = tf.reshape(tf.cast(values, w["kernel"].dtype), [-1, values.shape[-1]])
    return tf.reshape(_finished(tf.matmul(rows, w["kernel"]), entry, w), [-1, *values.shape[1:-1], w["kernel"].shape[1]])


def _finished(product: tf.Tensor, entry: dict, w: dict) -> tf.Tensor:
    return ACTIVATIONS[entry.get("activation", "linear")](tf.nn.bias_add(product, tf.cast(w["bias"], product.dtype)))


def _layer_norm(values: tf.Tensor, epsilon: float) -> tf.Tensor:
    """Without gamma and beta, which are a scale of their own or folded. In two passes: exact, and as fast as one."""
    values = tf.cast(values, tf.float32)
    values -= tf.reduce_mean(values, -1, keepdims=True)
    return values * tf.math.rsqrt(tf.reduce_mean(values * values, -1, keepdims=True) + epsilon)


# Each takes the inputs [n, ...], the operation's entry in the manifest, and its weights by name. Products run in the
# weights' type; norms, means and sums in float32.
OPERATIONS = {
    "resize": lambda inputs, entry, w: tf.image.resize(inputs[0], entry["size"]),
    "scale": lambda inputs, entry, w: tf.cast(inputs[0], tf.float32) * w["scale"] + w["offset"],
    "conv": lambda inputs, entry, w: _finished(
        tf.nn.conv2d(tf.cast(inputs[0], w["kernel"].dtype), w["kernel"], entry["strides"], entry["padding"]), entry, w
    ),
    # in the type of the values: rounding sums for the sake of so few multiplications is no bargain
    "depthwise": lambda inputs, entry, w: _finished(
        tf.nn.depthwise_conv2d(inputs[0], tf.cast(w["kernel"], inputs[0].dtype), [1, *entry["strides"], 1], entry["padding"]), entry, w
    ),
    "dense": lambda inputs, entry, w: _dense(inputs[0], entry, w),
    "layer_norm": lambda inputs, entry, w: _layer_norm(inputs[0], entry["epsilon"]),
    "pad": lambda inputs, entry, w: tf.pad(inputs[0], [[0, 0], *entry["margins"], [0, 0]]),
    "max_pool": lambda inputs, entry, w: tf.nn.max_pool2d(inputs[0], entry["size"], entry["strides"], entry["padding"]),
    "mean": lambda inputs, entry, w: tf.reduce_mean(tf.cast(inputs[0], tf.float32), axis=[1, 2], keepdims=entry["keep"]),
    "flatten": lambda inputs, entry, w: tf.reshape(inputs[0], [-1, int(np.prod(inputs[0].shape[1:]))]),
    "reshape": lambda inputs, entry, w: tf.reshape(inputs[0], [-1, *entry["shape"]]),
    "add": lambda inputs, entry, w: tf.add_n([tf.cast(values, tf.float32) for values in inputs]),
    "multiply": lambda inputs, entry, w: inputs[0] * tf.cast(inputs[1], inputs[0].dtype),
    **{name: lambda inputs, entry, w, act=act: act(inputs[0]) for name, act in ACTIVATIONS.items()},
}


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`probabilities` [n, classes] of scores divided by `temperature`: above 1, less sure of themselves."""
    powers = np.maximum(probabilities, np.finfo(np.float32).tiny) ** np.float32(1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def rebalanced(probabilities: np.ndarray, shares: list[float]) -> np.ndarray:
    """`probabilities` [n, classes], where classes had those `shares` in training and may have others among these images.

    The others are found by expectation maximisation: Saerens, Latinne and Decaestecker, Neural Computation 14, 2002.
    """
    found, adjusted = np.asarray(shares), probabilities
    for _ in range(ROUNDS if len(probabilities) >= ENOUGH else 0):
        adjusted = probabilities * (found / shares).astype(np.float32)
        adjusted /= adjusted.sum(axis=1, keepdims=True)
        found = adjusted.mean(axis=0)
    return adjusted


class Network:
    """A list of operations on weights: pixels 0..255 [n, h, w, 3] to class scores before the softmax."""

    def __init__(self, operations: list[dict], weights: Mapping, image_shape: tuple, dtype: tf.DType = tf.float32):
        """weights: arrays by operation and name, a dict or an open HDF5 file. dtype: of the products."""
        self.operations, self.dtype = operations, dtype

        def converted(entry: dict) -> dict[str, tf.Tensor]:
            arrays, kind = weights.get(entry["name"], {}), dtype if entry["op"] in ("conv", "dense") else tf.float32
            return {key: tf.cast(tf.constant(np.asarray(values)), kind) for key, values in arrays.items()}

        with ThreadPoolExecutor(2) as pool:  # a few arrays at a time, so that memory holds the weights once
            self.weights = dict(zip((entry["name"] for entry in operations), pool.map(converted, operations)))
        self.graph = tf.function(self._scores, input_signature=[tf.TensorSpec([None, *image_shape], tf.float32)])

    def scores(self, pixels: tf.Tensor) -> np.ndarray:
        """The scores of `pixels`, float32 [n, classes]. Halves run side by side: where one waits, the other computes."""
        middle = len(pixels) // 2 if len(pixels) >= 16 else 0
        with ThreadPoolExecutor(2) as pool:
            halves = (pixels[:middle], pixels[middle:]) if middle else (pixels,)
            return np.concatenate(list(pool.map(lambda half: self.graph(half).numpy(), halves)))

    def _scores(self, pixels: tf.Tensor) -> tf.Tensor:
        results = {"pixels": pixels}
        for entry in self.operations:
            inputs, weights = [results[name] for name in entry["inputs"]], self.weights[entry["name"]]
            results[entry["name"]] = OPERATIONS[entry["op"]](inputs, entry, weights)
        return tf.cast(results[entry["name"]], tf.float32)


class Model:
    """The competition's interface: `Model()`, then `predict(X)`."""

    def __init__(self, folder: str | Path = Path(__file__).resolve().parent, precision: str = "auto"):
        """Loads manifest.json and the weights it names from `folder`, by default this file's own.

        precision: of the products: "float32", "bfloat16", "float16", or "auto" for what this machine does best.
        """
        self.folder, self.precision = Path(folder), precision
        self.manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.image_shape, entries = tuple(self.manifest["image_shape"]), self.manifest["networks"]
        self.slice = max(8, min(SLICE, int(SLICE_GFLOP / max(entry["gflop"] for entry in entries))))
        self._seen = 0  # images, of those the manifest expects
        self._told: set[str] = set()  # warnings already given
        # Where memory cannot hold all networks, each is loaded when its turn comes.
        stored = sum((self.folder / entry["weights"]["file"]).stat().st_size for entry in entries)
        self._keep = len(entries) == 1 or 4 * stored < _free_memory()
        self._networks = [self._load(entry) if self._keep else None for entry in entries]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The class of each image of `X`, numbers 0..255 [n, height, width, 3]: int64 [n].

        Numbers that all lie within 0..1 are taken for pixels divided by 255. Raises ValueError for another shape.
        """
        started = time.monotonic()
        labels = self.probabilities(X).argmax(axis=1).astype(np.int64)
        if self._seen == len(labels):  # the first call: one line says in any log what ran, and how fast
            kind = self._dtype(self.manifest["networks"][0]).name
            print(f"TensorFlow {tf.__version__}, {kind}: {len(labels)} images in {time.monotonic() - started:.1f} s", file=sys.stderr)
        return labels

    def probabilities(self, X: np.ndarray) -> np.ndarray:
        """The probability of each class for each image of `X`, the mean of networks and views: float32 [n, classes].

        With a time limit, each slice is looked at in as many views as its share of the time that is left allows.
        """
        X = np.asarray(X)
        if X.dtype.kind not in "uif":
            raise ValueError(f"images are numbers 0..255, not {X.dtype}")
        if X.ndim != 4 or X.shape[1:] != self.image_shape:
            raise ValueError(f"images have the shape {X.shape}, expected (n, {', '.join(map(str, self.image_shape))})")
        total = np.zeros((len(X), len(self.manifest["class_names"])), np.float32)
        factor = self._factor(X)
        for number, entry in enumerate(self.manifest["networks"]):
            network = self._networks[number] or self._load(entry)
            deadline = self._deadline(len(X), len(self._networks) - number)
            start = 0
            while start < len(X):
                # Slices of one size, for which the last reaches back: oneDNN has to prepare itself for each new one.
                size = -(-len(X) // -(-len(X) // self.slice))
                size = min(self.slice, size + size % 2)  # even, since they are halved
                first = max(0, min(start, len(X) - size))
                part = self._pixels(X[first : first + size], factor)
                now = time.monotonic()
                share = now + (deadline - now) * len(part) / (len(X) - first)
                try:
                    found = self._mean(network, entry, part, share)
                except tf.errors.ResourceExhaustedError:
                    if len(part) == 1:
                        raise MemoryError("there is too little memory for a single image") from None
                    self.slice = len(part) // 2
                    continue
                if network.dtype != tf.float32 and not np.isfinite(found).all():  # float16 ends at 65,504
                    network = self._networks[number] = self._load(entry, tf.float32)
                    continue
                total[start : first + len(part)] += found[start - first :] / len(self._networks)
                start = first + len(part)
            self._networks[number] = network if self._keep else None
        self._seen += len(X)
        return rebalanced(total, self.manifest["class_shares"]) if self.manifest.get("class_shares") else total

    def _mean(self, network: Network, entry: dict, pixels: tf.Tensor, until: float) -> np.ndarray:
        """The mean probabilities over the entry's views, best first, and no further than time `until` allows."""
        started, found = time.monotonic(), []
        for view in entry["views"]:
            now = time.monotonic()
            if found and now + (now - started) / len(found) > until:
                break
            found.append(tf.nn.softmax(network.scores(VIEWS[view](pixels))).numpy())
        return tempered(np.mean(found, axis=0), entry.get("temperature") or 1.0)

    def _deadline(self, images: int, networks: int) -> float:
        """When the next of `networks` must be through its `images`: their share of the limit; never without one."""
        limit, expected = self.manifest.get("time_limit"), self.manifest.get("images") or 0
        if not limit:
            return float("inf")
        now, share = time.monotonic(), images / max(images, expected - self._seen, 1)
        return now + max(0.0, STARTED + limit - now) * share / networks

    def _load(self, entry: dict, dtype: tf.DType | None = None) -> Network:
        with h5py.File(self.folder / entry["weights"]["file"], "r") as file:
            return Network(entry["operations"], file, self.image_shape, dtype or self._dtype(entry))

    def _dtype(self, entry: dict) -> tf.DType:
        """The products' type: GPUs are fastest in float16; CPUs in bfloat16, if they have it and the network bears it."""
        if self.precision != "auto":
            return tf.as_dtype(self.precision)
        if tf.config.list_physical_devices("GPU"):
            return tf.float16
        return tf.bfloat16 if entry["bfloat16"] and _has_bfloat16() else tf.float32

    def _factor(self, X: np.ndarray) -> float:
        """What brings the pixels of `X` to 0..255: 255 for fractions in 0..1, which some evaluators pass."""
        least, most = np.fmin.reduce, np.fmax.reduce  # past NaN
        if X.dtype.kind != "f" or least(X, axis=None, initial=0) < 0 or not 0 < most(X, axis=None, initial=0) <= 1:
            return 1.0
        self._warn("the images lie within 0..1; they are multiplied by 255")
        return 255.0

    def _pixels(self, part: np.ndarray, factor: float) -> tf.Tensor:
        if part.dtype.kind != "f":
            return tf.cast(tf.constant(part), tf.float32)
        pixels = part.astype(np.float32)
        if not np.isfinite(pixels).all():
            self._warn("some pixels are not finite; NaN becomes 0, infinity the nearest end of 0..255")
            pixels = np.nan_to_num(pixels, nan=0.0, posinf=255.0 / factor, neginf=0.0)
        return tf.constant(pixels * factor if factor != 1 else pixels)

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            print(f"Warning: {text}.", file=sys.stderr)


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; without, it is slower than float32."""
    file = Path("/proc/cpuinfo")
    return file.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(file.read_text(encoding="utf-8").split())


def _free_memory() -> float:
    """Bytes this process may still take of the machine or its container; infinite where Linux does not tell."""
    bounds = [float("inf")]
    with suppress(OSError, KeyError):
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        bounds.append(float(lines["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # without a limit it says "max"
        limit, used = (Path("/sys/fs/cgroup", name).read_text() for name in ("memory.max", "memory.current"))
        bounds.append(float(limit) - float(used))
    return min(bounds)
