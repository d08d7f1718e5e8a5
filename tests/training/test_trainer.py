"""Training, on a run that the command line made: what it leaves, and that it learnt."""

import csv
import dataclasses
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.support.commands import assert_one_sentence, history_of, in_process
from toolkit.core import config
from toolkit.core.errors import InputError
from toolkit.data import dataset, shift, splitting
from toolkit.models import pretrained as weights
from toolkit.models.network import build as build_network
from toolkit.training import run_folder as runs
from toolkit.training import trainer
from toolkit.training.best_network import load_best_network
from toolkit.training.fit import fit
from toolkit.training.prepare import prepare


def test_the_history_has_a_row_an_epoch_and_marks_the_best(run_folder):
    run = runs.open_finished(run_folder)
    rows = history_of(run)
    assert [(row["phase"], row["epoch"]) for row in rows] == [("0", "0"), ("1", "0"), ("1", "1")]
    shares = [float(row["val_shift_accuracy"]) for row in rows]
    best = [share > max(shares[:number], default=-1) for number, share in enumerate(shares)]
    assert [row["best"] == "1" for row in rows] == best
    assert json.loads(run.finished.read_text())["best"]["val_shift_accuracy"] == max(shares)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_checkpoint_is_the_epoch_best_on_shifted_images(run_folder, training_file):
    """Its accuracy on corrupted validation images, computed here, is the highest of the history."""
    run = runs.open_finished(run_folder)
    samples = dataset.load(training_file)
    held_out = samples.take(splitting.read(run.split).rows("validation", samples))
    network, right = load_best_network(run), []
    for seed in trainer.MONITORED_SEEDS:
        copies = shift.mixture(held_out, seed).images.astype(np.float32)
        right.append(network.predict(copies, verbose=0).argmax(axis=1) == held_out.labels)
    rows = history_of(run)
    assert np.mean(right) == pytest.approx(
        max(float(row["val_shift_accuracy"]) for row in rows), abs=1e-6
    )
    kept = [float(row["val_loss"]) for row in rows if row["best"] == "1"][-1]
    scores = network.predict(held_out.images.astype(np.float32), verbose=0)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert -logs[np.arange(len(logs)), held_out.labels].mean() == pytest.approx(kept, rel=1e-3)


def test_the_run_says_what_it_was_made_of(run_folder, training_file):
    run = runs.open_finished(run_folder)
    provenance = runs.read_provenance(run)
    assert (
        provenance["fingerprint"]
        == dataset.load(training_file).fingerprint
        == splitting.read(run.split).fingerprint
    )
    assert provenance["versions"]["tensorflow"]
    assert config.read(run.config).train.phases[1].epochs == 2
    with run.clean.open() as file:
        kept = {int(row["id"]) for row in csv.DictReader(file) if row["kept"] == "1"}
    parts = splitting.read(run.split)
    assert kept == set(parts.train + parts.validation + parts.test)


@pytest.fixture(scope="module")
def small(cells):
    """The drawn cells at a third of their resolution."""
    return cells.with_images(np.ascontiguousarray(cells.images[:, ::3, ::3]))


QUICK = ("split.validation=0.2", "split.test=0.2", "train.batch_size=32")


def trained_on(samples, tmp_path, *settings):
    """The network of preset tiny with `settings`, trained on `samples`, and its history;
    initial weights by layer."""
    chosen = config.preset("tiny", (*QUICK, *settings))
    network = trainer.build_seeded_network(chosen, samples)
    before = {layer.name: layer.get_weights() for layer in network.model.layers}
    run = fit(prepare(samples, chosen), chosen, tmp_path / "run", network=network)
    return network, numbers_of(run), before


def numbers_of(run):
    """The rows of the run's history."""
    return [{name: float(value) for name, value in row.items()} for row in history_of(run)]


def changed_layers(network, before):
    pairs = {
        layer.name: zip(before[layer.name], layer.get_weights()) for layer in network.model.layers
    }
    return {
        name
        for name, pair in pairs.items()
        if any(not np.array_equal(old, new) for old, new in pair)
    }


HEAD = {"head_0_dense", "head_0_norm", "scores"}


@pytest.mark.parametrize(
    ("trainable", "changed"),
    [
        ("head", HEAD),
        ("all", HEAD | {"conv_0", "conv_1"}),
        ("4", HEAD | {"conv_1"}),  # pixels, preprocess, conv_0, pool_0, conv_1
        ("0.5", HEAD | {"conv_1"}),
    ],
)
def test_a_phase_trains_what_it_names(trainable, changed, small, tmp_path):
    value = trainable if trainable[0].isdigit() else repr(trainable)
    phase = f"train.phases=[{{trainable={value}, epochs=1, learning_rate=1e-3}}]"
    network, _, before = trained_on(small, tmp_path, phase)
    assert changed_layers(network, before) == changed


def test_a_head_phase_on_stored_features_learns_as_on_images(small, tmp_path):
    """Without augmentation the backbone runs once; the head sees the same features in the same
    order."""
    phase = "train.phases=[{trainable='head', epochs=3, learning_rate=1e-3}]"
    flat = ("augment=[]", "model.dropout=0.0", phase)
    _, stored, _ = trained_on(small, tmp_path / "stored", *flat)
    never = "augment=[{name='flip', rate=0.0}]"  # an augmentation that changes nothing, but is one
    _, fed, _ = trained_on(small, tmp_path / "fed", *flat, never)
    for first, second in zip(stored, fed):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-3)
        assert first["val_loss"] == pytest.approx(second["val_loss"], rel=1e-3)


@pytest.mark.parametrize(
    "settings",
    [
        (
            "train.phases.1.optimizer=adamw",
            "train.phases.1.weight_decay=0.01",
            "train.label_smoothing=0.1",
        ),
        ("train.phases.1.optimizer=lion", "train.phases.1.learning_rate=1e-4", "train.focal=2.0"),
        ("train.phases.1.optimizer=sgd", "train.phases.1.accumulate=2", "train.class_weights=true"),
        (
            "train.ema=0.5",
            "train.monitor=val_accuracy",
            "train.oversample=true",
            "train.phases.1.frozen_norm=true",
        ),
        ("train.augmented_validation=true", "train.blocks.size=40", "train.blocks.copies=2"),
        (
            "train.precision=mixed_bfloat16",
            "augment=[{name='cut-mix'}]",
            "train.phases.1.warmup=0.5",
        ),
    ],
    ids=lambda settings: settings[0],
)
def test_every_way_of_training_learns(settings, small, tmp_path):
    _, rows, _ = trained_on(small, tmp_path, "train.phases.1.epochs=2", *settings)
    assert len(rows) == 3
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_averaged_weights_are_what_is_kept(small, tmp_path):
    """With a momentum near 1 the average stays where it begins, after the first step; training
    itself goes further."""
    rate = 1e-3  # Adam's first step moves every weight by it
    phase = f"train.phases=[{{trainable='all', epochs=1, learning_rate={rate}}}]"
    moved = []
    for momentum in ("0.0", "0.9999"):
        _, _, before = trained_on(small, tmp_path / momentum, phase, f"train.ema={momentum}")
        with np.load(runs.Run(tmp_path / momentum / "run").checkpoint) as kept:
            moved.append(np.abs(kept["conv_1/kernel"] - before["conv_1"][0]).max())
    assert moved[1] == pytest.approx(rate, rel=0.01) and moved[0] > 1.5 * rate


def test_layers_beyond_the_network_are_an_error(training_file, tmp_path):
    settings = ["--set", "train.phases.1.trainable=124"]
    result = in_process(
        "train", "--preset", "tiny", "--data", training_file, "--run", tmp_path / "run", *settings
    )
    assert_one_sentence(result, "only 7 layers")
    # People count phases from 1, keys of the configuration from 0.
    assert "phase 2 trains from layer 124" in result.stderr
    assert "train.phases.1.trainable=" in result.stderr
    assert not (tmp_path / "run").exists()


OTHERS = [name for name in config.preset_names() if name not in ("tiny", "lite")]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("tiny", ()),
        ("lite", ()),
        ("report-block-convnext-xlarge", ("model.backbone=convnext-tiny",)),
    ],
)
def test_a_preset_takes_two_steps(name, settings, cells, tmp_path):
    """The last phase as it stands, but for the images, the epochs and pretrained weights."""
    assert np.isfinite(take_two_steps(name, settings, cells, tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_other_preset_takes_two_steps(name, cells, tmp_path):
    """Each in a process of its own: TensorFlow does not give back all memory, and what several
    ConvNeXt-XLarge leave is more than a machine has."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        loss = pool.submit(take_two_steps, name, (), cells, tmp_path / "run").result()
    assert np.isfinite(loss)


def take_two_steps(name, settings, cells, folder):
    """The loss of the only epoch."""
    chosen = config.preset(name, ("model.weights=none", "train.batch_size=2", *settings))
    phases = tuple(dataclasses.replace(phase, epochs=1) for phase in chosen.train.phases[-1:])
    chosen = dataclasses.replace(chosen, train=dataclasses.replace(chosen.train, phases=phases))
    network = trainer.build_seeded_network(chosen, cells)
    run = runs.begin(folder, chosen, cells, folder.parent)
    four = splitting.Split((0, 30, 60, 90), (5, 35), (8, 38), 0, cells.fingerprint)
    (row,) = trainer.train(network, run, cells, four, chosen)
    return row["loss"]


def test_lite_starts_from_imagenet_and_from_nothing(cells):
    settings = config.preset("lite")
    pretrained = (
        trainer.build_seeded_network(settings, cells).model.get_layer("stem_conv").get_weights()[0]
    )
    blank = (
        build_network(config.without_weights(settings.model), (96, 96, 3), 8)
        .model.get_layer("stem_conv")
        .get_weights()[0]
    )
    assert pretrained.shape == blank.shape and not np.allclose(pretrained, blank, atol=1e-3)


def test_weights_of_another_backbone_do_not_fit(cells, tmp_path):
    network = build_network(
        config.ModelConfig(backbone="simple-cnn", weights="none"), (96, 96, 3), 8
    )
    weights.save(network.model, tmp_path / "cnn.npz")
    with pytest.raises(InputError, match="do not fit this network"):
        trainer.build_seeded_network(
            config.preset("lite", (f"model.weights={tmp_path / 'cnn.npz'}",)), cells
        )
    lite = weights.efficientnet_lite_file(0)
    with pytest.raises(InputError, match="do not fit simple-cnn"):
        trainer.build_seeded_network(config.preset("tiny", (f"model.weights={lite}",)), cells)


def test_training_starts_from_a_file_of_weights(run_folder, cells):
    """An earlier run's checkpoint, whatever its head, and the published file by its path."""
    checkpoint = runs.Run(run_folder).checkpoint
    settings = config.preset("tiny", (f"model.weights={checkpoint}", "model.head_units=[5]"))
    kernel = (
        trainer.build_seeded_network(settings, cells).model.get_layer("conv_0").get_weights()[0]
    )
    with np.load(checkpoint) as arrays:
        assert np.array_equal(kernel, arrays["conv_0/kernel"])
    by_path = trainer.build_seeded_network(
        config.preset("lite", (f"model.weights={weights.efficientnet_lite_file(0)}",)), cells
    )
    by_name = trainer.build_seeded_network(config.preset("lite"), cells)
    stems = [
        network.model.get_layer("stem_conv").get_weights()[0] for network in (by_path, by_name)
    ]
    assert np.array_equal(*stems)


def test_a_run_is_never_overwritten(run_folder, training_file):
    before = runs.Run(run_folder).history.read_bytes()
    assert_one_sentence(
        in_process("train", "--preset", "tiny", "--data", training_file, "--run", run_folder),
        "is not empty",
    )
    assert runs.Run(run_folder).history.read_bytes() == before


@pytest.mark.parametrize(("rate", "loss"), [("1e30", "not a finite number"), ("1e6", "e+")])
def test_a_diverging_training_says_so(training_file, tmp_path, rate, loss):
    """Also where the loss stays a number: no sound one has its size."""
    settings = [
        "--set",
        f"train.phases.0.learning_rate={rate}",
        "--set",
        "split.validation=0.2",
        "--set",
        "split.test=0.2",
    ]
    result = in_process(
        "train", "--preset", "tiny", "--data", training_file, "--run", tmp_path / "run", *settings
    )
    assert_one_sentence(result, "training diverged: the loss is", loss, "of phase 1")
    assert "train.phases.0.learning_rate=" in result.stderr and "--resume" not in result.stderr
    assert_one_sentence(in_process("evaluate", "--run", tmp_path / "run"), "is not finished")


def test_seeds_make_a_run_each(training_file, tmp_path):
    settings = [
        part
        for setting in (*QUICK, "train.phases.0.epochs=1", "train.phases.1.epochs=1")
        for part in ("--set", setting)
    ]
    result = in_process(
        "train",
        "--preset",
        "tiny",
        "--data",
        training_file,
        "--run",
        tmp_path / "run",
        "--seeds",
        "2",
        "--json",
        "--tensorboard",
        *settings,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)["runs"]
    assert [run["run"] for run in told] == [str(tmp_path / f"run-seed{seed}") for seed in (0, 1)]
    assert [epoch["phase"] for epoch in told[0]["history"]] == [0, 1]
    assert len(list((tmp_path / "run-seed1" / "tensorboard").iterdir())) == 1
    checkpoints = [
        runs.open_finished(tmp_path / f"run-seed{seed}").checkpoint.read_bytes() for seed in (0, 1)
    ]
    assert checkpoints[0] != checkpoints[1]


def test_images_that_fill_a_batch_up_are_neither_right_nor_wrong():
    accuracy = trainer.Accuracy()
    accuracy.update_state(np.eye(3), np.eye(3)[[0, 1, 0]], np.array([0.5, 3.0, 0.0]))
    assert float(accuracy.result()) == 1
    accuracy.update_state(np.eye(3)[:1], np.eye(3)[1:2])
    assert float(accuracy.result()) == pytest.approx(2 / 3)


def test_what_is_computed_again_has_the_same_gradients():
    """On TensorFlow; `test_strategy.py` trains with it on JAX."""
    shape = (16, 16, 3)
    images, labels = np.random.default_rng(0).random((4, *shape), np.float32) * 255, np.eye(8)[:4]

    def differentiate(remat):
        settings = config.preset("tiny", (f"train.remat={remat}", "model.dropout=0"))
        model = trainer.build_seeded_shape(settings, shape, 8).model

        @tf.function
        def compute():
            with tf.GradientTape() as tape:
                loss = keras.losses.CategoricalCrossentropy(from_logits=True)(
                    labels, model(images, training=True)
                )
            return tape.gradient(loss, model.trainable_variables)

        operations = compute.get_concrete_function().graph.get_operations()
        return compute(), sum(operation.type == "Relu" for operation in operations)

    plain, stored = differentiate("false")
    again, computed = differentiate("true")
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert computed == 2 * stored > 0
