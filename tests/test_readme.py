"""The README's commands, as they stand there, in their order and in one folder.

Two train and convert networks, and four run zips in processes of their own: that is what these
commands are for.
"""

import shlex
import shutil

import keras
import numpy as np
import pytest

from tests.support.commands import ROOT, in_process
from tests.test_docs import commands_of
from toolkit.codabench import http as transport
from toolkit.codabench import upload
from toolkit.data import dataset, synthetic

# What takes an hour, a number of another server, and what there is no terminal for; and what stands
# for it here.
INSTEAD = {
    "--preset lite": "--preset tiny --set train.phases.0.epochs=1 --set train.phases.1.epochs=1",
    "--competition 4430": "--competition 1 --yes",
}
NOT_RUN = {
    "cbtool data download bloodmnist": "needs the network; tests/data/test_bloodmnist.py",
    "cbtool reproduce champion-cpu --data training_set.npz": (
        "trains for two hours; tests/tools/test_reproduce.py"
    ),
    "cbtool tune --hours 3 --data training_set.npz": "takes hours; tests/training/test_tune.py",
    "cbtool data labels": "names no file; tests/tools/test_data_labels.py",
    "cbtool data convert": "names no file; tests/data/test_conversion.py",
}


@pytest.fixture
def folder(standin, tmp_path, monkeypatch):
    """A folder with all that the commands name, and a user of a stand-in for CodaBench."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("CODABENCH_URL", standin.url)
    monkeypatch.setattr(upload, "MIN_PAUSE", 0.01)
    monkeypatch.setattr(upload, "MAX_PAUSE", 0.05)
    monkeypatch.setattr(transport, "BACKOFF_SECONDS", 0.01)
    cells = synthetic.draw(12)
    dataset.save(cells, tmp_path / "training_set.npz")
    digits = cells.images[:, ::12, ::12].mean(axis=-1).astype(np.uint8)
    np.savez(tmp_path / "train.npz", images=digits, labels=cells.labels)
    np.savez(tmp_path / "held_out.npz", images=cells.images[:20], labels=cells.labels[:20])
    pixels = keras.Input((96, 96, 3))
    features = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(pixels)
    features = keras.layers.GlobalAveragePooling2D()(features)
    scores = keras.layers.Dense(8, activation="softmax")(features)
    keras.Model(pixels, scores).save(tmp_path / "my_model.keras")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    return tmp_path


def test_every_command_works(folder, standin):
    commands = list(commands_of((ROOT / "README.md").read_text(encoding="utf-8")))
    run = []
    for command in commands:
        words = command.partition("  #")[0].rstrip()
        if words in NOT_RUN or words in run:
            continue
        run.append(words)
        for there, here in INSTEAD.items():
            words = words.replace(there, here)
        typed = f"{standin.username}\npw-alice-123\n" if words == "cbtool login" else ""
        result = in_process(*shlex.split(words)[1:], cwd=folder, input=typed)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    assert len(run) >= 14
    assert NOT_RUN.keys() <= set(commands), "it is not in the README any more"
    assert (folder / "runs" / "first" / "report.html").exists()
    (submission,) = standin.rows
    assert submission.on_leaderboard
