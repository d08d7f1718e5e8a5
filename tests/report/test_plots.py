"""Picture files: what is written beside the images."""

import numpy as np
from markupsafe import escape
from PIL import Image

from toolkit.report import charts, plots
from toolkit.training.history import Epoch

GREY = np.full((30, 40, 40, 3), 128, np.uint8)


def read(path):
    return np.asarray(Image.open(path).convert("L"))


def test_a_sheet_has_captions_below_and_names_beside_its_images(tmp_path):
    plots.contact_sheet(GREY, tmp_path / "plain.png")
    plots.contact_sheet(GREY, tmp_path / "ids.png", captions=[str(1000 + n) for n in range(30)])
    plots.contact_sheet(GREY, tmp_path / "rows.png", row_names=("image", "copy 1", "copy 2"))
    plain, ids, rows = (read(tmp_path / f"{name}.png") for name in ("plain", "ids", "rows"))
    assert set(np.unique(plain)) == {128, 255}  # no letter
    assert len(ids) == len(plain) + 3 * plots.LINE and ids.min() < 50
    below = ids[plots.GAP + 40 : plots.GAP + 40 + plots.LINE]
    assert (below < 128).any() and not (ids[plots.GAP : plots.GAP + 40] < 128).any()
    margin = rows.shape[1] - plain.shape[1]
    assert margin == plots.LETTERS * len("copy 1")
    assert (rows[:, :margin] < 50).any() and not (rows[:, margin:] < 128).any()


def test_of_more_images_than_fit_evenly_spaced_ones_keep_their_captions(tmp_path):
    images = np.repeat(GREY[:1], 200, axis=0)
    captions = [""] * 199 + ["last"]
    plots.contact_sheet(images, tmp_path / "x.png", captions)
    sheet = read(tmp_path / "x.png")
    bottom = sheet[-plots.LINE - plots.GAP :]
    assert (bottom < 50).any()  # the last image is always among them


def test_dollar_signs_in_names_are_no_formulas(tmp_path):
    """matplotlib takes what stands between two for a formula, and raises an error if it is none."""
    names = (r"$\frac$", "$a$", r"\$b$", "$")
    plots.confusion_picture(np.eye(4, dtype=int), names, r"of $\frac$", tmp_path / "x.png")
    plots.labelled_sheet(GREY[:4], names, tmp_path / "y.png")
    plots.backtest_picture({name: [(0.1, 0.2)] for name in names}, tmp_path / "z.png")
    epochs = [Epoch(0, number, 1, 0.1, *[0.5] * 6, best=True) for number in range(2)]
    drawn = charts.draw_comparison(dict.fromkeys(names, epochs))
    assert all(escape(name) in drawn for name in names)


def test_two_confusion_matrices_have_two_titles(tmp_path, monkeypatch):
    titles = []

    def note(confusion, class_names, title, path):
        titles.append(title)

    monkeypatch.setattr(plots, "confusion_picture", note)
    matrices = {
        "validation_clean": np.array([[9, 1], [0, 10]]),
        "test_shift": np.array([[5, 5], [5, 5]]),
    }
    (tmp_path / "my$run").mkdir()
    plots.confusion_pictures(matrices, ("a", "b"), tmp_path / "my$run")
    assert titles[0].startswith("my$run: validation part, clean, accuracy 0.950")
    assert titles[1].startswith("my$run: test part, shift, accuracy 0.500")
