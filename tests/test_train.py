"""Training, on a run that the command line made: what it leaves, and that it learnt."""

import csv
import json

import numpy as np
import pytest
from conftest import assert_one_sentence, cbtool

from toolkit import config, data, models, package, runs, split, train, weights
from toolkit.errors import InputError


def history_of(run):
    with run.history.open() as file:
        return list(csv.DictReader(file))


def test_the_history_has_a_row_an_epoch_and_marks_the_best(run_folder):
    run = runs.open_finished(run_folder)
    rows = history_of(run)
    assert [(row["phase"], row["epoch"]) for row in rows] == [("0", "0"), ("1", "0"), ("1", "1")]
    losses = [float(row["val_loss"]) for row in rows]
    best = [loss < min(losses[:number], default=np.inf) for number, loss in enumerate(losses)]
    assert [row["best"] == "1" for row in rows] == best
    assert json.loads(run.finished.read_text())["best"]["val_loss"] == min(losses)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_the_checkpoint_is_the_best_epoch(run_folder, training_file):
    """Its validation loss, computed here, is the lowest of the history."""
    run = runs.open_finished(run_folder)
    samples = data.load(training_file)
    rows = split.read(run.split).rows("validation", samples)
    scores = package.trained(run).predict(samples.images[rows].astype(np.float32), verbose=0)
    logs = scores - scores.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    loss = -logs[np.arange(len(rows)), samples.labels[rows]].mean()
    assert loss == pytest.approx(min(float(row["val_loss"]) for row in history_of(run)), rel=1e-3)


def test_the_run_says_what_it_was_made_of(run_folder, training_file):
    run = runs.open_finished(run_folder)
    provenance = runs.read_provenance(run)
    assert provenance["fingerprint"] == data.load(training_file).fingerprint == split.read(run.split).fingerprint
    assert provenance["versions"]["tensorflow"]
    assert config.read(run.config).train.phases[1].epochs == 2
    with run.clean.open() as file:
        kept = {int(row["id"]) for row in csv.DictReader(file) if row["kept"] == "1"}
    parts = split.read(run.split)
    assert kept == set(parts.train + parts.validation + parts.test)


def test_the_head_phase_leaves_the_backbone_alone(cells, tmp_path):
    settings = config.preset("tiny", ("train.phases.0.epochs=1", "split.validation=0.2", "split.test=0.2"))
    settings = config.Config(
        **{**vars(settings), "train": config.TrainConfig(phases=settings.train.phases[:1], batch_size=32)}
    )
    network = train.start(settings, cells)
    before = {layer.name: layer.get_weights() for layer in network.model.layers}
    run = runs.begin(tmp_path / "run", settings, cells, tmp_path)
    _, parts = runs.prepare(run, cells, settings)
    train.train(network, run, cells, parts, settings)
    for layer in network.model.layers:
        same = all(np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights()))
        if layer.get_weights():
            assert same == (layer.name in network.backbone)


def test_lite_starts_from_imagenet_and_from_nothing(cells):
    settings = config.preset("lite")
    pretrained = train.start(settings, cells).model.get_layer("stem_conv").get_weights()[0]
    blank = (
        models.build(config.without_weights(settings.model), (96, 96, 3), 8)
        .model.get_layer("stem_conv")
        .get_weights()[0]
    )
    assert pretrained.shape == blank.shape and not np.allclose(pretrained, blank, atol=1e-3)


def test_weights_of_another_backbone_do_not_fit(cells, tmp_path):
    network = models.build(config.ModelConfig(backbone="simple-cnn", weights="none"), (96, 96, 3), 8)
    weights.save(network.model, tmp_path / "cnn.npz")
    with pytest.raises(InputError, match="do not fit this network"):
        train.start(config.preset("lite", (f"model.weights={tmp_path / 'cnn.npz'}",)), cells)
    lite = weights.efficientnet_lite0_file()
    with pytest.raises(InputError, match="do not fit simple-cnn"):
        train.start(config.preset("tiny", (f"model.weights={lite}",)), cells)


def test_training_starts_from_a_file_of_weights(run_folder, cells):
    """An earlier run's checkpoint, whatever its head, and the published file by its path."""
    checkpoint = runs.Run(run_folder).checkpoint
    settings = config.preset("tiny", (f"model.weights={checkpoint}", "model.head_units=[5]"))
    kernel = train.start(settings, cells).model.get_layer("conv_0").get_weights()[0]
    with np.load(checkpoint) as arrays:
        assert np.array_equal(kernel, arrays["conv_0/kernel"])
    by_path = train.start(config.preset("lite", (f"model.weights={weights.efficientnet_lite0_file()}",)), cells)
    by_name = train.start(config.preset("lite"), cells)
    stems = [network.model.get_layer("stem_conv").get_weights()[0] for network in (by_path, by_name)]
    assert np.array_equal(*stems)


def test_a_run_is_never_overwritten(run_folder, training_file):
    before = runs.Run(run_folder).history.read_bytes()
    assert_one_sentence(
        cbtool("train", "--preset", "tiny", "--data", training_file, "--run", run_folder), "is not empty"
    )
    assert runs.Run(run_folder).history.read_bytes() == before


def test_a_diverging_training_says_so(training_file, tmp_path):
    settings = [
        "--set",
        "train.phases.0.learning_rate=1e30",
        "--set",
        "split.validation=0.2",
        "--set",
        "split.test=0.2",
    ]
    result = cbtool("train", "--preset", "tiny", "--data", training_file, "--run", tmp_path / "run", *settings)
    assert_one_sentence(result, "training diverged")
    assert_one_sentence(cbtool("evaluate", "--run", tmp_path / "run"), "did not come to its end")
