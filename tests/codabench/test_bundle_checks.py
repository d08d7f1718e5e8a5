"""What CodaBench's unpacker refuses, found in the bundle before it is uploaded."""

import json

import pytest
import yaml
from PIL import Image

from tests.codabench.test_worker import EXAMPLE, MODEL, make_bundle, make_zip
from tests.support.commands import assert_one_sentence, in_process
from toolkit.codabench import bundle as bundles
from toolkit.codabench.bundle_checks import check_bundle
from toolkit.core.errors import InputError

PHASES = [
    {"index": 0, "name": "Development", "start": "2026-01-01", "tasks": [0]},
    {"index": 1, "name": "Final", "start": "2026-02-01", "tasks": [0]},
]


def check(folder, change=lambda values: None):
    """The checks of a small bundle in `folder` whose competition.yaml `change` has changed."""
    if not folder.exists():
        make_bundle(folder)
    file = folder / "competition.yaml"
    values = yaml.safe_load(file.read_text())
    change(values)
    file.write_text(yaml.safe_dump(values))
    with bundles.open_bundle(folder) as bundle:
        return check_bundle(bundle)


def test_sound_bundles_pass(tmp_path):
    (found,) = check(tmp_path / "bundle")
    assert (found.status, found.name) == ("ok", "bundle")
    with bundles.open_bundle(EXAMPLE) as bundle:
        assert check_bundle(bundle) == [found]


def two_phases(**changes):
    """A change to a bundle: two phases, of which the first is changed."""

    def change(values):
        values["phases"] = [PHASES[0] | changes, PHASES[1]]

    return change


def set_in(place, **changes):
    """A change to the first entry of the list `place`, or to the top where that is ""; None removes
    a key."""

    def change(values):
        if place == "columns":
            target = values["leaderboards"][0]["columns"][0]
        else:
            target = values[place][0] if place else values
        target.update(changes)
        for key in [key for key, value in changes.items() if value is None]:
            del target[key]

    return change


def columns(*values):
    def change(bundle):
        bundle["leaderboards"][0]["columns"] = [
            {"title": "Score", "key": "score", "index": 0} | each for each in values
        ]

    return change


REFUSED = [
    (two_phases(end="2026-02-01"), "phase Final starts on 2026-02-01 00:00:00, and phase"),
    (two_phases(end="2026-03-01"), "phase Final starts on 2026-02-01 00:00:00, and phase"),
    (two_phases(), "phase Development has no end, though phase Final follows it"),
    (two_phases(end="soon"), "the end of phase Development, 'soon', is no date"),
    (two_phases(end="2026-01-31", start=None), "phase Development has no start"),
    (
        two_phases(end="2026-01-31", auto_migrate_to_this_phase=True),
        "submissions cannot migrate to phase Development",
    ),
    (set_in("phases", end="2023-01-01"), "phase Main ends before it starts"),
    (set_in("phases", name=None), "phase 0 has no name"),
    (set_in("phases", tasks=[0, 7]), "phase Main names task 7, which is not there"),
    (set_in("phases", starting_kit="kit.zip"), "the file kit.zip is not in the bundle"),
    (set_in("", terms=None), "competition.yaml lacks terms"),
    (set_in("", terms="none.md"), "the file none.md (terms) is not in the bundle"),
    (set_in("", terms="../../etc/hostname"), "the file ../../etc/hostname (terms) is not in"),
    (set_in("", pages=[{"title": "P", "file": "p.md"}]), "the file p.md (page 0) is not in"),
    (set_in("", pages=[{"title": "P"}]), "page 0 names no file"),
    (set_in("", image="none.png"), "the image none.png is not in the bundle"),
    (set_in("", image="terms.md"), "the image terms.md is no picture"),
    (set_in("", image="logo.bmp"), "the image logo.bmp is BMP"),
    (set_in("tasks", index=None), "task task has no index"),
    (set_in("tasks", name=None), "task 0 has no name"),
    (
        set_in("", solutions=[{"index": 0, "tasks": [3], "path": "s.zip"}]),
        "solution 0 names task 3, which is not there",
    ),
    (set_in("", solutions=[{"tasks": [0], "path": "s.zip"}]), "solution 0 has no index"),
    (set_in("", fact_sheet={"q": {"key": "q"}}), "the question q of the fact_sheet has other keys"),
    (set_in("leaderboards", key=None), "the leaderboard Results has no key"),
    (set_in("leaderboards", submission_rule="Best"), "submission_rule Best is unknown"),
    (columns({}, {"index": 1}), "2 columns have the key score"),
    (columns({}, {"key": "other"}), "2 columns have the index 0"),
    (columns({"index": 1}), "no column has the index 0, by which the leaderboard Results ranks"),
    (columns({}, {"key": "b", "index": 1, "computation": "avg"}), "computes from no columns"),
    (
        columns({}, {"key": "b", "index": 1, "computation": "avg", "computation_indexes": [1]}),
        "the column b computes from itself",
    ),
    (
        columns({}, {"key": "b", "index": 1, "computation": "avg", "computation_indexes": [5]}),
        "the column b computes from 5, which is not there",
    ),
    (
        columns({}, {"key": "b", "index": 1, "computation_indexes": [0]}),
        "the column b names columns and no computation",
    ),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_the_unpacker_refuses_is_found(tmp_path, change, words):
    folder = make_bundle(tmp_path / "bundle")
    Image.new("RGB", (2, 2)).save(folder / "logo.bmp")
    (folder / "s.zip").touch()
    found = check(folder, change)
    (problem,) = [each for each in found if words in each.detail]
    assert problem.status == "failed" and problem.hint


def test_an_empty_page_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    (folder / "terms.md").write_text("")
    details = [each.detail for each in check(folder)]
    assert details == [
        "CodaBench refuses it: the file terms.md (terms) is empty",
        "CodaBench refuses it: the file terms.md (page 0) is empty",
    ]


def test_a_second_between_two_phases_is_enough_if_it_stands_in_quotes(tmp_path):
    """Without them YAML makes a time of it, of which the server keeps the day."""
    folder = tmp_path / "bundle"
    (found,) = check(folder, two_phases(end="2026-01-31 23:59:59"))
    assert found.status == "ok"
    file = folder / "competition.yaml"
    text = file.read_text()
    assert "'2026-01-31 23:59:59'" in text
    file.write_text(text.replace("'2026-01-31 23:59:59'", "2026-01-31 23:59:59"))
    (found,) = check(folder)
    assert found.status == "warning" and "loses its time without quotes" in found.detail
    (found,) = check(folder, two_phases(end="2026-01-31T22:00:00+02:00"))
    assert found.status == "warning" and "loses its time zone" in found.detail


def test_a_rehearsal_of_a_refused_bundle_says_so(tmp_path):
    """The submission is scored all the same; the exit code is 1."""
    folder = make_bundle(tmp_path / "bundle")
    check(folder, set_in("", terms="none.md"))
    path = make_zip(tmp_path / "s.zip", MODEL)
    arguments = ("--backend", "processes", "--out", tmp_path / "out", "--json")
    result = in_process("rehearse", path, "--bundle", folder, *arguments)
    report = json.loads(result.stdout)
    assert result.returncode == 1 and report["tasks"][0]["scores"] == {"score": 0.5}
    assert "CodaBench refuses it: the file none.md" in report["checks"][0]["detail"]


@pytest.mark.parametrize("name", ["../outside", "/etc", "link"])
def test_a_part_outside_the_bundle_is_refused(tmp_path, name):
    """Neither by its path nor by a link: a stranger's bundle would get at this machine's files."""
    folder = make_bundle(tmp_path / "bundle")
    (tmp_path / "outside").mkdir()
    (folder / "link").symlink_to(tmp_path / "outside")
    check(folder, lambda values: None)
    file = folder / "competition.yaml"
    values = yaml.safe_load(file.read_text())
    values["tasks"][0]["input_data"] = name
    file.write_text(yaml.safe_dump(values))
    path = make_zip(tmp_path / "s.zip", MODEL)
    result = in_process("rehearse", path, "--bundle", folder, "--out", tmp_path / "out")
    assert_one_sentence(result, f"names the input_data {name}")


def test_a_link_in_a_part_is_refused(tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    (tmp_path / "secret").write_text("s")
    (folder / "input" / "leak").symlink_to(tmp_path / "secret")
    path = make_zip(tmp_path / "s.zip", MODEL)
    arguments = ("--backend", "processes", "--out", tmp_path / "out")
    result = in_process("rehearse", path, "--bundle", folder, *arguments)
    assert_one_sentence(result, "input/leak is a link that leads out of the bundle")


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000, "../" * 2000])
def test_names_that_no_file_can_have_are_not_in_the_bundle(name, tmp_path):
    (found,) = check(tmp_path / "bundle", set_in("", terms=name))
    assert "is not in the bundle" in found.detail or found.detail.endswith("…")
    assert len(found.detail) <= 2000
    with pytest.raises(InputError, match="is neither a folder nor a zip") as caught:
        check(tmp_path / "bundle", set_in("tasks", scoring_program=name))
    assert len(caught.value.sentence) < 1000


@pytest.mark.parametrize(
    "change",
    [
        two_phases(index="1"),  # the server sorts them, a text among numbers
        set_in("phases", tasks=[[0]]),
        set_in("columns", computation_indexes=5),
        set_in("columns", key=["score"]),
        set_in("", solutions=[{"index": 0, "path": "x", "tasks": 7}]),
        set_in("", title=["a"] * 9000),
    ],
)
def test_values_of_another_kind_are_one_sentence(change, tmp_path):
    with pytest.raises(InputError) as caught:
        check(tmp_path / "bundle", change)
    assert "competition.yaml" in caught.value.sentence and len(caught.value.sentence) < 1000


def test_a_version_of_thousands_of_digits_is_one_sentence(tmp_path):
    make_bundle(tmp_path / "bundle")
    file = tmp_path / "bundle" / "competition.yaml"
    file.write_text(file.read_text().replace("version: 2", "version: 0x" + "f" * 5000))
    with (
        pytest.raises(InputError, match="a number has more than 100 characters"),
        bundles.open_bundle(tmp_path / "bundle"),
    ):
        pass
