"""Labels are corrected as the table says, and only where it belongs to the file."""

import numpy as np
import pytest

from toolkit.core.errors import InputError
from toolkit.data import dataset, relabelling
from toolkit.data.label_errors import Suspects

SAMPLES = dataset.Samples(
    np.arange(6, dtype=np.uint8).repeat(8 * 8 * 3).reshape(6, 8, 8, 3),
    np.array([0, 1, 2, 0, 1, 2]),
    np.arange(6),
    ("red, round", "blue", "grün"),
)
HEADER = "id,given,suggested,probability,margin\n"


def relabel(text, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return relabelling.relabel(SAMPLES, path)


def test_what_was_written_can_be_applied_at_once(tmp_path):
    suspects = Suspects(
        np.array([4, 0]),
        np.array([1, 0]),
        np.array([0, 2]),
        np.array([0.9, 0.8]),
        np.array([0.85, 0.7]),
        np.zeros((3, 3), np.int64),
    )
    path = tmp_path / "labels.csv"
    relabelling.write_table(suspects, SAMPLES.class_names, path)
    assert path.read_text().splitlines() == [
        "id,given,suggested,probability,margin",
        '4,blue,"red, round",0.9000,0.8500',
        '0,"red, round",grün,0.8000,0.7000',
    ]
    found = relabelling.relabel(SAMPLES, path)
    assert found.samples.labels.tolist() == [2, 1, 2, 0, 0, 2]
    assert (found.relabelled, found.dropped) == (2, 0)
    assert np.array_equal(found.samples.images, SAMPLES.images)
    assert SAMPLES.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_an_empty_suggestion_drops_the_image(tmp_path):
    found = relabel(f"{HEADER}4,blue,,0.9,0.8\n2,grün,blue,0.9,0.8\n", tmp_path)
    assert found.samples.ids.tolist() == [0, 1, 2, 3, 5]
    assert found.samples.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 5]
    assert found.samples.labels.tolist() == [0, 1, 1, 0, 2]
    assert (found.relabelled, found.dropped) == (1, 1)


@pytest.mark.parametrize(
    "text",
    [
        "id,given,suggested\n4,blue,grün\n",
        "\ufeffid;given;suggested;margin\r\n4;blue;grün;0,8\r\n",
        "suggested,note,given,id\ngrün,sure,blue,4\n\n",
    ],
    ids=["without the numbers", "by a spreadsheet", "in another order"],
)
def test_a_table_that_another_program_saved_is_read(text, tmp_path):
    assert relabel(text, tmp_path).samples.labels.tolist() == [0, 1, 2, 0, 2, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{HEADER}6,blue,grün,1,1\n", "line 2 .*no image 6; the file has 6"),
        (f"{HEADER}-1,blue,grün,1,1\n", "line 2 .*'-1' is no id"),
        (f"{HEADER}{'9' * 5000},blue,grün,1,1\n", "line 2 .*is no id"),
        (f"{HEADER}4,blue,grün,1,1\n4,blue,blue,1,1\n", "line 3 .*image 4 is named a second time"),
        (f"{HEADER}4,grün,blue,1,1\n", "line 2 .*image 4 has the label 'blue', not 'grün'"),
        (f"{HEADER}4,blue,green,1,1\n", "line 2 .*'green' is not the name of one class"),
        (f"{HEADER}4\n", "line 2 .*image 4 has the label 'blue', not ''"),
        ("id,given\n4,blue\n", "no column suggested; it has: given, id"),
        ("", "no column id; it has: nothing"),
        ('id,given,suggested\n4,"blue' + "e" * 200_000, "labels.csv is damaged"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(text, reason, tmp_path):
    with pytest.raises(InputError, match=reason) as refusal:
        relabel(text, tmp_path)
    assert refusal.value.hint


def test_a_name_of_two_classes_is_refused(tmp_path):
    samples = dataset.Samples(SAMPLES.images, SAMPLES.labels, SAMPLES.ids, ("a", "b", "b"))
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}0,a,b,1,1\n")
    with pytest.raises(InputError, match="'b' is not the name of one class"):
        relabelling.relabel(samples, path)
