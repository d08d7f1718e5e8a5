"""Depthwise convolutions on JAX's CPU, as sums of shifted products.

XLA's grouped convolution is slow on CPUs, and so are its gradients. A depthwise convolution has
little arithmetic for what it reads: the sum over the kernel's places of (shifted image · weight)
becomes one loop. On GPUs cuDNN's kernels are as fast or faster (docs/performance.md).
"""

import math
from typing import Any

import keras

from toolkit.models import backend

# Of a kernel. XLA had not compiled ConvNeXt-Tiny's gradients, with 49 each, after 200 s.
MOST_PLACES = 25


class ShiftedDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """keras.layers.DepthwiseConv2D, computed place by place of its kernel: the same weights, and
    the same results but for rounding.

    Takes images [n, h, w, channels]. Large kernels, dilation and several filters a channel are left
    to Keras.
    """

    def call(self, inputs: Any) -> Any:
        """The convolution of `inputs`, with bias and activation."""
        plain = (
            math.prod(self.kernel_size) <= MOST_PLACES
            and self.depth_multiplier == 1
            and tuple(self.dilation_rate) == (1, 1)
            and self.data_format == "channels_last"
        )
        if not plain:
            return super().call(inputs)
        outputs = convolve(inputs, self.kernel[..., 0], self.strides, self.padding)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)


def convolve(images: Any, kernel: Any, strides: tuple[int, int], padding: str) -> Any:
    """The depthwise convolution of `images` [n, h, w, channels] with `kernel` [kh, kw, channels].

    padding: "same", with zeros and as TensorFlow divides them, or "valid". Height and width have to
    be known.
    """
    rows, columns = kernel.shape[:2]
    heights = _measure(images.shape[1], rows, strides[0], padding)
    widths = _measure(images.shape[2], columns, strides[1], padding)
    images = keras.ops.pad(images, ((0, 0), heights[1:], widths[1:], (0, 0)))
    total = None
    for row in range(rows):
        for column in range(columns):
            below = slice(row, row + (heights[0] - 1) * strides[0] + 1, strides[0])
            beside = slice(column, column + (widths[0] - 1) * strides[1] + 1, strides[1])
            product = images[:, below, beside] * kernel[row, column]
            total = product if total is None else total + product
    return total


def _measure(side: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """Along one axis: the output's length, and the zeros before and after the image."""
    if padding == "valid":
        return (side - kernel) // stride + 1, 0, 0
    length = -(-side // stride)  # rounded up
    zeros = max((length - 1) * stride + kernel - side, 0)
    return length, zeros // 2, zeros - zeros // 2


def layer_class() -> type[keras.layers.DepthwiseConv2D]:
    """The depthwise layer that this process's backend is fast at."""
    slow = backend.name() == "jax" and backend.find_capability() is None
    return ShiftedDepthwiseConv2D if slow else keras.layers.DepthwiseConv2D


def replace_layers(model: keras.Model) -> keras.Model:
    """`model` with its depthwise layers of the class that the backend is fast at; the weights are
    new ones."""
    chosen = layer_class()
    if chosen is keras.layers.DepthwiseConv2D:
        return model

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        kept = type(layer)
        if kept is keras.layers.DepthwiseConv2D:
            kept = chosen
        return kept.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)
