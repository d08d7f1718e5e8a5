"""Mixed precision on CPUs: what stays float32, how far gradients differ, what an overflow costs.

Networks are built and run here, because nothing but TensorFlow's own arithmetic shows it.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from toolkit.core.config import ModelConfig
from toolkit.models import pretrained
from toolkit.models.network import build as build_network

MIXED = ["mixed_float16", "mixed_bfloat16"]
# Of a gradient's difference from float32's, the norm relative to its own: 24 blocks deep, each
# product rounded to 11 bits in float16 and to 8 in bfloat16.
TOLERANCE = {"mixed_float16": 0.06, "mixed_bfloat16": 0.25}
SCALE = {
    "mixed_float16": 1024.0,
    "mixed_bfloat16": 1.0,
}  # of the loss; small gradients are 0 without
SIDE, CLASSES = 32, 8


def build(policy, backbone="convnext-tiny", **options):
    keras.utils.set_random_seed(0)
    config = ModelConfig(backbone=backbone, weights="none", dropout=0.0, **options)
    return build_network(config, (SIDE, SIDE, 3), CLASSES, policy).model


def draw_batch(images):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, SIDE, SIDE, 3)).astype(np.float32)
    return pixels, np.eye(CLASSES, dtype=np.float32)[np.arange(images) % CLASSES]


@pytest.fixture(scope="module")
def reference():
    """ConvNeXt-Tiny in float32 with branches that count, and its gradients by position."""
    model = build("float32")
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":  # made 1e-6: the blocks would hardly count
            layer.set_weights([np.full(layer.gamma.shape, 0.3)])
    return model.get_weights(), compute_gradients(model, 1.0)


def compute_gradients(model, scale):
    pixels, labels = draw_batch(4)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        scaled = scale * loss(labels, model(pixels, training=False))
    found = tape.gradient(scaled, [variable.value for variable in model.trainable_variables])
    return [gradient.numpy() / scale for gradient in found]


@pytest.mark.parametrize("policy", MIXED)
def test_gradients_are_those_of_float32_layer_by_layer(policy, reference):
    """Weights and scores are float32, too; products are not."""
    weights, expected = reference
    model = build(policy)
    model.set_weights(weights)
    assert {variable.dtype for variable in model.variables} == {"float32"}
    assert model.output.dtype == "float32"
    products = [layer for layer in model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert {layer.compute_dtype for layer in products} == {policy.removeprefix("mixed_")}
    gradients = compute_gradients(model, SCALE[policy])
    for variable, found, wanted in zip(model.trainable_variables, gradients, expected):
        assert found.dtype == np.float32, variable.path  # of master weights
        difference = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        assert difference < TOLERANCE[policy], (variable.path, difference)


@pytest.mark.parametrize("kind", ["LayerNormalization", "BatchNormalization"])
def test_norms_are_computed_in_float32(kind):
    """The squares of these values exceed float16."""
    values = (400 + np.random.default_rng(0).normal(0, 8, (64, 32))).astype(np.float16)
    results = []
    for dtype in ("mixed_float16", "float32"):
        layer = getattr(keras.layers, kind)(dtype=dtype)
        results.append(np.asarray(layer(values, training=True), np.float32))
    assert np.isfinite(results[0]).all()
    np.testing.assert_allclose(*results, atol=4e-3)


def compile_model(model):
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    return model


def test_200_steps_in_float16_lose_a_few_at_the_beginning_at_most():
    """Keras begins with a scale of 32768, and halves it after a step that overflows."""
    model = compile_model(build("mixed_float16", "simple-cnn", head_units=(16,)))
    pixels, labels = draw_batch(32)
    losses = model.fit(pixels, labels, batch_size=4, epochs=3, verbose=0).history["loss"]
    lost = 24 - int(model.optimizer.iterations)  # a step that overflows does not count
    losses += model.fit(pixels, labels, batch_size=4, epochs=22, verbose=0).history["loss"]
    assert lost <= 3 and int(model.optimizer.iterations) == 200 - lost
    assert losses[-1] < 0.7 * losses[0]
    assert all(np.isfinite(values).all() for values in model.get_weights())


def test_a_step_that_overflows_changes_nothing_but_the_scale():
    model = compile_model(build("mixed_float16", "simple-cnn", head_units=(16,)))
    pixels, labels = draw_batch(4)
    model.train_on_batch(pixels, labels)
    optimizer = model.optimizer
    optimizer.dynamic_scale.assign(2.0**40)
    before = model.get_weights()
    scale, steps = float(optimizer.dynamic_scale), int(optimizer.iterations)
    model.train_on_batch(pixels, labels)
    assert float(optimizer.dynamic_scale) == scale / 2 and int(optimizer.iterations) == steps
    kernels = [number for number, values in enumerate(before) if values.ndim > 1]
    after = model.get_weights()
    assert all(np.array_equal(before[number], after[number]) for number in kernels)
    for _ in range(40):  # it goes on halving, until steps count again
        model.train_on_batch(pixels, labels)
    assert int(optimizer.iterations) > steps
    assert all(np.isfinite(values).all() for values in model.get_weights())


@pytest.mark.parametrize("policy", MIXED)
def test_a_checkpoint_is_float32_and_fits_a_network_in_float32(policy, tmp_path):
    model = build(policy, "simple-cnn", head_units=(16,))
    pretrained.save(model, tmp_path / "best.npz")
    with np.load(tmp_path / "best.npz") as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype(np.float32)}
    plain = build("float32", "simple-cnn", head_units=(16,))
    for values in plain.weights:
        values.assign(np.zeros(values.shape))
    pretrained.restore(plain, tmp_path / "best.npz")
    pixels, _ = draw_batch(4)
    expected, found = plain(pixels).numpy(), model(pixels).numpy()
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
