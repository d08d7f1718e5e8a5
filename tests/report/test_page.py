"""The page of a run, and that of several: what it says, that it needs nothing else, and that
foreign text stays text."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tests.support.commands import OLD, assert_one_sentence, in_process
from toolkit.core import config
from toolkit.report import charts, recipe
from toolkit.training.history import Epoch

SECTIONS = (
    *("scores", "corruptions", "classes", "mistakes", "confidence", "views", "training"),
    *("augmentation", "cleaning", "zip", "recipe"),
)


class Reader(HTMLParser):
    """The parts of a page that a test asks for."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def values(self, tag, attribute):
        return [found[attribute] for name, found in self.tags if name == tag and attribute in found]

    @property
    def sections(self):
        return [id_ for id_ in self.values("section", "id") if id_ in SECTIONS]


@pytest.fixture
def run(small_run, tmp_path):
    """A copy of `small_run` that a test may change."""
    shutil.copytree(small_run, tmp_path / "run")
    return tmp_path / "run"


def report(folder, *arguments):
    """The page that `report` writes, read."""
    result = in_process("report", "--run", folder, *arguments)
    assert result.returncode == 0, result.stderr
    return Reader((folder / "report.html").read_text(encoding="utf-8")), result


def test_evaluate_writes_a_page_with_every_section(small_run):
    page = Reader((small_run / "report.html").read_text(encoding="utf-8"))
    assert page.sections == list(SECTIONS)
    assert page.values("a", "href")[1:] == [f"#{name}" for name in SECTIONS]
    ids = page.values("section", "id") + page.values("h2", "id")
    assert len(ids) == len(set(ids))
    metrics = json.loads((small_run / "metrics.json").read_text())["validation"]
    for score in ("clean", "shift", "estimated_score"):
        assert f"{metrics[score]:.3f}" in page.text


def test_it_needs_no_network_and_its_pictures_are_whole(small_run):
    text = (small_run / "report.html").read_text(encoding="utf-8")
    page = Reader(text)
    pictures = page.values("img", "src")
    assert len(pictures) > 20
    for picture in pictures:
        data = base64.b64decode(picture.removeprefix("data:image/jpeg;base64,"), validate=True)
        Image.open(io.BytesIO(data)).load()
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")
    # Names of SVG's own language are no addresses.
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert all(address.startswith("http://www.w3.org/") for address in addresses)
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object")]


def test_of_very_many_classes_there_is_no_matrix(run, monkeypatch):
    assert "true \\ predicted" in report(run)[0].text
    monkeypatch.setattr("toolkit.report.score_sections.MATRIX_LIMIT", 7)
    text = report(run)[0].text
    assert "true \\ predicted" not in text and "matrix of 8 classes is left out" in text


def test_foreign_text_stays_text(run):
    attack = "<script>alert(1)</script>"
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["class_names"][0] = attack
    provenance["machine"] = '"><img src=x onerror=alert(1)>'
    (run / "provenance.json").write_text(json.dumps(provenance))
    page, _ = report(run)
    assert attack in page.text and provenance["machine"] in page.text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not page.values("img", "onerror")


def test_a_run_that_is_not_evaluated_has_a_page_of_what_there_is(run):
    for name in ("metrics.json", "inference.json"):
        (run / name).unlink()
    page, _ = report(run)
    assert "This run is not evaluated yet." in page.text
    assert f"cbtool evaluate --run {run}" in page.text
    assert page.sections == ["scores", "training", "augmentation", "cleaning", "zip", "recipe"]


def test_without_the_training_file_there_are_no_pictures_and_a_hint(run, tmp_path):
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["data"] = str(tmp_path / "gone.npz")
    (run / "provenance.json").write_text(json.dumps(provenance))
    page, result = report(run)
    assert page.values("img", "src") == []
    assert "No pictures of images" in result.stderr and "--data FILE" in result.stderr
    named = in_process("report", "--run", run, "--data", tmp_path / "gone.npz")
    assert_one_sentence(named, "gone.npz")


def test_pictures_of_another_file_are_not_shown(run, training_file, tmp_path):
    named = in_process("report", "--run", run, "--data", training_file)
    assert_one_sentence(named, "not the data of this run")
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["data"] = str(training_file)  # it was replaced since
    (run / "provenance.json").write_text(json.dumps(provenance))
    page, result = report(run)
    assert page.values("img", "src") == [] and "not the data of this run" in result.stderr


def test_a_folder_that_is_no_run_is_said(tmp_path, small_run):
    for arguments in (("--run", tmp_path), ("--compare", small_run, "--compare", tmp_path)):
        assert_one_sentence(in_process("report", *arguments), "is not a run folder")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.json", '{"validation": {"clean": 1}}'),
        ("history.csv", "phase,epoch\n0,x\n"),
        ("clean.csv", "id,reason\nx,\n"),
        ("clean.csv", ""),
        ("predictions/validation-clean.npz", "no npz"),
    ],
)
def test_a_damaged_run_is_one_sentence_and_leaves_the_page(name, text, run):
    before = (run / "report.html").read_bytes()
    (run / name).write_text(text)
    assert_one_sentence(in_process("report", "--run", run), name.rpartition("/")[2])
    assert (run / "report.html").read_bytes() == before


def test_runs_are_compared_with_paired_differences(small_run, run, tmp_path):
    out = tmp_path / "comparison.html"
    result = in_process("report", "--compare", small_run, "--compare", run, "--out", out)
    assert result.returncode == 0, result.stderr
    page = Reader(out.read_text(encoding="utf-8"))
    assert "inconclusive" in page.text and "+0.0000" in page.text  # a run and its copy
    assert "The configurations are equal." in page.text
    # Two folders of one name are told apart.
    assert str(small_run) in page.text and str(run) in page.text


def test_a_run_that_cannot_be_compared_is_said(small_run, run, tmp_path):
    (run / "metrics.json").unlink()
    out = tmp_path / "comparison.html"
    result = in_process("report", "--compare", small_run, "--compare", run, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "because a run is not evaluated" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--compare", OLD / "runs" / "run"), "needs two runs or more"),
        (("--compare", "a", "--compare", "b", "--run", "c"), "either --compare or --run"),
    ],
)
def test_wrong_use_is_refused(arguments, words):
    result = in_process("report", *arguments)
    assert result.returncode == 2 and words in result.stderr


def test_copies_are_one_cross_with_their_number():
    points = np.array([[3.0, 1.0]] * 1600 + [[-2.0, 0.5]] * 200 + [[0.0, 0.0]])
    places = {(round(x, 1), round(y, 1)): count for (x, y), count in charts.count_places(points)}
    assert places == {(3.0, 1.0): 1600, (-2.0, 0.5): 200, (0.0, 0.0): 1}
    drawn = charts.draw_cleaning(points, np.arange(len(points)) == 1800)
    assert "1,600" in drawn and "200" in drawn


def test_the_last_best_epoch_is_the_kept_one():
    bests = (True, False, True, False)
    epochs = [Epoch(0, i, 1.0, 1e-3, 1, 0, 1, 0, 0, 0, best) for i, best in enumerate(bests)]
    assert charts.find_kept(epochs) == 2


def test_the_nearest_preset_and_what_differs():
    settings = config.preset("champion-cpu", ("train.ema=0.99",))
    nearest, differences = recipe.find_nearest_preset(settings)
    assert nearest == "champion-cpu"
    assert differences == [("train.ema", ["0.998", "0.99"])]
    with_other_chain = config.preset("champion-cpu", ("augment.1.rate=0.9",))
    rows = dict(recipe.list_differences([settings, with_other_chain]))
    assert rows["augment.1"] == ["rotate, rate 0.5, factor 0.5", "rotate, rate 0.9, factor 0.5"]
