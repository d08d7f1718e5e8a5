"""Each operation: eagerly and in tf.data, nearly nothing at a tiny strength, the same seed the same
pixels; and the stream."""

import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import tensorflow as tf
from keras_cv import layers

from tests.support.commands import assert_one_sentence, in_process
from toolkit.augment import pipeline
from toolkit.augment.chain import build_chain, build_random_apply_chain
from toolkit.augment.geometry import draw_matrices, warp
from toolkit.augment.mixing import FourierMix
from toolkit.augment.registry import MIXING, OPERATIONS
from toolkit.augment.rng import SeededRng, bind
from toolkit.core import config
from toolkit.core.config import Operation
from toolkit.core.errors import InputError

CLASSES = 8
SIDE = 32
# What these do does not fade with their strength: any order of channels, an evened histogram (which
# the last two may draw, too).
WITHOUT_STRENGTH = ("channel-shuffle", "equalise", "rand-augment", "aug-mix")


@pytest.fixture(scope="module")
def small(cells):
    """The drawn cells at a third of their resolution."""
    return cells.with_images(np.ascontiguousarray(cells.images[:, ::3, ::3]))


@pytest.fixture(scope="module")
def pictures(small):
    return small.images[:8].astype(np.float32)


@pytest.fixture(scope="module")
def labels():
    return np.eye(CLASSES, dtype=np.float32)


def augmented(pictures, labels, *operations, seed=5):
    images, mixed = build_chain(operations, pictures.shape[1:3])(
        tf.constant(pictures), tf.constant(labels), tf.constant([seed, 0])
    )
    return images.numpy(), mixed.numpy()


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_seed_decides_eagerly_and_in_a_dataset(name, pictures, labels):
    # Some layers run image by image, which is slow outside of a graph: few images.
    pictures, labels = pictures[:4], labels[:4]
    augment = build_chain((Operation(name=name, rate=0.8),), (SIDE, SIDE))
    seeds = tf.constant([[5, 0], [6, 0]])
    first, mixed = augment(tf.constant(pictures), tf.constant(labels), seeds[0])
    again, _ = augment(tf.constant(pictures), tf.constant(labels), seeds[0])
    assert first.shape == pictures.shape and first.dtype == tf.float32
    assert first.numpy().min() >= 0 and first.numpy().max() <= 255
    assert not np.array_equal(first, pictures)
    assert np.array_equal(first, again)
    dataset = tf.data.Dataset.from_tensor_slices(seeds)
    dataset = dataset.map(lambda seed: augment(tf.constant(pictures), tf.constant(labels), seed))
    (piped, piped_labels), (other, _) = dataset.as_numpy_iterator()
    # Sums of floats in another order; a grey level is 1.
    np.testing.assert_allclose(first, piped, atol=0.01)
    np.testing.assert_allclose(mixed, piped_labels, atol=1e-6)
    assert not np.array_equal(piped, other)


# At nearly full resolution, pixelate reads each pixel from the one before.
LOSSY = {"pixelate": "moves a pixel", "jpeg": "halves the resolution of the colours"}
FADING = [name for name in OPERATIONS if name not in (*MIXING, *WITHOUT_STRENGTH, *LOSSY)]
NOT_FADING = [
    pytest.param(name, marks=pytest.mark.xfail(strict=True, reason=reason))
    for name, reason in LOSSY.items()
]


@pytest.mark.parametrize("name", [*FADING, *NOT_FADING])
def test_a_tiny_strength_changes_next_to_nothing(name, pictures, labels):
    images, mixed = augmented(pictures, labels, Operation(name=name, factor=1e-3))
    assert np.array_equal(mixed, labels)
    assert np.abs(images - pictures).mean() < 0.5


@pytest.mark.parametrize("name", MIXING)
def test_a_tiny_alpha_mixes_hardly_any(name, pictures, labels):
    """The shares are next to 0 and 1: an image is itself or another one."""
    images, mixed = augmented(pictures, labels, Operation(name=name, factor=0.02))
    whole = mixed.max(axis=1) > 0.99
    assert whole.sum() >= 4  # of 8; at an alpha of 0.5 hardly one
    originals = pictures[mixed.argmax(axis=1)]
    assert np.abs(images - originals)[whole].mean() < 0.5


@pytest.mark.parametrize("nothing", [{"factor": 0.0}, {"rate": 0.0}])
def test_no_strength_or_no_rate_is_the_identity(nothing, pictures, labels):
    operations = [Operation(name=name, **nothing) for name in OPERATIONS]
    images, mixed = augmented(pictures, labels, *operations)
    assert np.array_equal(images, pictures) and np.array_equal(mixed, labels)


def test_a_chain_leaves_the_programs_own_generator_alone():
    before = tf.random.get_global_generator()
    build_chain((Operation(name="brightness"),), (SIDE, SIDE))
    assert tf.random.get_global_generator() is before


@pytest.mark.parametrize("name", ["grid-mask", "channel-shift", "blur", "gaussian-noise", "rotate"])
def test_every_image_gets_a_draw_of_its_own(name, pictures, labels):
    same = np.repeat(pictures[:1], 16, axis=0)
    images, _ = augmented(same, np.repeat(labels, 2, axis=0), Operation(name=name))
    assert len({image.tobytes() for image in images}) > 8


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_a_rate_changes_that_share_of_the_images(rate, pictures, labels):
    many = np.repeat(pictures, 64, axis=0)
    result, _ = augmented(many, np.repeat(labels, 64, axis=0), Operation(name="rotate", rate=rate))
    changed = (result != many).any(axis=(1, 2, 3)).mean()
    assert abs(changed - rate) < 4 * np.sqrt(rate * (1 - rate) / 512)


@pytest.mark.parametrize("name", ["brightness", "cut-mix"])
def test_the_callers_images_stay_as_they_are(name, pictures, labels):
    """Changed images are written in place, but not into what was given."""
    given = tf.constant(pictures)
    chain = build_chain((Operation(name=name, factor=1.0),), (SIDE, SIDE))
    changed, _ = chain(given, tf.constant(labels), tf.constant([5, 0]))
    assert np.array_equal(given, pictures) and not np.array_equal(changed, pictures)


def test_flips_only_mirror(pictures, labels):
    flipped, _ = augmented(pictures, labels, Operation(name="flip", factor=1.0))
    assert np.array_equal(flipped, pictures[:, ::-1, ::-1])


@pytest.mark.parametrize(
    "layer",
    [layers.RandomRotation(0.5), layers.RandomTranslation(0.6, 0.6), layers.RandomShear(0.7, None)],
)
def test_our_resampling_is_tensorflows(layer, cells):
    """The same maps through our compiled loop and through the kernel keras-cv calls, on images that
    are not square."""
    images, rng = tf.constant(cells.images[:7, :, :64], tf.float32), SeededRng()
    with rng.use_seed(tf.constant([3, 1])):
        maps = draw_matrices(bind(layer, rng), images)
    with rng.use_seed(tf.constant([3, 1])):
        expected = layer(images, training=True).numpy()
    difference = np.abs(warp(images, maps).numpy() - expected)
    # Where a place falls exactly between two mirrored pixels, rounding may choose the other.
    assert difference.mean() < 1e-3 and np.quantile(difference, 0.999) < 0.1


# Not aug-mix: keras-cv never selects its ninth operation.
@pytest.mark.slow
@pytest.mark.parametrize("name", [each for each in OPERATIONS if each not in (*MIXING, "aug-mix")])
def test_whole_batches_have_the_distribution_of_keras_cvs_loops(name, small):
    """Mean and spread of the change that an operation makes, and of each channel's level: ours
    against keras-cv's own layer under RandomApply. As graphs, in which its loops take a tenth of
    the time."""
    many = tf.constant(np.repeat(small.images[:16].astype(np.float32), 16, axis=0))
    marks = tf.zeros([len(many), CLASSES])
    operation = (Operation(name=name, factor=0.5),)
    measured = []
    for make in (build_chain, build_random_apply_chain):
        augment = tf.function(make(operation, (SIDE, SIDE)))
        images, _ = augment(many, marks, tf.constant([1, 1]))
        change = np.abs(images.numpy() - many.numpy()).mean(axis=(1, 2))
        measured.append(np.concatenate([change, images.numpy().mean(axis=(1, 2))], axis=1))
    ours, theirs = measured
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / len(many))
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 5 * error + 0.01).all()
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.25, atol=0.05)


@pytest.mark.parametrize("name", MIXING)
def test_mixed_labels_are_the_shares_of_the_images(name):
    """Images of one grey level a class: a mixture's mean tells the shares."""
    levels = np.linspace(0, 245, CLASSES, dtype=np.float32)
    pictures = np.broadcast_to(levels[:, None, None, None], (CLASSES, 32, 32, 3)).astype(np.float32)
    images, labels = augmented(
        pictures, np.eye(CLASSES, dtype=np.float32), Operation(name=name, factor=0.9)
    )
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(images.mean(axis=(1, 2, 3)), labels @ levels, atol=0.5)
    assert (np.count_nonzero(labels > 1e-6, axis=1) == 2).sum() >= 4


def test_fourier_masks_are_no_stripes():
    """Their energy is spread over both axes: keras-cv's own layer leaves two columns of the
    spectrum."""
    layer, rng = FourierMix(alpha=0.5), SeededRng()
    bind(layer, rng)
    with rng.use_seed(tf.constant([0, 0])):
        masks = layer._masks(tf.constant(32), tf.constant(64), tf.constant(64)).numpy()
    energy = (np.abs(np.fft.rfft2(masks - masks.mean(axis=(1, 2), keepdims=True))) ** 2).mean(
        axis=0
    )
    assert np.count_nonzero(energy.sum(axis=0) > 1e-6 * energy.sum()) > 10
    assert energy[1, 0] == pytest.approx(energy[0, 1], rel=0.9)  # both directions alike
    stripes = layers.FourierMix()._sample_mask_from_transform(3, tf.constant([64, 64])).numpy()[0]
    theirs = np.abs(np.fft.rfft2(stripes - stripes.mean())) ** 2
    assert np.count_nonzero(theirs.sum(axis=0) > 1e-6 * theirs.sum()) <= 2


def test_edges_stand_out_and_the_background_goes(cells):
    """On a drawn cell: the corners turn black, the nucleus' outline bright."""
    images, _ = augmented(
        cells.images[:8].astype(np.float32),
        np.eye(8, dtype=np.float32),
        Operation("edges", factor=1.0),
    )
    assert images[:, :8, :8].mean() < 0.25 * cells.images[:8, :8, :8].mean()
    assert images.max(axis=(1, 2, 3)).min() > 200


def test_unknown_operations_and_integer_labels_are_errors(pictures):
    with pytest.raises(ValueError, match="no augmentation has that name"):
        Operation(name="spin")
    with pytest.raises(InputError, match="integer labels cannot be mixed"):
        build_chain((Operation(name="cut-mix"),), (SIDE, SIDE))(
            pictures, tf.range(8), tf.constant([0, 0])
        )


def settings_with(*changes):
    chain = "augment=[{name='rotate', rate=0.5}, {name='mix-up', rate=0.3}]"
    return config.preset("tiny", (chain, *changes))


def split_epochs(stream, steps, epochs):
    """The first `epochs` of `stream`, each as its images, labels and weights."""
    batches = list(stream.take(epochs * steps).as_numpy_iterator())
    parts = [batches[first : first + steps] for first in range(0, len(batches), steps)]
    return [[np.concatenate(arrays) for arrays in zip(*part)] for part in parts]


def test_parallel_workers_and_a_later_start_change_nothing(small):
    """The third epoch is the same pixels, run twice on all threads, or started at directly."""
    wide = "augment=[{name='rand-augment', rate=0.5}, {name='mix-up', rate=0.3}]"
    settings = config.preset("tiny", (wide, "train.batch_size=16"))
    few = small.take(np.arange(32))
    stream, steps = pipeline.stream(few, np.arange(len(few)), settings, True)
    later, _ = pipeline.stream(few, np.arange(len(few)), settings, True, 2)
    # Building a stream takes seconds, so each is built once: the second gives the fourth epoch too.
    third, fourth = split_epochs(later, steps, 2)
    for _ in range(2):
        again = split_epochs(stream, steps, 3)[2]
        for part, expected in zip(again, third):
            assert np.array_equal(part, expected)
    assert not np.array_equal(third[0], fourth[0])


def test_blocks_feed_every_copy_in_batches(small):
    """Whatever the size of a block, an epoch is each image as often as asked for, each time
    otherwise."""
    plain = config.preset(
        "tiny",
        ("augment=[]", "train.blocks.size=50", "train.blocks.copies=3", "train.batch_size=16"),
    )
    with_chain = settings_with(
        "train.blocks.size=50", "train.blocks.copies=3", "train.batch_size=16"
    )
    stream, steps = pipeline.stream(small, np.arange(len(small)), with_chain, True)
    sizes = [len(images) for images, _, _ in stream.take(steps).as_numpy_iterator()]
    assert sum(sizes) == 3 * len(small) and set(sizes[:-1]) == {16}
    images = pipeline.stream(small, np.arange(len(small)), plain, True)[0].take(steps)
    seen = np.concatenate([batch for batch, _, _ in images.as_numpy_iterator()])
    distinct, counts = np.unique(seen.reshape(len(seen), -1), axis=0, return_counts=True)
    originals, times = np.unique(small.images.reshape(len(small), -1), axis=0, return_counts=True)
    assert np.array_equal(distinct, originals) and np.array_equal(counts, 3 * times)


def test_class_weights_follow_mixed_labels(small):
    """A mixture of two classes weighs the mixture of their weights, and all weigh the same in
    total."""
    few = np.flatnonzero((small.labels != 0) | (np.arange(len(small)) % 4 == 0))
    settings = settings_with("train.class_weights=true")
    stream, steps = pipeline.stream(small, few, settings, True)
    per_class = pipeline.compute_class_weights(small.labels[few], CLASSES)
    counts = np.bincount(small.labels[few], minlength=CLASSES)
    assert (counts * per_class) == pytest.approx(len(few) / CLASSES)
    for _, labels, weights in stream.take(steps).as_numpy_iterator():
        np.testing.assert_allclose(weights, labels @ per_class, rtol=1e-5)


def test_oversampling_evens_the_classes(small):
    few = np.flatnonzero((small.labels != 0) | (np.arange(len(small)) % 4 == 0))
    settings = config.preset("tiny", ("train.oversample=true", "augment=[]"))
    stream, steps = pipeline.stream(small, few, settings, True)
    labels = np.concatenate([marks for _, marks, _ in stream.take(steps).as_numpy_iterator()])
    assert len(set(labels.sum(axis=0))) == 1


def test_the_validation_copy_is_the_same_every_time(small):
    settings = settings_with()
    first, again = (
        np.concatenate(
            [
                images
                for images, _, _ in pipeline.make_fixed_batches(
                    small, np.arange(64), settings, True
                )
            ]
        )
        for _ in range(2)
    )
    plain = np.concatenate(
        [
            images
            for images, _, _ in pipeline.make_fixed_batches(small, np.arange(64), settings, False)
        ]
    )
    assert np.array_equal(first, again)
    assert np.array_equal(plain, small.images[:64]) and not np.array_equal(first, plain)


def test_preview_draws_a_sheet_an_operation_and_one_of_the_chain(training_file, tmp_path):
    command = ["data", "augment-preview", training_file, "--preset"]
    short = ["--set", "augment=[{name='flip'}, {name='blur', rate=0.5}]"]
    result = in_process(*command, "tiny", *short, "--out", tmp_path / "sheets")
    assert result.returncode == 0, result.stderr
    drawn = {path.stem for path in (tmp_path / "sheets").glob("*.png")}
    assert drawn == {"chain", "flip", "blur"}
    result = in_process(*command, "lit", "--out", tmp_path / "none")
    assert_one_sentence(result, "Did you mean lite")


def test_the_streams_of_the_same_images_hold_one_copy_of_them(small):
    """Before, each stream made an array of its images, and then a tensor of that."""
    many = small.take(np.resize(np.arange(len(small)), 20_000))
    rows = np.arange(len(many))
    plain = config.preset("tiny", ("augment=[]",))
    tracemalloc.start()  # a tensor shares the memory of the one copy, which numpy makes
    try:
        training, _ = pipeline.stream(many, rows, plain, True)
        validation = pipeline.make_fixed_batches(many, rows, plain, False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * many.images.nbytes
    alive = weakref.ref(many)
    del many, training, validation
    gc.collect()
    assert alive() is None  # and with it the tensor
