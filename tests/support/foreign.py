"""Image classifiers whose code others wrote, as zips:

    python -m tests.support.foreign [NAME...]

Each network here is built anew from the layers that its source lists, with random weights and
statistics, saved as .keras, and built as `cbtool build --model` does. A row has the largest
difference of scores before weights are stored, and the share of labels that agree with
model.predict, for weights stored in float32 and in float16; or the error of the build.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from submission.model import Model
from toolkit.core.errors import CbtoolError
from toolkit.data import synthetic
from toolkit.export import package, saved_model

SHAPE = (96, 96, 3)
CLASSES = 8
IMAGES_PER_CLASS = 16
BATCH = 32


def mini_xception() -> keras.Model:
    """keras-team/keras-io, image_classification_from_scratch.py."""
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(128, 3, strides=2, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    previous = x
    for filters in (256, 512):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.SeparableConv2D(filters, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(previous)])
        previous = x
    x = layers.SeparableConv2D(728, 3, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def convmixer() -> keras.Model:
    """keras-team/keras-io, convmixer.py: ConvMixer-256/8 with patches of 2."""
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(256, 2, strides=2)(x)
    x = layers.BatchNormalization()(layers.Activation("gelu")(x))
    for _ in range(8):
        before = x
        x = layers.DepthwiseConv2D(5, padding="same")(x)
        x = layers.Add()([layers.BatchNormalization()(layers.Activation("gelu")(x)), before])
        x = layers.Conv2D(256, 1)(x)
        x = layers.BatchNormalization()(layers.Activation("gelu")(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def _encode(x, heads: int, size: int, units: tuple[int, ...], activation: str, epsilon: float):
    """A block of a transformer, norms first."""
    normed = layers.LayerNormalization(epsilon=epsilon)(x)
    x = layers.Add()([layers.MultiHeadAttention(heads, size, dropout=0.1)(normed, normed), x])
    y = layers.LayerNormalization(epsilon=epsilon)(x)
    for each in units:
        y = layers.Dropout(0.1)(layers.Dense(each, activation=activation)(y))
    return layers.Add()([y, x])


def _mobile_block(x, expanded: int, filters: int, strides: int = 1):
    y = layers.Conv2D(expanded, 1, padding="same", use_bias=False)(x)
    y = keras.activations.silu(layers.BatchNormalization()(y))
    padding = "same"
    if strides == 2:
        y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
        padding = "valid"
    y = layers.DepthwiseConv2D(3, strides, padding, use_bias=False)(y)
    y = keras.activations.silu(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(filters, 1, padding="same", use_bias=False)(y))
    return layers.Add()([y, x]) if x.shape[-1] == filters and strides == 1 else y


def mobilevit() -> keras.Model:
    """keras-team/keras-io, mobilevit.py: MobileViT-XXS; attention over all of [4, patches]."""
    inputs = keras.Input(SHAPE)

    def convolve(x, filters, size=3, strides=1):
        return layers.Conv2D(filters, size, strides, "same", activation="silu")(x)

    x = convolve(layers.Rescaling(1 / 255)(inputs), 16, strides=2)
    x = _mobile_block(x, 32, 16)
    x = _mobile_block(x, 32, 24, 2)
    x = _mobile_block(_mobile_block(x, 48, 24), 48, 24)
    for filters, size, blocks in ((48, 64, 2), (64, 80, 4), (80, 96, 3)):
        x = _mobile_block(x, 2 * x.shape[-1], filters, 2)
        local = convolve(convolve(x, size), size, 1)
        # The last map is 3 × 3 for these images: no four patches, so each position is one.
        positions = local.shape[1] * local.shape[2]
        depth = 4 if positions % 4 == 0 else 1
        y = layers.Reshape((depth, positions // depth, size))(local)
        for _ in range(blocks):
            y = _encode(y, 2, size, (2 * size, size), "silu", 1e-6)
        y = layers.Reshape((*local.shape[1:3], size))(y)
        x = convolve(layers.Concatenate()([x, convolve(y, x.shape[-1], 1)]), size)
    x = layers.GlobalAveragePooling2D()(convolve(x, 320, 1))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


def _positions(count: int, size: int):
    """An embedding of positions, as a constant in the graph."""
    return layers.Embedding(count, size)(ops.arange(count))


def vit() -> keras.Model:
    """keras-team/keras-io, image_classification_with_vision_transformer.py, its patches and
    positions in layers of Keras."""
    inputs = keras.Input(SHAPE)
    x = layers.Resizing(72, 72)(layers.Rescaling(1 / 127.5, -1)(inputs))
    x = layers.Reshape((-1, 64))(layers.Conv2D(64, 6, strides=6)(x))
    x = x + _positions(144, 64)
    for _ in range(8):
        x = _encode(x, 4, 64, (128, 64), "gelu", 1e-6)
    x = layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x))
    for units in (2048, 1024):
        x = layers.Dropout(0.5)(layers.Dense(units, activation="gelu")(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


@keras.saving.register_keras_serializable("foreign")
class PatchEncoder(layers.Layer):
    """The source's own layer: a projection of patches plus their positions."""

    def __init__(self, count: int, size: int, **settings):
        super().__init__(**settings)
        self.count = count
        self.size = size
        self.projection = layers.Dense(size)
        self.positions = layers.Embedding(count, size)

    def build(self, shape):
        self.projection.build(shape)
        self.positions.build((self.count,))

    def call(self, patches):
        return self.projection(patches) + self.positions(ops.arange(self.count))

    def get_config(self):
        return super().get_config() | {"count": self.count, "size": self.size}


def vit_as_written() -> keras.Model:
    """The same with the source's own layer."""
    inputs = keras.Input(SHAPE)
    x = layers.Reshape((-1, 64))(layers.Conv2D(64, 6, strides=6)(inputs))
    x = _encode(PatchEncoder(x.shape[1], 64)(x), 4, 64, (128, 64), "gelu", 1e-6)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def mlp_mixer() -> keras.Model:
    """keras-team/keras-io, mlp_image_classification.py: MLP-Mixer."""
    inputs = keras.Input(SHAPE)
    x = layers.Resizing(64, 64)(layers.Rescaling(1 / 127.5, -1)(inputs))
    x = layers.Reshape((-1, 256))(layers.Conv2D(256, 8, strides=8)(x))
    for _ in range(4):
        y = layers.Permute((2, 1))(layers.LayerNormalization(epsilon=1e-6)(x))
        y = layers.Dense(64)(layers.Dense(64, activation="gelu")(y))
        x = layers.Permute((2, 1))(layers.Dropout(0.2)(y)) + x
        y = layers.Dense(64, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x))
        x = x + layers.Dropout(0.2)(layers.Dense(256)(y))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def compact_transformer() -> keras.Model:
    """keras-team/keras-io, cct.py: CCT-2/3×2, its tokenizer and pooling in layers and functions of
    Keras."""
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(inputs)
    for filters in (64, 128):
        x = layers.Conv2D(filters, 3, use_bias=False, activation="relu")(x)
        x = layers.MaxPooling2D(3, 2, "same")(layers.ZeroPadding2D(1)(x))
    x = layers.Reshape((-1, 128))(x)
    x = x + _positions(x.shape[1], 128)
    for _ in range(2):
        x = _encode(x, 2, 128, (128, 128), "gelu", 1e-5)
    x = layers.LayerNormalization(epsilon=1e-5)(x)
    shares = ops.softmax(layers.Dense(1)(x), axis=1)
    pooled = ops.squeeze(ops.matmul(ops.transpose(shares, (0, 2, 1)), x), -2)
    return keras.Model(inputs, layers.Dense(CLASSES)(pooled))


def _squeeze_excite(x, ratio: int = 16):
    y = layers.Reshape((1, 1, x.shape[-1]))(layers.GlobalAveragePooling2D()(x))
    y = layers.Dense(x.shape[-1] // ratio, activation="relu", use_bias=False)(y)
    y = layers.Dense(x.shape[-1], activation="sigmoid", use_bias=False)(y)
    return layers.Multiply()([x, y])


def _norm_leaky(x):
    return layers.LeakyReLU()(layers.BatchNormalization()(x))


def _grouped(x, filters: int, groups: int, strides: int, slices: bool):
    """A convolution by groups; slices: as the source makes it, one convolution a group."""
    if not slices:
        return layers.Conv2D(filters, 3, strides, "same", groups=groups, use_bias=False)(x)
    size = filters // groups
    parts = []
    for group in range(groups):
        cut = layers.Lambda(lambda z, at=group * size: z[..., at : at + size])(x)
        parts.append(layers.Conv2D(size, 3, strides, "same", use_bias=False)(cut))
    return layers.concatenate(parts)


def _se_resnext(slices: bool) -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = layers.Resizing(32, 32)(inputs)  # the size of the source's images
    x = _norm_leaky(layers.Conv2D(64, 3, padding="same", use_bias=False)(x))
    for stage, filters in enumerate((64, 128, 256)):
        for block in range(2):
            strides = 2 if stage and not block else 1
            before = x
            if before.shape[-1] != 2 * filters:
                before = layers.Conv2D(2 * filters, 1, strides, "same", use_bias=False)(before)
                before = layers.BatchNormalization()(before)
            x = _norm_leaky(layers.Conv2D(filters, 1, padding="same", use_bias=False)(x))
            x = _norm_leaky(_grouped(x, filters, 8, strides, slices))
            x = layers.Conv2D(2 * filters, 1, padding="same", use_bias=False)(x)
            x = _squeeze_excite(layers.BatchNormalization()(x))
            x = layers.LeakyReLU()(layers.add([before, x]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(CLASSES, use_bias=False, activation="softmax")(x))


def se_resnext() -> keras.Model:
    """titu1994/keras-squeeze-excite-network, se_resnext.py, shortened to 2 blocks a stage, with
    Conv2D(groups=8)."""
    return _se_resnext(slices=False)


def se_resnext_as_written() -> keras.Model:
    """The same with the source's Lambda layers, which cut the groups out."""
    return _se_resnext(slices=True)


def squeezenet() -> keras.Model:
    """rcmalli/keras-squeezenet, squeezenet.py."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(64, 3, strides=2)(inputs)
    x = layers.MaxPooling2D(3, 2)(layers.Activation("relu")(x))
    for number, size in enumerate((16, 16, 32, 32, 48, 48, 64, 64), 2):
        x = layers.Activation("relu")(layers.Conv2D(size, 1)(x))
        left = layers.Activation("relu")(layers.Conv2D(4 * size, 1)(x))
        right = layers.Activation("relu")(layers.Conv2D(4 * size, 3, padding="same")(x))
        x = layers.concatenate([left, right], axis=3)
        if number in (3, 5):
            x = layers.MaxPooling2D(3, 2)(x)
    x = layers.Conv2D(CLASSES, 1)(layers.Dropout(0.5)(x))
    x = layers.GlobalAveragePooling2D()(layers.Activation("relu")(x))
    return keras.Model(inputs, layers.Activation("softmax")(x))


def _ghost(x, filters: int, relu: bool):
    """Half of the channels from a convolution, the other half from these."""

    def finish(y):
        y = layers.BatchNormalization()(y)
        return layers.ReLU()(y) if relu else y

    primary = finish(layers.Conv2D(filters // 2, 1, use_bias=False)(x))
    cheap = finish(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(primary))
    return layers.Concatenate()([primary, cheap])


def ghostnet() -> keras.Model:
    """Han et al., arXiv:1911.11907, table 1, without its last three stages; implementations:
    CarloLepelaars/ghostnet_tf2."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(16, 3, 2, "same", use_bias=False)(layers.Rescaling(1 / 255)(inputs))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for size, expanded, filters, excite, strides in (
        (3, 16, 16, False, 1),
        (3, 48, 24, False, 2),
        (3, 72, 24, False, 1),
        (5, 72, 40, True, 2),
        (5, 120, 40, True, 1),
        (3, 240, 80, False, 2),
        (3, 200, 80, False, 1),
    ):
        before = x
        x = _ghost(x, expanded, relu=True)
        if strides == 2:
            x = layers.DepthwiseConv2D(size, 2, "same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
        if excite:
            y = layers.GlobalAveragePooling2D(keepdims=True)(x)
            y = layers.Conv2D(expanded // 4, 1, activation="relu")(y)
            y = layers.Conv2D(expanded, 1, activation="hard_sigmoid")(y)
            x = layers.Multiply()([x, y])
        x = _ghost(x, filters, relu=False)
        if strides == 2 or before.shape[-1] != filters:
            before = layers.DepthwiseConv2D(size, strides, "same", use_bias=False)(before)
            before = layers.BatchNormalization()(before)
            before = layers.Conv2D(filters, 1, use_bias=False)(before)
            before = layers.BatchNormalization()(before)
        x = layers.Add()([x, before])
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(480, 1)(x))
    x = layers.Flatten()(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    network.__name__: network
    for network in (
        mini_xception,
        convmixer,
        mobilevit,
        vit,
        vit_as_written,
        mlp_mixer,
        compact_transformer,
        se_resnext,
        se_resnext_as_written,
        squeezenet,
        ghostnet,
    )
}


def make_network(name: str, pixels: np.ndarray) -> keras.Model:
    """The network `name` with random weights. Norms have the statistics of `pixels`, and each
    class's scores of them spread alike: else the rounding of features that hardly differ decides
    the labels."""
    rng = np.random.default_rng(0)
    model = NETWORKS[name]()
    for variable in model.weights:
        if variable.path.endswith(("bias", "beta")):
            variable.assign(rng.normal(0, 0.1, variable.shape))
        elif variable.path.endswith(("gamma", "alpha")):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(pixels[::2], training=True)
    last = model.layers[-1]
    if isinstance(last, layers.Dense) and last.use_bias:
        kernel, bias = last.get_weights()
        features = keras.Model(model.inputs[0], last.input)(pixels[::2])
        scores = np.asarray(features) @ kernel + bias
        mean, deviation = scores.mean(0), scores.std(0)
        last.set_weights([kernel / deviation, (bias - mean) / deviation])
    return model


def print_row(name: str, folder: Path) -> None:
    """Builds the network `name` in `folder` and prints how that went."""
    drawn = synthetic.draw(IMAGES_PER_CLASS)
    samples = drawn.take(np.arange(CLASSES * IMAGES_PER_CLASS))
    pixels = samples.images.astype(np.float32)
    model = make_network(name, pixels)
    model.save(folder / "model.keras")
    source = " ".join((NETWORKS[name].__doc__ or "").split())
    expected = model.predict(pixels, batch_size=BATCH, verbose=0).argmax(1)
    agreements = []
    try:
        read = saved_model.read_model(folder / "model.keras", SHAPE)
        for dtype in ("float32", "float16"):  # of the stored weights
            comparison = package.export_model(read, samples, folder / dtype, dtype)
            agreements.append(np.mean(Model(folder / dtype).predict(samples.images) == expected))
    except CbtoolError as error:
        sentence = error.sentence.replace(f" of {folder / 'model.keras'}", "")
        print(f"| {name} | {source} | refused: {sentence} | | |", flush=True)
        return
    exact = comparison.steps[-3].max_relative_difference  # after all rewrites, weights in float32
    agree = " | ".join(f"{agreement:.3f}" for agreement in agreements)
    print(f"| {name} | {source} | {exact:.1e} | {agree} |", flush=True)


if __name__ == "__main__":
    print(
        "| network | source | largest relative difference | labels agree | with float16 weights |"
    )
    print("| --- " * 5 + "|")
    for wanted in sys.argv[1:] or NETWORKS:
        keras.backend.clear_session()
        with tempfile.TemporaryDirectory() as place:
            print_row(wanted, Path(place))
