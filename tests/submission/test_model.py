"""The submission's own interface: what it takes, what it does when time or memory run short, views
and ensembles."""

import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

import submission.model
from submission.model import ENOUGH, SLICE, VIEWS, Model, Network, rebalanced, tempered
from tests.support.commands import ROOT
from toolkit.export import package
from toolkit.training import run_folder


@pytest.fixture
def folder(evaluated, tmp_path):
    """A copy of the package, whose manifest a test may change."""
    copy = shutil.copytree(run_folder.Run(evaluated).package, tmp_path / "package")
    with_manifest(copy, {"views": ["identity"], "temperature": None}, class_shares=None)
    return copy


def with_manifest(folder, network=(), **changes) -> Model:
    manifest = package.read_manifest(folder)
    manifest["networks"][0] |= dict(network)
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    return Model(folder)


def test_predict_takes_any_number_and_type(folder, cells):
    model, images = Model(folder), cells.images[:100]
    whole = model.predict(images)
    assert whole.dtype == np.int64 and whole.shape == (100,)
    assert SLICE < 100
    for dtype in (np.float16, np.float32, np.float64, np.int32, np.uint16):
        assert np.array_equal(model.predict(images.astype(dtype)), whole)
    assert np.array_equal(model.predict(images[::2]), whole[::2])  # not contiguous
    assert np.array_equal(model.predict(images[:, :, ::-1][:, :, ::-1]), whole)
    images.flags.writeable = False
    assert np.array_equal(model.predict(images), whole)
    assert np.array_equal(model.predict(images[:1]), whole[:1])
    assert model.predict(images[:0]).shape == (0,) and model.predict(images[:0]).dtype == np.int64
    assert np.array_equal(model.predict(list(images[:3])), whole[:3])


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 127, 130])
def test_slices_have_one_size_and_every_image_is_predicted_once(folder, cells, n):
    model, sizes = Model(folder), []
    whole = model._networks[0].scores
    expected = model.probabilities(cells.images[:n])
    model._networks[0].scores = lambda pixels: sizes.append(len(pixels)) or whole(pixels)
    assert np.array_equal(model.probabilities(cells.images[:n]), expected)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert len(set(sizes)) == 1 and sum(sizes) - n < 2 * len(sizes)
    last = model.probabilities(cells.images[n - 1 : n])
    np.testing.assert_allclose(expected[-1:], last, atol=2e-3)


def test_predict_names_the_shape_it_expects(folder, cells):
    model = Model(folder)
    for wrong in (
        cells.images[0],
        cells.images[:2, :64],
        cells.images[:2, ..., 0],
        np.zeros(0),
        np.float32(3),
    ):
        with pytest.raises(ValueError, match=r"have the shape \(.*\), expected \(n, 96, 96, 3\)"):
            model.predict(wrong)
    with pytest.raises(ValueError, match=r"numbers 0\.\.255, not"):
        model.predict(np.full((1, 96, 96, 3), "x"))


def test_fractions_are_brought_to_pixels_with_one_warning(folder, cells, capsys):
    model, images = Model(folder), cells.images[:70]
    expected = model.predict(images)
    for _ in range(2):
        assert np.array_equal(model.predict(images / 255), expected)
        assert np.array_equal(model.predict((images / 255).astype(np.float32)), expected)
    assert capsys.readouterr().err.count("multiplied by 255") == 1
    assert np.array_equal(
        model.predict(np.zeros_like(images)), model.predict(np.zeros(images.shape))
    )  # black is black


def test_numbers_that_are_none_are_replaced_with_one_warning(folder, cells, capsys):
    model, images = Model(folder), cells.images[:70].astype(np.float32)
    images[::2, :9], images[1::2, 0] = 0, 255
    broken = images.copy()
    broken[::2, :9] = np.nan
    assert np.array_equal(model.predict(broken / 255), model.predict(images))
    broken[1::2, 0] = np.inf
    kept = broken.copy()
    assert np.array_equal(model.predict(broken), model.predict(images))
    assert np.array_equal(broken, kept, equal_nan=True), "predict changed its input"
    assert capsys.readouterr().err.count("NaN becomes 0") == 1


def test_the_first_call_leaves_a_line_in_the_log(folder, cells, capsys):
    model = Model(folder)
    for _ in range(3):
        model.predict(cells.images[:5])
    log = capsys.readouterr().err
    assert log.count(f"TensorFlow {tf.__version__}") == 1 and "5 images in" in log


def test_slices_are_halved_when_memory_runs_out(folder, cells, monkeypatch):
    model = Model(folder)
    expected = model.probabilities(cells.images[:50])
    whole, sizes = model._networks[0].scores, []

    def scores(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 5:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return whole(pixels)

    model._networks[0].scores = scores
    np.testing.assert_allclose(model.probabilities(cells.images[:50]), expected, atol=1e-5)
    assert sizes == [50, 25, 10] + [5] * 10
    model._networks[0].scores = lambda pixels: scores(np.zeros(6))
    with pytest.raises(MemoryError, match="single image"):
        model.probabilities(cells.images[:1])


def test_half_precision_that_overflows_gives_way_to_float32(folder, cells):
    """As float16 on a GPU might: weights so large that its sums end at infinity."""
    expected = Model(folder, "float32").probabilities(cells.images[:8])
    model = Model(folder, "float16")
    first = next(weights for weights in model._networks[0].weights.values() if "kernel" in weights)
    first["kernel"] *= 6e4
    np.testing.assert_allclose(model.probabilities(cells.images[:8]), expected, atol=1e-5)
    assert model._networks[0].dtype == tf.float32


@pytest.mark.parametrize("view", VIEWS)
def test_views_keep_shape_and_range(view, cells):
    pixels = tf.constant(cells.images[:2], tf.float32)
    seen = VIEWS[view](pixels)
    assert seen.shape == pixels.shape
    assert float(tf.reduce_min(seen)) >= 0 and float(tf.reduce_max(seen)) <= 255
    assert (view == "identity") == bool(tf.reduce_all(seen == pixels))


def test_views_by_hand():
    """A picture of one row and column that count up."""
    pixels = tf.constant(np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1))
    rows = {
        "mirror": [3, 2, 1, 0],
        "flip": [12, 13, 14, 15],
        "half-turn": [15, 14, 13, 12],
        "quarter-turn": [3, 7, 11, 15],
        "three-quarter-turn": [12, 8, 4, 0],
        "transpose": [0, 4, 8, 12],
        "anti-transpose": [15, 11, 7, 3],
    }
    for view, expected in rows.items():
        assert VIEWS[view](pixels)[0, 0, :, 0].numpy().tolist() == expected, view
    moved = submission.model._window(pixels, down=0.25)[0, :, 0, 0].numpy().tolist()
    assert moved == [4, 8, 12, 12]
    moved = submission.model._window(pixels, right=-0.5)[0, 0, :, 0].numpy().tolist()
    assert moved == [0, 0, 0, 1]


def test_probabilities_are_the_mean_over_the_views(folder, cells):
    images, views = cells.images[:40], ["identity", "mirror", "quarter-turn", "up"]
    model = with_manifest(folder, {"views": views})
    single = Model(folder)
    single.manifest["networks"][0]["views"] = ["identity"]
    seen = [VIEWS[view](tf.constant(images, tf.float32)).numpy() for view in views]
    expected = np.mean([single.probabilities(pictures) for pictures in seen], axis=0)
    np.testing.assert_allclose(model.probabilities(images), expected, atol=1e-5)


def test_a_manifest_given_to_the_constructor_replaces_the_file(folder, cells):
    images = cells.images[:10]
    written = (folder / "manifest.json").read_bytes()
    manifest = package.read_manifest(folder)
    manifest["networks"][0]["views"] = ["mirror"]
    given = Model(folder, manifest=manifest)
    assert (folder / "manifest.json").read_bytes() == written
    mirrored = Model(folder).probabilities(images[:, :, ::-1])
    assert np.array_equal(given.probabilities(images), mirrored)
    assert not np.array_equal(mirrored, Model(folder).probabilities(images))
    (folder / "manifest.json").unlink()
    assert np.array_equal(Model(folder, manifest=manifest).probabilities(images), mirrored)


def test_steps_after_training_are_taken_as_the_manifest_says(folder, cells):
    images = np.resize(cells.images, (ENOUGH, *cells.images.shape[1:]))
    plain = Model(folder).probabilities(images)
    warm = with_manifest(folder, {"temperature": 2.0}).probabilities(images)
    np.testing.assert_allclose(warm, tempered(plain, 2.0), atol=1e-6)
    shares = [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    model = with_manifest(folder, {"temperature": None}, class_shares=shares)
    np.testing.assert_allclose(model.probabilities(images), rebalanced(plain, shares), atol=1e-6)
    few = images[: ENOUGH - 1]
    np.testing.assert_allclose(model.probabilities(few), plain[: ENOUGH - 1], atol=2e-3)


class Clock:
    """Stands in for the time module: moves only when a network works."""

    def __init__(self, started):
        self.now = started

    def monotonic(self):
        return self.now


@pytest.mark.parametrize(("limit", "passes"), [(1e6, 4), (40 * 2.5, 2), (40 * 1.5, 1), (10.0, 1)])
def test_views_are_taken_as_far_as_time_allows(folder, cells, monkeypatch, limit, passes):
    """Each image takes a second a view: 40 images within `limit` seconds get that many views, on
    average."""
    model = with_manifest(
        folder, {"views": ["identity", "mirror", "flip", "half-turn"]}, time_limit=limit, images=0
    )
    model.slice = 4
    clock, looked_at, whole = Clock(submission.model.STARTED), [], model._networks[0].scores

    def scores(pixels):
        clock.now += len(pixels)
        looked_at.append(len(pixels))
        return whole(pixels)

    monkeypatch.setattr(submission.model, "time", clock)
    model._networks[0].scores = scores
    model.probabilities(cells.images[:40])
    assert passes * 40 <= sum(looked_at) <= (passes + 0.6) * 40
    if limit > 40:
        assert clock.now - submission.model.STARTED <= limit


def test_calls_share_the_time_as_they_share_the_images(folder, cells, monkeypatch):
    """A quarter of the images gets a quarter of 80 seconds: two views of four, in each of four
    calls."""
    views = ["identity", "mirror", "flip", "half-turn"]
    model = with_manifest(folder, {"views": views}, time_limit=80.0, images=40)
    model.slice = 2
    clock, whole = Clock(submission.model.STARTED), model._networks[0].scores

    def scores(pixels):
        clock.now += len(pixels)
        return whole(pixels)

    monkeypatch.setattr(submission.model, "time", clock)
    model._networks[0].scores = scores
    ends = []
    for start in range(0, 40, 10):
        model.probabilities(cells.images[start : start + 10])
        ends.append(clock.now - submission.model.STARTED)
    assert ends == [20, 40, 60, 80]


def test_the_time_limit_counts_from_the_start_of_the_process(folder, cells):
    """A real process with a second's limit, long past when predict is called: the plain answer."""
    with_manifest(folder, {"views": ["identity", *(["mirror"] * 500)]}, time_limit=1.0, images=0)
    code = (
        "import sys, time, numpy as np; from model import Model; m = Model(); X = np.zeros((64, "
        "96, 96, 3), np.uint8);"
        "m.predict(X); s = time.monotonic(); m.predict(X); print(time.monotonic() - s)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 10  # 501 views would take minutes


def test_networks_are_averaged_and_loaded_in_turn_when_memory_is_short(folder, cells, monkeypatch):
    manifest = package.read_manifest(folder)
    other = json.loads(json.dumps(manifest["networks"][0]))
    other["weights"]["file"], other["views"] = "weights_2.h5", ["mirror"]
    shutil.copy(folder / "weights.h5", folder / "weights_2.h5")
    images = cells.images[:40]
    plain = with_manifest(folder, {"views": ["identity"]}).probabilities(images)
    mirrored = with_manifest(folder, {"views": ["mirror"]}).probabilities(images)
    both = with_manifest(
        folder,
        {"views": ["identity"]},
        networks=[manifest["networks"][0] | {"views": ["identity"]}, other],
    )
    assert both._keep and all(both._networks)
    np.testing.assert_allclose(both.probabilities(images), (plain + mirrored) / 2, atol=1e-6)
    monkeypatch.setattr(submission.model, "_free_memory", lambda: 1000.0)
    in_turn = Model(folder)
    assert not in_turn._keep and not any(in_turn._networks)
    for _ in range(2):
        np.testing.assert_allclose(in_turn.probabilities(images), (plain + mirrored) / 2, atol=1e-6)
        assert not any(in_turn._networks)


def test_free_memory_is_what_the_machine_says():
    free = submission.model._free_memory()
    assert 1e7 < free < 1e14


def test_the_same_images_give_the_same_bits(folder, cells):
    model = Model(folder)
    first = model.probabilities(cells.images[:64])
    assert np.array_equal(first, model.probabilities(cells.images[:64]))
    assert np.array_equal(first, Model(folder).probabilities(cells.images[:64]))


def test_products_alone_run_in_the_reduced_type():
    """A dense layer in bfloat16, and a sum, which is float32."""
    kernel = np.array([[1.001]], np.float32)
    operations = [
        {"name": "flat", "op": "flatten", "inputs": ["pixels"]},
        {"name": "product", "op": "dense", "inputs": ["flat"]},
        {"name": "sum", "op": "add", "inputs": ["flat", "product"]},
    ]
    weights = {"product": {"kernel": kernel, "bias": np.zeros(1, np.float32)}}
    found = {
        dtype: float(
            Network(operations, weights, (1, 1, 1), dtype).scores(tf.constant([[[[100.001]]]]))[
                0, 0
            ]
        )
        for dtype in (tf.float32, tf.bfloat16)
    }
    assert found[tf.float32] == pytest.approx(100.001 + 100.001 * 1.001, rel=1e-6)
    assert found[tf.bfloat16] == pytest.approx(100.001 + 100.0, rel=1e-6)


def test_it_works_from_any_folder(folder, tmp_path):
    """Loaded by its path, from elsewhere, as some ingestion programs do."""
    code = (
        "import importlib.util, numpy as np;"
        f"spec = importlib.util.spec_from_file_location('model', {str(folder / 'model.py')!r});"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "print(module.Model().predict(np.zeros((2, 96, 96, 3), np.uint8)).shape)"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(2,)"
    assert str(ROOT) not in result.stderr


def test_time_has_not_stood_still():
    assert 0 < time.monotonic() - submission.model.STARTED < 3600
