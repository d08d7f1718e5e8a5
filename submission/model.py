"""Labels images with the networks that lie beside this file.

The zip holds, at its root and without folders:

    model.py        this file: all the code there is
    manifest.json   the images' shape, the classes, and for each network its operations in the order
                    they run, its views, its temperature and its weights file
    weights.h5      the weights of the first network by operation and name (weights_2.h5, ... of the
                    others)

`Model().predict(X)` takes the images slice by slice, so that memory stays small. Each network runs
on each slice in one or more views (test-time augmentation), as many as the time limit allows, and
gives class probabilities: the mean over its views, softened by its temperature. These are averaged
over the networks and, where the manifest says so, corrected for the class shares among the images.
The most probable class is the label.

It needs numpy, h5py and TensorFlow 2.16 or later. It does not need Keras, because files that one
version of Keras saves do not load in another: a network is a plain list of TensorFlow operations.
"""

from __future__ import annotations

import time

# Before TensorFlow is imported, which takes seconds: the evaluator's clock runs already.
STARTED = time.monotonic()

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

SLICE = 64  # images predicted at a time, at most
SLICE_MIN = 8  # images predicted at a time by the heaviest networks
SLICE_GFLOP = 800.0  # arithmetic of a slice, at most: heavy networks have large results in between
HALVING_MIN = 16  # images: a smaller slice is too little work for two threads
# Bytes of free memory for each byte of the weights files, from which on all networks are loaded at
# once: a float16 kernel doubles as float32, and as much again is left for the operations' results.
MEMORY_FACTOR = 4
VIEW_STEP = 1 / 16  # of the side: how far views move, and what "closer" leaves out at each edge
SHARES_MIN_IMAGES = 200  # fewer images say too little about the class shares among them
SHARES_ROUNDS = 50  # of expectation maximisation, after which the shares change no more


class Model:
    """The competition's interface: `Model()`, then `predict(X)`."""

    def __init__(
        self,
        folder: str | Path = Path(__file__).resolve().parent,
        precision: str = "auto",
        manifest: dict[str, Any] | None = None,
    ):
        """Loads the networks of manifest.json in `folder`, by default this file's own.

        precision: type of the products in convolutions and dense layers: "float32", "bfloat16",
        "float16", or "auto" for the fastest that this machine has. manifest: replaces the content
        of manifest.json, for example to run other views; the weights files that it names lie in
        `folder` all the same.
        """
        self.folder = Path(folder)
        self.precision = precision
        if manifest is None:
            manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        self.manifest: dict[str, Any] = manifest
        self.image_shape = tuple(self.manifest["image_shape"])
        entries = self.manifest["networks"]
        heaviest = max(entry["gflop"] for entry in entries)
        self.slice = max(SLICE_MIN, min(SLICE, int(SLICE_GFLOP / heaviest)))
        self._images_done = 0  # in all calls so far, of those the manifest expects
        self._warnings: set[str] = set()  # those already printed
        # Where memory cannot hold all networks, each is loaded when its turn comes.
        stored = sum((self.folder / entry["weights"]["file"]).stat().st_size for entry in entries)
        self._keep = len(entries) == 1 or MEMORY_FACTOR * stored < _free_memory()
        self._networks = [self._load(entry) if self._keep else None for entry in entries]

    def predict(self, X: np.ndarray) -> np.ndarray:
        """The class of each image in `X`, numbers 0..255 [n, height, width, 3]: int64 [n].

        Numbers that all lie within 0..1 are taken for pixels divided by 255. Raises ValueError for
        another shape or type, MemoryError where memory cannot hold the results of one image.
        """
        started = time.monotonic()
        first_call = self._images_done == 0
        labels: np.ndarray = self.probabilities(X).argmax(axis=1).astype(np.int64)
        if first_call:  # one line in the log of any evaluator says what ran, and how fast
            dtype = self._product_type(self.manifest["networks"][0]).name
            seconds = time.monotonic() - started
            print(
                f"TensorFlow {tf.__version__}, {dtype}: {len(labels)} images in {seconds:.1f} s",
                file=sys.stderr,
            )
        return labels

    def probabilities(self, X: np.ndarray, views: Sequence[str] | None = None) -> np.ndarray:
        """The probability of each class for each image in `X`: float32 [n, classes].

        The mean over the networks, corrected for class shares where the manifest asks for it.
        views: names in VIEWS, which run instead of those of the manifest.
        """
        X = self._check(X)
        factor = self._pixel_factor(X)
        mean = np.zeros((len(X), len(self.manifest["class_names"])), np.float32)
        for number in range(len(self._networks)):
            mean += self._run_network(number, X, factor, views) / len(self._networks)
        self._images_done += len(X)
        shares = self.manifest.get("class_shares")
        return correct_class_shares(mean, shares) if shares else mean

    def _run_network(
        self, number: int, X: np.ndarray, factor: float, views: Sequence[str] | None
    ) -> np.ndarray:
        """The probabilities that network `number` gives for `X`, slice by slice: [n, classes].

        A slice for which memory runs out is tried again at half the size, and one whose results
        overflow is tried again in float32; both changes hold for the slices that follow.
        """
        entry = self.manifest["networks"][number]
        network = self._networks[number] or self._load(entry)
        deadline = self._deadline(len(X), len(self._networks) - number)
        probabilities = np.zeros((len(X), len(self.manifest["class_names"])), np.float32)
        done = 0
        while done < len(X):
            start, end = _slice_bounds(done, len(X), self.slice)
            pixels = self._to_pixels(X[start:end], factor)
            slice_deadline = _share_of_time(deadline, end - start, len(X) - start)
            try:
                found = _average_views(network, views or entry["views"], pixels, slice_deadline)
            except tf.errors.ResourceExhaustedError:
                self._halve_slices(end - start)
                continue
            if _has_overflowed(network, found):
                network = self._networks[number] = self._load(entry, tf.float32)
                continue
            probabilities[done:end] = found[done - start :]
            done = end
        self._networks[number] = network if self._keep else None
        return apply_temperature(probabilities, entry.get("temperature") or 1.0)

    def _halve_slices(self, size: int) -> None:
        """Makes the slices that follow half of `size`, for which memory ran out."""
        if size == 1:
            raise MemoryError("there is too little memory for a single image") from None
        self.slice = size // 2

    def _deadline(self, images: int, networks_left: int) -> float:
        """When the next of the `networks_left` must be done with its `images`, by `time.monotonic`.

        The manifest's time limit counts from STARTED, as the evaluator's does. What is left of it
        is shared evenly: among the images that this call has of all those still expected, then
        among the networks. Without a limit, the deadline is infinite.
        """
        limit: float | None = self.manifest.get("time_limit")
        if not limit:
            return float("inf")
        now = time.monotonic()
        left = max(0.0, STARTED + limit - now)
        expected: int = self.manifest.get("images") or 0  # in all calls together; 0 where unknown
        share = images / max(images, expected - self._images_done, 1)
        return now + left * share / networks_left

    def _load(self, entry: dict[str, Any], dtype: tf.DType | None = None) -> Network:
        """The network of a manifest `entry`, with products in `dtype`; None for the fastest."""
        with h5py.File(self.folder / entry["weights"]["file"], "r") as file:
            dtype = dtype or self._product_type(entry)
            return Network(entry["operations"], file, self.image_shape, dtype)

    def _product_type(self, entry: dict[str, Any]) -> tf.DType:
        """The type of the products of a manifest `entry` on this machine.

        GPUs are fastest in float16; CPUs in bfloat16, where they have it. Its 8 bits change some
        networks' labels: the manifest says whether this one's stayed the same when it was built.
        """
        if self.precision != "auto":
            return tf.as_dtype(self.precision)
        if tf.config.list_physical_devices("GPU"):
            return tf.float16
        if entry["bfloat16"] and _has_bfloat16():
            return tf.bfloat16
        return tf.float32

    def _check(self, X: np.ndarray) -> np.ndarray:
        """`X` as an array. Raises ValueError where it does not hold images of the right shape."""
        X = np.asarray(X)
        if X.dtype.kind not in "uif":
            raise ValueError(f"images are numbers 0..255, not {X.dtype}")
        if X.ndim != 4 or X.shape[1:] != self.image_shape:
            sides = ", ".join(map(str, self.image_shape))
            raise ValueError(f"images have the shape {X.shape}, expected (n, {sides})")
        return X

    def _pixel_factor(self, X: np.ndarray) -> float:
        """What brings the numbers in `X` to 0..255: 255 where all lie within 0..1, else 1.

        Some evaluators pass pixels divided by 255. Where all are black, the factor does not matter
        and nobody needs the warning.
        """
        if X.dtype.kind != "f":
            return 1.0
        # fmin and fmax ignore NaN, and need no copy of X to do so.
        lowest = np.fmin.reduce(X, axis=None, initial=0)
        highest = np.fmax.reduce(X, axis=None, initial=0)
        if lowest < 0 or not 0 < highest <= 1:
            return 1.0
        self._warn("the images lie within 0..1; they are multiplied by 255")
        return 255.0

    def _to_pixels(self, images: np.ndarray, factor: float) -> tf.Tensor:
        """`images` times `factor` as float32. What is not finite becomes a pixel all the same."""
        if images.dtype.kind != "f":
            return tf.cast(tf.constant(images), tf.float32)
        pixels = images.astype(np.float32)
        if not np.isfinite(pixels).all():
            self._warn(
                "some pixels are not finite; NaN becomes 0, infinity the nearest end of 0..255"
            )
            pixels = np.nan_to_num(pixels, nan=0.0, posinf=255.0 / factor, neginf=0.0)
        return tf.constant(pixels * factor if factor != 1 else pixels)

    def _warn(self, text: str) -> None:
        """Prints a warning, once for each text: a log of a thousand equal lines helps nobody."""
        if text not in self._warnings:
            self._warnings.add(text)
            print(f"Warning: {text}.", file=sys.stderr)


def _slice_bounds(done: int, images: int, most: int) -> tuple[int, int]:
    """Start and end of the next slice of at most `most`, when `done` of the `images` are done.

    All slices have one size, because oneDNN prepares itself anew for each size that it meets. The
    last one reaches back over images that are done instead of being shorter.
    """
    slices = -(-images // most)  # rounded up
    size = -(-images // slices)
    size = min(most, size + size % 2)  # even, because Network.scores halves it
    start = max(0, min(done, images - size))
    return start, min(start + size, images)


def _share_of_time(deadline: float, images: int, images_left: int) -> float:
    """When a slice of `images` must be done, if all of `images_left` must be by `deadline`."""
    now = time.monotonic()
    return now + (deadline - now) * images / images_left


def _has_overflowed(network: Network, probabilities: np.ndarray) -> bool:
    """Whether products in a smaller type made `probabilities` infinite or NaN: float16 ends at
    65,504. Where float32 does so too, no larger type would help."""
    return network.dtype != tf.float32 and not np.isfinite(probabilities).all()


def _average_views(
    network: Network, views: Sequence[str], pixels: tf.Tensor, deadline: float
) -> np.ndarray:
    """The probabilities of `pixels`, the mean over `views`.

    The views come best first. The first always runs; each other only if, at the mean time of those
    before it, it ends by `deadline`.
    """
    started = time.monotonic()
    found: list[np.ndarray] = []
    for view in views:
        now = time.monotonic()
        if found and now + (now - started) / len(found) > deadline:
            break
        scores = network.scores(VIEWS[view](pixels))
        found.append(tf.nn.softmax(scores).numpy())
    mean: np.ndarray = np.mean(found, axis=0)
    return mean


# The network: a list of operations on weights.


class Network:
    """Computes class scores, before the softmax, from pixels 0..255 [n, height, width, 3].

    It runs the manifest's operations one after the other. Each takes the results of earlier ones
    by their names; "pixels" is the network's input, and the last result its output.
    """

    def __init__(
        self,
        operations: list[dict[str, Any]],
        weights: Mapping[str, Mapping[str, Any]],
        image_shape: Sequence[int],
        dtype: tf.DType = tf.float32,
    ):
        """operations: of the manifest. weights: arrays by operation and name, a dict or an open
        HDF5 file. dtype: of the products in convolutions and dense layers."""
        self.operations = operations
        self.dtype = dtype
        read = partial(_read_weights, weights=weights, dtype=dtype)
        # Faster than one by one; two at a time only, so that memory holds the other arrays once
        # and not in the file's type and this one's.
        with ThreadPoolExecutor(2) as pool:
            names = [entry["name"] for entry in operations]
            self.weights = dict(zip(names, pool.map(read, operations)))
        pixels = tf.TensorSpec([None, *image_shape], tf.float32)
        self.graph = tf.function(self._apply_operations, input_signature=[pixels])

    def scores(self, pixels: tf.Tensor) -> np.ndarray:
        """The scores of float32 `pixels`: float32 [n, classes].

        Two halves run side by side: where one of them waits, the other computes.
        """
        if len(pixels) < HALVING_MIN:
            return self._run(pixels)
        middle = len(pixels) // 2
        with ThreadPoolExecutor(2) as pool:
            return np.concatenate(list(pool.map(self._run, (pixels[:middle], pixels[middle:]))))

    def _run(self, pixels: tf.Tensor) -> np.ndarray:
        scores: np.ndarray = self.graph(pixels).numpy()
        return scores

    def _apply_operations(self, pixels: tf.Tensor) -> tf.Tensor:
        """What the graph computes: TensorFlow runs this function once, to record it."""
        results = {"pixels": pixels}
        for entry in self.operations:
            name = entry["name"]
            inputs = [results[source] for source in entry["inputs"]]
            results[name] = OPERATIONS[entry["op"]](inputs, entry, self.weights[name])
        return tf.cast(results[name], tf.float32)


def _read_weights(
    entry: dict[str, Any], weights: Mapping[str, Mapping[str, Any]], dtype: tf.DType
) -> Weights:
    """The tensors of one operation by name, in `dtype` where they are factors of its products."""
    kind = dtype if entry["op"] in ("conv", "dense") else tf.float32
    arrays = weights.get(entry["name"], {})  # many operations have none
    return {key: tf.cast(tf.constant(np.asarray(array)), kind) for key, array in arrays.items()}


# The operations. Each takes its inputs [n, ...], its entry in the manifest, and its weights by
# name. Products run in the type of the weights; norms, means and sums in float32, because they lose
# more to rounding than they would gain in time.

Weights = dict[str, tf.Tensor]
Operation = Callable[[list[tf.Tensor], dict[str, Any], Weights], tf.Tensor]
Activation = Callable[[tf.Tensor], tf.Tensor]


def _linear(values: tf.Tensor) -> tf.Tensor:
    return values


def _gelu(values: tf.Tensor) -> tf.Tensor:
    """In the form that TensorFlow 2.16 to 2.21 all fuse with the product before it; tf.nn.gelu has
    changed its form between them."""
    return 0.5 * values * (1.0 + tf.math.erf(values * 0.7071067811865476))


def _gelu_tanh(values: tf.Tensor) -> tf.Tensor:
    """The approximation of `_gelu`."""
    return tf.nn.gelu(values, approximate=True)


def _softmax(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.softmax(tf.cast(values, tf.float32))


def _hard_sigmoid(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu6(values + 3.0) / 6.0


def _hard_silu(values: tf.Tensor) -> tf.Tensor:
    return values * tf.nn.relu6(values + 3.0) / 6.0


ACTIVATIONS: dict[str, Activation] = {
    "linear": _linear,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": tf.nn.silu,
    "sigmoid": tf.nn.sigmoid,
    "hard_silu": _hard_silu,
    "hard_sigmoid": _hard_sigmoid,
    "tanh": tf.nn.tanh,
    "elu": tf.nn.elu,
    "selu": tf.nn.selu,
    "softplus": tf.nn.softplus,
    "softmax": _softmax,
}


def _finish_product(product: tf.Tensor, entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """`product` with bias and activation. TensorFlow fuses all three into one kernel."""
    activation = ACTIVATIONS[entry.get("activation", "linear")]
    return activation(tf.nn.bias_add(product, tf.cast(weights["bias"], product.dtype)))


def _conv(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    kernel = weights["kernel"]
    values = tf.cast(inputs[0], kernel.dtype)
    convolve = partial(
        tf.nn.conv2d,
        strides=entry["strides"],
        padding=entry["padding"],
        dilations=entry.get("dilation"),
    )
    groups = entry.get("groups", 1)
    if groups == 1:
        return _finish_product(convolve(values, kernel), entry, weights)
    # One by one: not every TensorFlow convolves groups of channels on a CPU.
    parts = zip(tf.split(values, groups, -1), tf.split(kernel, groups, -1))
    product = tf.concat([convolve(*part) for part in parts], -1)
    return _finish_product(product, entry, weights)


def _depthwise(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """In the type of its input: so few multiplications gain less in a smaller type than rounding
    the input for them would cost in accuracy."""
    kernel = tf.cast(weights["kernel"], inputs[0].dtype)
    strides = [1, *entry["strides"], 1]
    product = tf.nn.depthwise_conv2d(
        inputs[0], kernel, strides, entry["padding"], dilations=entry.get("dilation")
    )
    return _finish_product(product, entry, weights)


def _dense(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """The last axis times the kernel. As a product of two matrices, because TensorFlow fuses no
    product of more axes with bias and activation."""
    values, kernel = inputs[0], weights["kernel"]
    rows = tf.reshape(tf.cast(values, kernel.dtype), [-1, values.shape[-1]])
    product = _finish_product(tf.matmul(rows, kernel), entry, weights)
    return tf.reshape(product, [-1, *values.shape[1:-1], kernel.shape[1]])


def _scale(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.cast(inputs[0], tf.float32) * weights["scale"] + weights["offset"]


def _layer_norm(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """Over the last axis, without gamma and beta: these are a scale of their own, or part of the
    product that follows. Mean first, then variance: exact, and as fast as both in one pass."""
    values = tf.cast(inputs[0], tf.float32)
    values -= tf.reduce_mean(values, -1, keepdims=True)
    variance = tf.reduce_mean(values * values, -1, keepdims=True)
    return values * tf.math.rsqrt(variance + entry["epsilon"])


def _resize(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.image.resize(inputs[0], entry["size"])


def _pad(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.pad(inputs[0], [[0, 0], *entry["margins"], [0, 0]])


def _max_pool(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.nn.max_pool2d(inputs[0], entry["size"], entry["strides"], entry["padding"])


def _avg_pool(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    values = tf.cast(inputs[0], tf.float32)
    return tf.nn.avg_pool2d(values, entry["size"], entry["strides"], entry["padding"])


def _crop(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    (top, bottom), (left, right) = entry["margins"]
    height, width = inputs[0].shape[1:3]
    return inputs[0][:, top : height - bottom, left : width - right]


def _max(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.reduce_max(inputs[0], axis=entry.get("axes", [1, 2]), keepdims=entry["keep"])


def _mean(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    values = tf.cast(inputs[0], tf.float32)
    return tf.reduce_mean(values, axis=entry.get("axes", [1, 2]), keepdims=entry["keep"])


def _flatten(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.reshape(inputs[0], [-1, int(np.prod(inputs[0].shape[1:]))])


def _reshape(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.reshape(inputs[0], [-1, *entry["shape"]])


def _transpose_axes(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.transpose(inputs[0], [0, *entry["axes"]])


def _select(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """Of each axis but the first, one place (which removes the axis) or [start, stop, step]."""
    places = [item if isinstance(item, int) else slice(*item) for item in entry["items"]]
    return inputs[0][(slice(None), *places)]


def _constant(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """The same for every image: [1, ...]."""
    return weights["values"][tf.newaxis]


def _embedding(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.gather(weights["table"], tf.cast(inputs[0], tf.int32))


def _attention(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """Of queries, keys and values [n, ..., positions, heads · size], those of each head side by
    side: softmax(query · key / √size) · value (Vaswani et al., arXiv:1706.03762)."""

    def split_heads(values: tf.Tensor) -> tf.Tensor:
        """[n, heads, positions, size]; the axes before `axis` belong to n."""
        *sides, channels = values.shape[entry["axis"] :]
        shape = [-1, int(np.prod(sides)), entry["heads"], channels // entry["heads"]]
        return tf.transpose(tf.reshape(values, shape), [0, 2, 1, 3])

    query, key, value = map(split_heads, inputs)
    scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
    shares = tf.nn.softmax(scores * query.shape[-1] ** -0.5)
    found = tf.matmul(tf.cast(shares, value.dtype), value)
    shape = [-1, *inputs[0].shape[1:-1], inputs[2].shape[-1]]
    return tf.reshape(tf.transpose(found, [0, 2, 1, 3]), shape)


def _matmul(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.matmul(*[tf.cast(values, tf.float32) for values in inputs])


def _add(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    terms = [tf.cast(values, tf.float32) for values in inputs]
    if all(values.shape.as_list() == terms[0].shape.as_list() for values in terms):
        return tf.add_n(terms)
    return sum(terms[1:], terms[0])  # which repeats what is narrower


def _subtract(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.cast(inputs[0], tf.float32) - tf.cast(inputs[1], tf.float32)


def _multiply(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    product = inputs[0]
    for values in inputs[1:]:
        product *= tf.cast(values, product.dtype)
    return product


def _maximum(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    largest = inputs[0]
    for values in inputs[1:]:
        largest = tf.maximum(largest, tf.cast(values, largest.dtype))
    return largest


def _concatenate(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """Along the channels, where no other axis is given."""
    return tf.concat([tf.cast(values, tf.float32) for values in inputs], entry.get("axis", -1))


def _prelu(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    return tf.nn.relu(inputs[0]) - tf.cast(weights["slope"], inputs[0].dtype) * tf.nn.relu(
        -inputs[0]
    )


def _leaky_relu(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
    """Not tf.nn.leaky_relu: TensorFlow 2.21 on CPUs runs convolution, bias, sum and leaky ReLU as
    one operation, whose slope is always 0.2."""
    return tf.maximum(inputs[0], entry["slope"] * inputs[0])


def _activation_operation(activation: Activation) -> Operation:
    """`activation` as an operation of its own, where no product comes before it."""

    def activate(inputs: list[tf.Tensor], entry: dict[str, Any], weights: Weights) -> tf.Tensor:
        return activation(inputs[0])

    return activate


OPERATIONS: dict[str, Operation] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "dense": _dense,
    "scale": _scale,
    "layer_norm": _layer_norm,
    "resize": _resize,
    "pad": _pad,
    "crop": _crop,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "mean": _mean,
    "max": _max,
    "flatten": _flatten,
    "reshape": _reshape,
    "transpose": _transpose_axes,
    "select": _select,
    "constant": _constant,
    "embedding": _embedding,
    "attention": _attention,
    "matmul": _matmul,
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "maximum": _maximum,
    "concatenate": _concatenate,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    **{name: _activation_operation(function) for name, function in ACTIVATIONS.items()},
}


# The views of test-time augmentation: ways of looking at images [n, height, width, 3] that keep
# their classes. Each gives pixels of the same shape.


def _identity(images: tf.Tensor) -> tf.Tensor:
    return images


def _transpose(images: tf.Tensor, flipped_axes: Sequence[int] = ()) -> tf.Tensor:
    """Rows become columns, then `flipped_axes` are reversed: with one of them, a quarter turn."""
    images = tf.transpose(images, [0, 2, 1, 3])
    return tf.reverse(images, flipped_axes) if flipped_axes else images


def _window(
    images: tf.Tensor, down: float = 0.0, right: float = 0.0, margin: float = 0.0
) -> tf.Tensor:
    """`images` through a window that lies `down` and `right` of them and leaves a `margin` out.

    All three are shares of the side, and may be negative. Where the window shows no image, the
    pixels of its edge are repeated. With a margin, the result is resized to the images' own shape.
    """
    height, width = images.shape[1:3]
    for axis, side, start in ((1, height, down), (2, width, right)):
        first, end = round((start + margin) * side), side + round((start - margin) * side)
        places = tf.clip_by_value(tf.range(first, end), 0, side - 1)
        images = tf.gather(images, places, axis=axis)
    return tf.image.resize(images, [height, width]) if margin else images


VIEWS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "identity": _identity,
    "mirror": partial(tf.reverse, axis=[2]),
    "flip": partial(tf.reverse, axis=[1]),
    "half-turn": partial(tf.reverse, axis=[1, 2]),
    "up": partial(_window, down=VIEW_STEP),
    "down": partial(_window, down=-VIEW_STEP),
    "left": partial(_window, right=VIEW_STEP),
    "right": partial(_window, right=-VIEW_STEP),
    "closer": partial(_window, margin=VIEW_STEP),
    "farther": partial(_window, margin=-VIEW_STEP),
    # From here on for square images only: height and width change places.
    "quarter-turn": partial(_transpose, flipped_axes=[1]),
    "three-quarter-turn": partial(_transpose, flipped_axes=[2]),
    "transpose": _transpose,
    "anti-transpose": partial(_transpose, flipped_axes=[1, 2]),
}


# After the networks: corrections of probabilities that need no training.


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """`probabilities` [n, classes] as the softmax of scores divided by `temperature` gives them.

    A temperature above 1 makes them less certain (Guo et al., On Calibration of Modern Neural
    Networks, 2017). It works on probabilities, because those of several views are averaged before:
    dividing scores and raising probabilities to a power are the same up to the normalisation.
    """
    # A probability that has rounded to 0 has no power that brings it back.
    positive = np.maximum(probabilities, np.finfo(np.float32).tiny)
    powers = positive ** np.float32(1 / temperature)
    normalised: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return normalised


def correct_class_shares(probabilities: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """`probabilities` [n, classes] of images whose class shares are not those of training.

    shares: of the classes among the training images, [classes]. Those among these images are
    unknown, and expectation maximisation estimates both together: the probabilities are weighted by
    how much commoner each class is here than in training, and their mean is the next estimate of
    the shares. Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a
    Priori Probabilities, Neural Computation 14, 2002. Few images are returned as they are.
    """
    if len(probabilities) < SHARES_MIN_IMAGES:
        return probabilities
    trained_shares = np.asarray(shares)
    estimate = trained_shares
    adjusted: np.ndarray = probabilities
    for _ in range(SHARES_ROUNDS):
        adjusted = probabilities * (estimate / trained_shares).astype(np.float32)
        adjusted /= adjusted.sum(axis=1, keepdims=True)
        estimate = adjusted.mean(axis=0)
    return adjusted


# What this machine has.


def _has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; without, it is slower than float32."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return False
    words = file.read_text(encoding="utf-8").split()
    return "avx512_bf16" in words or "amx_bf16" in words


def _free_memory() -> float:
    """Bytes that this process may still take, of the machine's memory and of its container's.

    Infinite where there is no Linux to say so.
    """
    bounds = [float("inf")]
    with suppress(OSError, KeyError):
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
        lines = dict(line.split(":") for line in text.splitlines())
        kilobytes = lines["MemAvailable"].split()[0]
        bounds.append(float(kilobytes) * 1024)
    # ValueError: a container without a limit says "max".
    with suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="utf-8")
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="utf-8")
        bounds.append(float(limit) - float(used))
    return min(bounds)
