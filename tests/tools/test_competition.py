"""A competition of one's own, from its description to a rehearsed score: scikit-learn's digits, in
grey, function style, scored by the log loss."""

import io
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.support.commands import assert_one_sentence, in_process
from tests.support.readers import make_zip
from toolkit.core import competition_file
from toolkit.core.contract import AN2DL2024

OPTIONS = ("--metric", "log-loss", "--style", "function", "--not-corrupted")
FUNCTION = """import numpy as np

def predict(X):
    assert X.shape[1:] == (8, 8, 1), X.shape
    chosen = X.reshape(len(X), -1).sum(axis=1).astype(int) % 10
    return 0.9 * np.eye(10)[chosen] + 0.01
"""


def run(folder, *arguments, **options):
    return in_process(*arguments, cwd=folder, **options)


@pytest.fixture
def folder(tmp_path):
    """A working folder with the digits, described."""
    digits = load_digits()
    images = (digits.images * 255 / 16).round().astype(np.uint8)
    for name, rows in (("train", slice(0, 400)), ("hidden", slice(400, 460))):
        np.savez(tmp_path / f"{name}.npz", images=images[rows], labels=digits.target[rows])
    made = run(tmp_path, "init", "--name", "Digits", "--data", "train.npz", *OPTIONS)
    assert made.returncode == 0, made.stderr
    return tmp_path


def test_the_file_says_what_the_training_file_shows(folder):
    found = competition_file.read(folder / "competition.toml")
    assert found.image_shape == (8, 8, 1) and found.classes == 10
    assert found.metric == "log-loss" and found.returns == "probabilities"
    assert_one_sentence(run(folder, "init", "--name", "Digits", "--data", "train.npz"), "exists")


class Terminal(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_person_is_asked_for_what_no_option_says(tmp_path, monkeypatch):
    answers = ["Leaves", "64", "48", "5", "", "macro-f1", "one-hot", "n", "120"]
    monkeypatch.setattr("tests.support.commands.io.StringIO", Terminal)
    made = run(tmp_path, "init", "--channels", 1, input="\n".join(answers) + "\n")
    assert made.returncode == 0, made.stderr
    found = competition_file.read(tmp_path / "competition.toml")
    assert found.name == "Leaves" and found.image_shape == (64, 48, 1) and found.classes == 5
    assert (found.style, found.metric, found.returns) == ("class", "macro-f1", "one-hot")
    assert found.time_limit == 120 and not found.corrupted


def test_from_the_description_to_a_rehearsed_score(folder):
    """The score of the zip here is that of the bundle's own programs to the last digit that they
    print. Two processes run the zip: they are what the rehearsal and `score` are about."""
    phases = "train.phases=[{trainable='all', epochs=2, learning_rate=2e-3}]"
    settings = ["--set", "model.input_size=32", "--set", phases]
    trained = run(
        folder, "train", "--preset", "tiny", "--data", "train.npz", "--run", "run", *settings
    )
    assert trained.returncode == 0, trained.stderr
    assert "phase 1 of 1, epoch 2 of 2: loss " in trained.stderr
    assert 'monitor = "val_loss"' in (folder / "run" / "config.toml").read_text()
    evaluated = run(folder, "evaluate", "--run", "run", "--no-views", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    values = json.loads(evaluated.stdout)
    assert values["validation"]["metric"] == "log-loss"
    # The hidden images are not corrupted: they are expected to be like the clean ones.
    assert values["estimated_score"] == values["clean"] > 0
    assert run(folder, "build", "--run", "run").returncode == 0
    scored = run(folder, "score", "submission.zip", "--data", "hidden.npz", "--json")
    assert scored.returncode == 0, scored.stderr
    here = json.loads(scored.stdout)
    assert here["metric"] == "log-loss" and 0 < here["score"] < np.log(10)
    assert run(folder, "bundle", "--out", "bundle", "--data", "hidden.npz").returncode == 0
    rehearsed = run(
        folder, "rehearse", "submission.zip", "--bundle", "bundle", "--backend", "processes"
    )
    assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
    found = re.search(r"log-loss (\d\.\d{4}) on 60 images", rehearsed.stdout)
    assert float(found[1]) == pytest.approx(here["score"], abs=5e-5)


def test_a_function_of_somebody_elses_is_checked_by_the_contract(folder):
    (folder / "s.zip").write_bytes(make_zip({"model.py": FUNCTION.encode()}))
    checked = run(folder, "validate", "s.zip", "--evaluator", "none", "--json")
    found = {check["name"]: check for check in json.loads(checked.stdout)["checks"]}
    assert checked.returncode == 0, found
    assert found["interface"]["detail"] == "a function predict(X) that returns probabilities"
    assert found["returns"]["detail"] == "probabilities of shape (n, classes)"
    (folder / "s.zip").write_bytes(make_zip({"model.py": FUNCTION.replace("0.01", "1").encode()}))
    checked = run(folder, "validate", "s.zip", "--evaluator", "none", "--json")
    found = {check["name"]: check for check in json.loads(checked.stdout)["checks"]}
    assert checked.returncode == 1
    assert "not probabilities" in found["returns"]["detail"]
    unknown = run(folder, "time", "s.zip", "--json")
    assert unknown.returncode == 2 and "give --images N" in unknown.stderr
    description = folder / "competition.toml"
    description.write_text(description.read_text().replace("channels", "hidden = 60\nchannels"))
    assert competition_file.read(description).hidden_images == 60
    timed = run(folder, "time", "s.zip", "--json")
    assert_one_sentence(timed, "predict returned numbers from 1 to 1.9, not probabilities", code=1)


CSV = r"""import numpy as np

def predict(X):
    chosen = X.reshape(len(X), -1).sum(axis=1).astype(int) % 10
    with open("answers.csv", "w") as file:
        file.write("image,digit\n")
        for number in reversed(range(len(X))):  # in any order
            file.write(f"{number},{chosen[number]}\n")
    return "answers.csv"
"""


def test_a_csv_file_is_read_wherever_labels_are(folder):
    """The light function runs as a process in each command, since that is what reads its file."""
    (folder / "competition.toml").unlink()
    options = ("--style", "function", "--returns", "csv", "--csv-columns", "image,digit")
    made = run(folder, "init", "--name", "Digits", "--data", "train.npz", *options)
    assert made.returncode == 0, made.stderr
    (folder / "s.zip").write_bytes(make_zip({"model.py": CSV.encode()}))
    checked = run(folder, "validate", "s.zip", "--evaluator", "none", "--json")
    found = {check["name"]: check for check in json.loads(checked.stdout)["checks"]}
    assert checked.returncode == 0, found
    assert found["interface"]["detail"].endswith("that returns the path of a CSV file")
    scored = json.loads(run(folder, "score", "s.zip", "--data", "hidden.npz", "--json").stdout)
    assert run(folder, "bundle", "--out", "bundle", "--data", "hidden.npz").returncode == 0
    rehearse = ("rehearse", "s.zip", "--bundle", "bundle", "--backend", "processes")
    rehearsed = run(folder, *rehearse)
    assert rehearsed.returncode == 0, rehearsed.stdout + rehearsed.stderr
    score = re.search(r"accuracy (\d\.\d{4}) on 60 images", rehearsed.stdout)[1]
    assert float(score) == pytest.approx(scored["score"], abs=5e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("image,digit", "id,label"), "has no column image"),
        (("{number},", "{number // 2},"), "not one row for each image, 0 to"),
        (("{chosen[number]}", "seven"), "invalid literal for int"),
        (('return "answers.csv"', 'return "nowhere.csv"'), "nowhere.csv"),
    ],
)
def test_a_wrong_csv_file_is_said_before_and_in_a_rehearsal(change, words, folder):
    competition = folder / "competition.toml"
    digits = replace(competition_file.read(competition), metric="accuracy", returns="csv")
    competition_file.write(replace(digits, csv_columns=("image", "digit")), competition)
    (folder / "s.zip").write_bytes(make_zip({"model.py": CSV.replace(*change).encode()}))
    checked = run(folder, "validate", "s.zip", "--evaluator", "none", "--json")
    found = {check["name"]: check for check in json.loads(checked.stdout)["checks"]}
    assert checked.returncode == 1 and words in found["predict"]["detail"]
    assert run(folder, "bundle", "--out", "bundle", "--data", "hidden.npz").returncode == 0
    rehearse = ("rehearse", "s.zip", "--bundle", "bundle", "--backend", "processes")
    rehearsed = run(folder, *rehearse)
    assert rehearsed.returncode == 1
    told = "has not one row" if "one row" in words else "is no CSV file with the columns"
    assert told in rehearsed.stdout + rehearsed.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data", "inspect", "rgba.npz"), "(5, 8, 8, 4), not (n, height, width, 1)"),
        (("data", "inspect", "large.npz"), "16×16 pixels, those of Digits 8×8"),
        (("bundle", "--out", "b"), "give --data FILE: the hidden images of Digits"),
        (("upload", "s.zip"), "give ZIP and --competition ID"),
    ],
)
def test_what_is_not_of_the_competition_is_refused(arguments, words, folder):
    labels = np.arange(5)
    np.savez(folder / "rgba.npz", images=np.zeros((5, 8, 8, 4), np.uint8), labels=labels)
    np.savez(folder / "large.npz", images=np.zeros((5, 16, 16), np.uint8), labels=labels)
    result = run(folder, *arguments)
    assert result.returncode == 2 and words in result.stderr


def test_rgb_training_files_of_a_grey_competition_are_read(folder):
    """`data convert` makes them; what is shown to a submission is grey."""
    with np.load(folder / "hidden.npz") as grey:
        images = np.repeat(grey["images"][..., None], 3, axis=3)
        np.savez(folder / "rgb.npz", images=images, labels=grey["labels"])
    (folder / "s.zip").write_bytes(make_zip({"model.py": FUNCTION.encode()}))
    reports = [
        run(folder, "score", "s.zip", "--data", name, "--json").stdout
        for name in ("hidden.npz", "rgb.npz")
    ]
    first, second = (json.loads(text)["score"] for text in reports)
    assert first == second


def test_scores_are_those_of_the_metric(folder):
    """A loss may be above 1, and is not below 0."""
    noted = run(folder, "runs", "note-online", "--", "00000000", 2.3)
    assert_one_sentence(noted, "has no zip 00000000")
    noted = run(folder, "runs", "note-online", "--", "00000000", -0.1)
    assert_one_sentence(noted, "log-loss goes from 0 to inf: not -0.1.")


def test_a_file_elsewhere_is_named(folder):
    other = folder / "other.toml"
    competition_file.write(replace(AN2DL2024, name="Other", image_shape=(8, 8, 1)), other)
    result = run(folder, "--competition-file", other, "data", "inspect", "train.npz")
    assert "Competition: Other" in result.stderr
    inspect = ("data", "inspect", "train.npz")
    named = dict(os.environ, CBTOOL_COMPETITION_FILE=str(other))
    assert "Competition: Other" in run(folder, *inspect, env=named).stderr
    other.write_text("name = 3")
    assert_one_sentence(run(folder, *inspect, env=named), "name in")
    named["CBTOOL_COMPETITION_FILE"] = "nowhere.toml"
    assert_one_sentence(run(folder, *inspect, env=named), "there is no file nowhere.toml")


def test_a_backbone_that_is_too_deep_for_the_images_is_one_sentence(folder):
    arguments = ("train", "--preset", "tiny", "--data", "train.npz", "--run", "run")
    assert_one_sentence(run(folder, *arguments), "simple-cnn cannot be built for images of 8×8")
    assert not (folder / "run").exists()
