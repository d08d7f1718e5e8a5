"""The submission's own interface: what it takes, what it does when time or memory run short, views
and ensembles."""

import copy
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import submission.model
from submission.model import (
    SHARES_MIN_IMAGES,
    SLICE,
    VIEWS,
    Model,
    Network,
    apply_temperature,
    correct_class_shares,
)
from tests.support.commands import ROOT
from tests.support.packages import write_package
from toolkit.data.dataset import Samples


@pytest.fixture(scope="session")
def pixels(cells: Samples) -> np.ndarray:
    """The drawn cells at a third of their size: uint8 [n, 32, 32, 3]."""
    small: np.ndarray = cells.images[:, ::3, ::3]
    assert small.shape[1:] == (32, 32, 3)
    return small


@pytest.fixture(scope="session")
def package(cells: Samples, pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package that every test of this file shares, and none changes."""
    folder: Path = tmp_path_factory.mktemp("package") / "package"
    write_package(folder, pixels, cells.labels)
    correct = Model(folder).predict(pixels) == cells.labels
    # The labels of the copied pictures, a seventh of all, cannot be learned.
    assert correct.mean() > 0.8, "a network that gives all images one label would prove little"
    return folder


@pytest.fixture
def manifest(package: Path) -> dict[str, Any]:
    """Its manifest, which a test may change and give to a Model."""
    read: dict[str, Any] = json.loads((package / "manifest.json").read_text())
    return read


def model_with(folder: Path, manifest: dict[str, Any], **changes: Any) -> Model:
    """A Model whose one network's entry has `changes`."""
    changed = copy.deepcopy(manifest)
    changed["networks"][0] |= changes
    return Model(folder, manifest=changed)


def network_of(model: Model) -> Network:
    network = model._networks[0]
    assert network is not None
    return network


def test_predict_takes_any_number_and_type(package: Path, pixels: np.ndarray) -> None:
    model, images = Model(package), pixels[:100].copy()
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
    listed: Any = list(images[:3])
    assert np.array_equal(model.predict(listed), whole[:3])


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 127, 130])
def test_slices_have_one_size_and_every_image_is_predicted_once(
    package: Path, pixels: np.ndarray, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(package)
    sizes: list[int] = []
    whole = network_of(model).scores
    expected = model.probabilities(pixels[:n])

    def scores(part: tf.Tensor) -> np.ndarray:
        sizes.append(len(part))
        return whole(part)

    monkeypatch.setattr(network_of(model), "scores", scores)
    assert np.array_equal(model.probabilities(pixels[:n]), expected)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert len(set(sizes)) == 1 and sum(sizes) - n < 2 * len(sizes)
    last = model.probabilities(pixels[n - 1 : n])
    np.testing.assert_allclose(expected[-1:], last, atol=2e-3)


def test_predict_names_the_shape_it_expects(package: Path, pixels: np.ndarray) -> None:
    model = Model(package)
    for wrong in (
        pixels[0],
        pixels[:2, :16],
        pixels[:2, ..., 0],
        np.zeros(0),
        np.asarray(3, np.float32),
    ):
        with pytest.raises(ValueError, match=r"have the shape \(.*\), expected \(n, 32, 32, 3\)"):
            model.predict(wrong)
    with pytest.raises(ValueError, match=r"numbers 0\.\.255, not"):
        model.predict(np.full((1, 32, 32, 3), "x"))


def test_fractions_are_brought_to_pixels_with_one_warning(
    package: Path, pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = Model(package), pixels[:70]
    expected = model.predict(images)
    for _ in range(2):
        assert np.array_equal(model.predict(images / 255), expected)
        assert np.array_equal(model.predict((images / 255).astype(np.float32)), expected)
    assert capsys.readouterr().err.count("multiplied by 255") == 1
    assert np.array_equal(
        model.predict(np.zeros_like(images)), model.predict(np.zeros(images.shape))
    )  # black is black


def test_numbers_that_are_none_are_replaced_with_one_warning(
    package: Path, pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    model, images = Model(package), pixels[:70].astype(np.float32)
    images[::2, :3], images[1::2, 0] = 0, 255
    broken = images.copy()
    broken[::2, :3] = np.nan
    assert np.array_equal(model.predict(broken / 255), model.predict(images))
    broken[1::2, 0] = np.inf
    kept = broken.copy()
    assert np.array_equal(model.predict(broken), model.predict(images))
    assert np.array_equal(broken, kept, equal_nan=True), "predict changed its input"
    assert capsys.readouterr().err.count("NaN becomes 0") == 1


def test_the_first_call_leaves_a_line_in_the_log(
    package: Path, pixels: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model(package)
    for _ in range(3):
        model.predict(pixels[:5])
    log = capsys.readouterr().err
    assert log.count(f"TensorFlow {tf.__version__}") == 1 and "5 images in" in log


def test_slices_are_halved_when_memory_runs_out(
    package: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Model(package)
    expected = model.probabilities(pixels[:50])
    whole = network_of(model).scores
    sizes: list[int] = []

    def scores(part: tf.Tensor) -> np.ndarray:
        sizes.append(len(part))
        if len(part) > 5:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return whole(part)

    monkeypatch.setattr(network_of(model), "scores", scores)
    np.testing.assert_allclose(model.probabilities(pixels[:50]), expected, atol=1e-5)
    assert sizes == [50, 25, 10] + [5] * 10
    monkeypatch.setattr(network_of(model), "scores", lambda part: scores(np.zeros(6)))
    with pytest.raises(MemoryError, match="single image"):
        model.probabilities(pixels[:1])


def test_half_precision_that_overflows_gives_way_to_float32(
    package: Path, pixels: np.ndarray
) -> None:
    """As float16 on a GPU might: weights so large that its sums end at infinity."""
    expected = Model(package, "float32").probabilities(pixels[:8])
    model = Model(package, "float16")
    first = next(weights for weights in network_of(model).weights.values() if "kernel" in weights)
    first["kernel"] *= 6e4
    np.testing.assert_allclose(model.probabilities(pixels[:8]), expected, atol=1e-5)
    assert network_of(model).dtype == tf.float32


@pytest.mark.parametrize("view", VIEWS)
def test_views_keep_shape_and_range(view: str, cells: Samples) -> None:
    images = tf.constant(cells.images[:2], tf.float32)
    seen = VIEWS[view](images)
    assert seen.shape == images.shape
    assert float(tf.reduce_min(seen)) >= 0 and float(tf.reduce_max(seen)) <= 255
    assert (view == "identity") == bool(tf.reduce_all(seen == images))


def test_views_by_hand() -> None:
    """A picture of one row and column that count up."""
    image = tf.constant(np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1))
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
        assert VIEWS[view](image)[0, 0, :, 0].numpy().tolist() == expected, view
    moved = submission.model._window(image, down=0.25)[0, :, 0, 0].numpy().tolist()
    assert moved == [4, 8, 12, 12]
    moved = submission.model._window(image, right=-0.5)[0, 0, :, 0].numpy().tolist()
    assert moved == [0, 0, 0, 1]


def test_a_manifest_given_to_the_constructor_replaces_the_file(
    package: Path, manifest: dict[str, Any], pixels: np.ndarray, tmp_path: Path
) -> None:
    written = (package / "manifest.json").read_bytes()
    given = model_with(package, manifest, views=["mirror"]).probabilities(pixels[:10])
    assert (package / "manifest.json").read_bytes() == written
    plain = Model(package)
    assert np.array_equal(given, plain.probabilities(pixels[:10, :, ::-1]))
    assert not np.array_equal(given, plain.probabilities(pixels[:10]))
    shutil.copy(package / "weights.h5", tmp_path)
    assert np.array_equal(
        Model(tmp_path, manifest=manifest).probabilities(pixels[:10]),
        plain.probabilities(pixels[:10]),
    )


def test_probabilities_are_the_mean_over_the_views(
    package: Path, manifest: dict[str, Any], pixels: np.ndarray
) -> None:
    images, views = pixels[:40], ["identity", "mirror", "quarter-turn", "up"]
    model = model_with(package, manifest, views=views)
    single = model_with(package, manifest, views=["identity"])
    seen = [VIEWS[view](tf.constant(images, tf.float32)).numpy() for view in views]
    expected = np.mean([single.probabilities(pictures) for pictures in seen], axis=0)
    np.testing.assert_allclose(model.probabilities(images), expected, atol=1e-5)


def test_steps_after_training_are_taken_as_the_manifest_says(
    package: Path, manifest: dict[str, Any], pixels: np.ndarray
) -> None:
    images = np.resize(pixels, (SHARES_MIN_IMAGES, *pixels.shape[1:]))
    plain = Model(package).probabilities(images)
    warm = model_with(package, manifest, temperature=2.0).probabilities(images)
    np.testing.assert_allclose(warm, apply_temperature(plain, 2.0), atol=1e-6)
    assert warm.max() < plain.max()
    shares = [0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    model = Model(package, manifest=manifest | {"class_shares": shares})
    np.testing.assert_allclose(
        model.probabilities(images), correct_class_shares(plain, shares), atol=1e-6
    )
    few = images[: SHARES_MIN_IMAGES - 1]
    np.testing.assert_allclose(model.probabilities(few), plain[: SHARES_MIN_IMAGES - 1], atol=2e-3)


class Clock:
    """Stands in for the time module: moves only when a network works, a second an image."""

    def __init__(self) -> None:
        self.now = submission.model.STARTED
        self.images: list[int] = []  # in each call of the network

    def monotonic(self) -> float:
        return self.now

    @property
    def seconds(self) -> float:
        """Since the start of the process."""
        return self.now - submission.model.STARTED

    def slow_down(self, scores: Callable[[tf.Tensor], np.ndarray]) -> Callable[..., np.ndarray]:
        def slow(part: tf.Tensor) -> np.ndarray:
            self.now += len(part)
            self.images.append(len(part))
            return scores(part)

        return slow


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(submission.model, "time", clock)
    return clock


FOUR_VIEWS = ["identity", "mirror", "flip", "half-turn"]


@pytest.mark.parametrize(("limit", "passes"), [(1e6, 4), (40 * 2.5, 2), (40 * 1.5, 1), (10.0, 1)])
def test_views_are_taken_as_far_as_time_allows(
    package: Path,
    manifest: dict[str, Any],
    pixels: np.ndarray,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    limit: float,
    passes: int,
) -> None:
    """Each image takes a second a view: 40 images within `limit` seconds get that many views, on
    average."""
    limited = manifest | {"time_limit": limit, "images": 0}
    model = model_with(package, limited, views=FOUR_VIEWS)
    model.slice = 4
    network = network_of(model)
    monkeypatch.setattr(network, "scores", clock.slow_down(network.scores))
    model.probabilities(pixels[:40])
    assert passes * 40 <= sum(clock.images) <= (passes + 0.6) * 40
    if limit > 40:
        assert clock.seconds <= limit


def test_calls_share_the_time_as_they_share_the_images(
    package: Path,
    manifest: dict[str, Any],
    pixels: np.ndarray,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter of the images gets a quarter of 80 seconds: two views of four, in each of four
    calls."""
    limited = manifest | {"time_limit": 80.0, "images": 40}
    model = model_with(package, limited, views=FOUR_VIEWS)
    model.slice = 2
    network = network_of(model)
    monkeypatch.setattr(network, "scores", clock.slow_down(network.scores))
    ends = []
    for start in range(0, 40, 10):
        model.probabilities(pixels[start : start + 10])
        ends.append(clock.seconds)
    assert ends == [20, 40, 60, 80]


def test_networks_are_averaged_and_loaded_in_turn_when_memory_is_short(
    package: Path,
    manifest: dict[str, Any],
    pixels: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = manifest["networks"][0]
    shutil.copy(package / "weights.h5", tmp_path)
    shutil.copy(package / "weights.h5", tmp_path / "weights_2.h5")
    other = entry | {"weights": {"file": "weights_2.h5"}, "views": ["mirror"]}
    images = pixels[:40]
    plain = model_with(package, manifest, views=["identity"]).probabilities(images)
    mirrored = model_with(package, manifest, views=["mirror"]).probabilities(images)
    assert not np.allclose(plain, mirrored)
    ensemble = manifest | {"networks": [entry, other]}
    both = Model(tmp_path, manifest=ensemble)
    assert both._keep and all(both._networks)
    np.testing.assert_allclose(both.probabilities(images), (plain + mirrored) / 2, atol=1e-6)
    monkeypatch.setattr(submission.model, "_free_memory", lambda: 1000.0)
    in_turn = Model(tmp_path, manifest=ensemble)
    assert not in_turn._keep and not any(in_turn._networks)
    for _ in range(2):
        np.testing.assert_allclose(in_turn.probabilities(images), (plain + mirrored) / 2, atol=1e-6)
        assert not any(in_turn._networks)


def test_free_memory_is_what_the_machine_says() -> None:
    free = submission.model._free_memory()
    assert 1e7 < free < 1e14


def test_the_same_images_give_the_same_bits(package: Path, pixels: np.ndarray) -> None:
    model = Model(package)
    first = model.probabilities(pixels[:64])
    assert np.array_equal(first, model.probabilities(pixels[:64]))
    assert np.array_equal(first, Model(package).probabilities(pixels[:64]))


def test_products_alone_run_in_the_reduced_type() -> None:
    """A dense layer in bfloat16, and a sum, which is float32."""
    kernel = np.array([[1.001]], np.float32)
    operations: list[dict[str, Any]] = [
        {"name": "flat", "op": "flatten", "inputs": ["pixels"]},
        {"name": "product", "op": "dense", "inputs": ["flat"]},
        {"name": "sum", "op": "add", "inputs": ["flat", "product"]},
    ]
    weights = {"product": {"kernel": kernel, "bias": np.zeros(1, np.float32)}}
    image = tf.constant([[[[100.001]]]])
    found = {}
    for dtype in (tf.float32, tf.bfloat16):
        scores = Network(operations, weights, (1, 1, 1), dtype).scores(image)
        found[dtype] = float(scores[0, 0])
    assert found[tf.float32] == pytest.approx(100.001 + 100.001 * 1.001, rel=1e-6)
    assert found[tf.bfloat16] == pytest.approx(100.001 + 100.0, rel=1e-6)


LOADED_BY_PATH = """
import importlib.util, sys, time
import numpy as np

spec = importlib.util.spec_from_file_location("model", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
model = module.Model()
images = np.zeros((64, 32, 32, 3), np.uint8)
model.predict(images)
started = time.monotonic()
print(model.predict(images).shape[0], time.monotonic() - started)
"""


def test_a_process_of_its_own_loads_it_from_any_folder_and_keeps_to_its_time_limit(
    package: Path, manifest: dict[str, Any], tmp_path: Path
) -> None:
    """Loaded by its path, from elsewhere, as some ingestion programs do, with a second's limit that
    is long past when predict is called: the plain answer.

    A real process, because the limit counts from its start, and because nothing of this repository
    may be at hand.
    """
    folder = shutil.copytree(package, tmp_path / "elsewhere")
    manifest["networks"][0]["views"] = ["identity", *(["mirror"] * 20_000)]
    limited = manifest | {"time_limit": 1.0, "images": 0}
    (folder / "manifest.json").write_text(json.dumps(limited))
    result = subprocess.run(
        [sys.executable, "-I", "-c", LOADED_BY_PATH, str(folder / "model.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    images, seconds = result.stdout.split()
    assert images == "64"
    assert float(seconds) < 10  # 20,001 views would take minutes
    assert str(ROOT) not in result.stderr


def test_time_has_not_stood_still() -> None:
    assert 0 < time.monotonic() - submission.model.STARTED < 3600
