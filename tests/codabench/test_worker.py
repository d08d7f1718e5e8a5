"""Rehearsals of small bundles, each with the outcome that was measured on a real server."""

import json
import shutil
import stat
import subprocess
import zipfile
from dataclasses import replace

import pytest
import yaml
from PIL import Image

from tests.support.commands import ROOT, assert_one_sentence, in_process
from toolkit.codabench import bundle as bundles
from toolkit.codabench import bundle_checks, worker, worker_checks
from toolkit.data import dataset
from toolkit.runtime import engines

EXAMPLE = ROOT / "examples" / "an2dl2024-bundle"
IMAGE = "small:1"  # an image with python3: where podman has one called so, the tests run in it, too


def _podman_has_the_image() -> bool:
    return (
        bool(shutil.which("podman"))
        and subprocess.run(["podman", "image", "exists", IMAGE]).returncode == 0
    )


WORKING = [
    "processes",
    *(["bubblewrap"] if shutil.which("bwrap") else []),
    *(["podman"] if _podman_has_the_image() else []),
]

SLOW = pytest.mark.slow  # every bundle once more, in the other engines

# Writes what it finds of the submission and of its words.
INGESTION = """
import json, os, pathlib, sys
program = pathlib.Path("/app/ingested_program")
found = sorted(str(path.relative_to(program)) for path in program.rglob("*"))
print("ingestion sees", found)
seen = {"files": found, "words": sys.argv[1:], "cwd": os.getcwd()}
pathlib.Path("/app/output/seen.json").write_text(json.dumps(seen))
"""
SCORING = """
import json, pathlib
pathlib.Path("/app/output/scores.json").write_text('{"score": 0.5}')
"""
MODEL = {"model.py": "class Model: pass\n"}


def program(text, command):
    return {"run.py": text, "metadata.yaml": f"command: {json.dumps(command)}\n"}


def make_bundle(folder, ingestion=None, scoring=SCORING, **settings):
    """A bundle with one task; programs are texts, or files by name. `settings` go to the task, the
    phase or the top."""
    files = {}
    if ingestion is not None:
        files["ingestion"] = (
            ingestion
            if isinstance(ingestion, dict)
            else program(ingestion, "python3 $ingestion_program/run.py")
        )
    files["scoring"] = (
        scoring
        if isinstance(scoring, dict)
        else program(scoring, "python3 $program/run.py $input $output")
    )
    files["input"], files["reference"] = {"x.txt": "x"}, {"y.txt": "y"}
    for name, contents in files.items():
        (folder / name).mkdir(parents=True)
        for file, text in contents.items():
            (folder / name / file).write_text(text)
    task = {
        "index": 0,
        "name": "task",
        "input_data": "input",
        "reference_data": "reference",
        "scoring_program": "scoring",
    }
    if ingestion is not None:
        task["ingestion_program"] = "ingestion"
    phase = {"index": 0, "name": "Main", "start": "2024-01-01", "tasks": [0]}
    column = {"title": "Score", "key": "score", "index": 0, "precision": 2}
    values = {
        "version": 2,
        "title": "Small",
        "image": "logo.png",
        "terms": "terms.md",
        "pages": [{"title": "P", "file": "terms.md"}],
        "docker_image": IMAGE,
        "tasks": [task],
        "phases": [phase],
        "leaderboards": [
            {
                "title": "Results",
                "key": "main",
                "submission_rule": "Force_Last",
                "columns": [column],
            }
        ],
    }
    for key, value in settings.items():
        place = (
            task
            if key.startswith("ingestion_only")
            else phase
            if key in ("execution_time_limit", "hide_output")
            else values
        )
        place[key] = value
    (folder / "competition.yaml").write_text(yaml.safe_dump(values))
    (folder / "terms.md").write_text("Be fair.")
    Image.new("RGB", (2, 2)).save(folder / "logo.png")
    return folder


def make_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture(params=[WORKING[0], *(pytest.param(each, marks=SLOW) for each in WORKING[1:])])
def rehearse(request, tmp_path):
    """`rehearse_in` each engine that works here; by default the first, which works everywhere."""
    return rehearse_in(request.param, tmp_path)


def rehearse_in(name, tmp_path):
    """A function of a bundle's folder and a submission's files, or its zip: what became of it, and
    all checks by name."""

    def run(folder, submission):
        path = (
            make_zip(tmp_path / "s.zip", submission) if isinstance(submission, dict) else submission
        )
        out = tmp_path / "out"
        with (
            bundles.open_bundle(folder) as bundle,
            engines.open_engine(name, bundle.docker_image, "python3") as engine,
        ):
            phase = bundle.phase(None)
            found = worker_checks.check_submission(
                path, bundle, phase
            ) + worker_checks.check_commands(bundle, phase, out / "programs")
            rehearsals = worker.rehearse(path, bundle, phase, engine, out)
            found += [
                check
                for rehearsal in rehearsals
                for check in worker_checks.check_rehearsal(rehearsal, bundle)
            ]
        bad = {}
        for check in found:
            if check.status != "ok":
                before = f"{bad[check.name].detail}; " if check.name in bad else ""
                bad[check.name] = replace(check, detail=before + check.detail)
        return rehearsals[0] if len(rehearsals) == 1 else rehearsals, bad

    return run


def seen(rehearsal):
    return json.loads((rehearsal.output.parent / "input" / "res" / "seen.json").read_text())


def log(rehearsal, name):
    return rehearsal.logs[name].read_text()


def test_code_for_the_ingestion_is_copied_into_the_output(rehearse, tmp_path):
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", INGESTION), MODEL)
    assert (rehearsal.status, rehearsal.scores, rehearsal.posted) == (
        "Finished",
        {"score": 0.5},
        {"score": 0.5},
    )
    assert seen(rehearsal)["files"] == ["model.py"]
    assert (rehearsal.output.parent / "input" / "res" / "model.py").exists() and "copied" in bad
    assert "ingestion sees ['model.py']" in log(rehearsal, "prediction_ingestion_stdout")
    assert set(rehearsal.logs) == set(worker.LOGS) and all(
        path.exists() for path in rehearsal.logs.values()
    )
    assert [step.name for step in rehearsal.steps] == ["prediction", "scoring"]


@pytest.mark.parametrize("name", WORKING[1:])
def test_the_other_engines_run_a_bundle_too(name, tmp_path):
    rehearsal, _ = rehearse_in(name, tmp_path)(make_bundle(tmp_path / "b", INGESTION), MODEL)
    assert (rehearsal.status, rehearsal.scores) == ("Finished", {"score": 0.5})
    assert seen(rehearsal)["files"] == ["model.py"]


def test_a_nested_folder_is_not_flattened(rehearse, tmp_path):
    rehearsal, bad = rehearse(
        make_bundle(tmp_path / "b", INGESTION), {"mine/model.py": "", "mine/weights.h5": ""}
    )
    assert seen(rehearsal)["files"] == ["mine", "mine/model.py", "mine/weights.h5"]
    assert "mine/" in bad["nested folder"].detail


def test_links_become_small_files(rehearse, tmp_path):
    path = make_zip(tmp_path / "links.zip", MODEL)
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
        archive.writestr("../outside", "x")
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", INGESTION), path)
    assert (rehearsal.output.parent / "input" / "res" / "link").read_text() == "/etc/passwd"
    assert seen(rehearsal)["files"] == ["link", "model.py", "outside"]
    assert "link" in bad["entries"].detail


def test_results_without_ingestion_are_scored(rehearse, tmp_path):
    scoring = """
import pathlib, sys
place = pathlib.Path(sys.argv[1])
found = (place / "res" / "answer.txt").read_text() == (place / "ref" / "y.txt").read_text()
pathlib.Path(sys.argv[2], "scores.txt").write_text(f"score: {float(found)}")
"""
    rehearsal, _ = rehearse(make_bundle(tmp_path / "b", scoring=scoring), {"answer.txt": "y"})
    assert rehearsal.scores == {"score": 1.0}


def test_a_submission_with_a_command_runs_by_itself_and_is_not_copied(rehearse, tmp_path):
    code = (
        "import shutil; shutil.copy('/app/input_data/x.txt', '/app/output/answer.txt'); print('hi')"
    )
    rehearsal, bad = rehearse(
        make_bundle(tmp_path / "b"), {"main.py": code, "metadata": "command: python3 main.py"}
    )
    assert rehearsal.status == "Finished" and log(rehearsal, "prediction_stdout") == "hi\n"
    assert sorted(path.name for path in (rehearsal.output.parent / "input" / "res").iterdir()) == [
        "answer.txt",
        "metadata",
    ]
    assert "copied" not in bad


def test_metadata_without_a_command_is_fine_with_an_ingestion_only(rehearse, tmp_path):
    files = MODEL | {"metadata": "description: mine"}
    rehearsal, _ = rehearse(make_bundle(tmp_path / "b", INGESTION), files)
    assert (
        rehearsal.status == "Finished"
        and not (rehearsal.output.parent / "input" / "res" / "model.py").exists()
    )
    shutil.rmtree(tmp_path / "out")
    rehearsal, bad = rehearse(make_bundle(tmp_path / "c"), files)
    assert (rehearsal.status, rehearsal.details) == ("Failed", worker.BAD_ZIP) and "outcome" in bad


def test_an_output_named_metadata_fails(rehearse, tmp_path):
    ingestion = "open('/app/output/metadata', 'w').write('mine')"
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", ingestion), {"model.py": ""})
    assert (rehearsal.status, rehearsal.details) == ("Failed", worker.OUTPUT_METADATA)
    assert bad["metadata"].status == "failed"


def test_exit_codes_of_the_prediction_are_ignored(rehearse, tmp_path):
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", "import sys; sys.exit(3)"), MODEL)
    assert (rehearsal.status, rehearsal.scores) == ("Finished", {"score": 0.5})
    assert "ended with 3" in bad["prediction exit code"].detail
    assert (
        yaml.safe_load((rehearsal.output.parent / "input" / "res" / "metadata").read_text())[
            "ingestionExitCode"
        ]
        == 3
    )


def test_the_exit_code_of_the_scoring_fails(rehearse, tmp_path):
    rehearsal, bad = rehearse(
        make_bundle(tmp_path / "b", INGESTION, SCORING + "raise SystemExit('no way')"), MODEL
    )
    assert (rehearsal.status, rehearsal.details, rehearsal.scores) == ("Failed", worker.NONZERO, {})
    assert "no way" in log(rehearsal, "scoring_stderr") and "scoring" in bad


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"other": 1}', "no key is a column"),
        ('{"score": NaN}', "score is nan"),
        ('{"score": Infinity}', "score is inf"),
        ('{"score": "0.5"}', "score is '0.5'"),
        ('{"score": [0.5]}', "score is [0.5]"),
        ('{"score": 10000000000}', "score is 10000000000"),
        ("[0.5]", "a list"),
    ],
)
def test_scores_that_cannot_be_stored_finish_with_no_score(rehearse, tmp_path, written, said):
    scoring = f"open('/app/output/scores.json', 'w').write({written!r})"
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", INGESTION, scoring), MODEL)
    assert (rehearsal.status, rehearsal.scores) == ("Finished", {})
    assert (
        bad["scores"].detail.startswith("Finished with no score") and said in bad["scores"].detail
    )


@pytest.mark.parametrize(
    ("written", "details"), [(None, worker.NO_SCORES_FILE), ("{bad", worker.BAD_SCORES_FILE)]
)
def test_missing_and_broken_scores_files_fail(rehearse, tmp_path, written, details):
    scoring = "" if written is None else f"open('/app/output/scores.json', 'w').write({written!r})"
    rehearsal, _ = rehearse(make_bundle(tmp_path / "b", INGESTION, scoring), MODEL)
    assert (rehearsal.status, rehearsal.details) == ("Failed", details)


def test_unknown_keys_are_dropped_and_told(rehearse, tmp_path):
    scoring = "open('/app/output/scores.json', 'w').write('{\"score\": 1, \"extra\": 2}')"
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", INGESTION, scoring), MODEL)
    assert rehearsal.scores == {"score": 1.0} and "extra" in bad["score keys"].detail


def test_commands_know_no_shell(rehearse, tmp_path):
    """Words and variables arrive as on the server; a file is not executable."""
    command = (
        "python3 $ingestion_program/run.py $input $output $submission_program $hidden $predictions "
        "$input_data && 'two words' $HOME"
    )
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", program(INGESTION, command)), MODEL)
    words = [
        "/app/input_data",
        "/app/output",
        "/app/ingested_program",
        "/app/input/ref",
        "/app/output",
        "/app/input_data_data",
    ]
    found = seen(rehearsal)
    moved = found["cwd"].removesuffix("/app/program") if not found["cwd"].startswith("/app") else ""
    assert [word.removeprefix(moved) for word in found["words"][:5]] == words[:5] or moved
    assert found["words"][5].endswith("input_data_data") and found["words"][6:] == [
        "&&",
        "two words",
        "$HOME",
    ]
    assert "input_data_data" in bad["command"].detail
    shutil.rmtree(tmp_path / "out")
    _, bad = rehearse(
        make_bundle(tmp_path / "s", program("", "python3 $program/run.py | cat")), MODEL
    )
    assert "'|' of the ingestion_program" in bad["command"].detail
    shutil.rmtree(tmp_path / "out")
    _, bad = rehearse(
        make_bundle(tmp_path / "t", program("", "bash -c 'cd /tmp && ls | cat'")), MODEL
    )
    assert "command" not in bad
    shutil.rmtree(tmp_path / "out")
    scoring = {"run.sh": "#!/bin/sh\nexit 0\n", "metadata.yaml": "command: ./run.sh"}
    rehearsal, bad = rehearse(make_bundle(tmp_path / "c", INGESTION, scoring), MODEL)
    assert rehearsal.details == worker.NONZERO and "executable bit" in bad["command"].detail


def test_the_time_limit_is_one_for_both_containers_of_a_step(rehearse, tmp_path):
    wait = "import time; print('waiting', flush=True); time.sleep({})"
    files = {"main.py": wait.format(1.5), "metadata": "command: python3 main.py"}
    rehearsal, bad = rehearse(
        make_bundle(tmp_path / "b", wait.format(60), execution_time_limit=4), files
    )
    assert (
        rehearsal.status == "Failed"
        and rehearsal.details == "Execution Time Limit exceeded. Limit was 4 seconds"
    )
    assert (
        rehearsal.steps[0].exit_codes == {"program": 0, "ingestion": None}
        and rehearsal.steps[0].seconds < 30
    )
    assert log(rehearsal, "prediction_ingestion_stdout") == "waiting\n"
    assert bad["prediction time"].status == "failed"


def test_ingestion_only_during_scoring_shares_a_folder(rehearse, tmp_path):
    ingestion = """
import pathlib
pathlib.Path("/app/shared/seen").write_text(str(pathlib.Path("/app/ingested_program/model.py").exists()))
"""
    programs = {
        "ingestion": program(ingestion, "python3 /app/program/run.py"),
        "scoring": program(SCORING, "python3 /app/program/run.py"),
    }
    folder = make_bundle(tmp_path / "b", **programs, ingestion_only_during_scoring=True)
    rehearsal, bad = rehearse(folder, MODEL)
    assert "command" not in bad
    assert rehearsal.steps[0].exit_codes == {} and rehearsal.steps[1].exit_codes == {
        "program": 0,
        "ingestion": 0,
    }
    assert (rehearsal.output.parent / "shared" / "seen").read_text() == "True"
    shutil.rmtree(tmp_path / "out")
    folder = make_bundle(tmp_path / "c", programs["ingestion"], ingestion_only_during_scoring=True)
    rehearsal, bad = rehearse(folder, MODEL)  # whose scoring program says $program
    assert rehearsal.details == worker.NONZERO and "/app/ingestion_program" in bad["command"].detail


def test_the_network_is_off(rehearse, tmp_path):
    code = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=1)"
    rehearsal, _ = rehearse(make_bundle(tmp_path / "b", code), MODEL)
    with engines.open_engine("processes", "small:1", "python3") as engine:
        told = (
            "the network is on" in engine.not_reproduced
        )  # where a system allows plain processes no namespace
    assert told or "Network is unreachable" in log(rehearsal, "prediction_ingestion_stderr")


def test_a_module_that_only_the_image_has_is_told(rehearse, tmp_path):
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", "import nowhere"), MODEL)
    assert (
        rehearsal.status == "Finished"
        and bad["module"].detail == "nowhere is missing in this environment"
    )


def test_links_that_a_program_makes_lead_nobody_out(rehearse, tmp_path):
    """What is rewritten or made writable for the next program lies in the rehearsal's folders."""
    outside = tmp_path / "outside.py"
    outside.write_text("path = '/app/program'")
    outside.chmod(0o600)
    code = (
        f"import os; os.symlink({str(outside)!r}, '/app/output/link.py'); "
        f"os.symlink({str(outside)!r}, '/app/program/link.py')"
    )
    rehearse(
        make_bundle(tmp_path / "b", INGESTION),
        {"main.py": code, "metadata": "command: python3 main.py"},
    )
    assert (
        outside.read_text() == "path = '/app/program'" and outside.stat().st_mode & 0o777 == 0o600
    )


@pytest.mark.parametrize("name", ["metadata", "scores.json", "stolen"])
def test_a_link_in_the_output_is_not_followed(rehearse, tmp_path, name):
    """Neither is the file it leads to written, nor does what it holds reach the next program."""
    outside = tmp_path / "secret"
    outside.write_text('{"score": 0.25}')
    code = f"import os; os.symlink({str(outside)!r}, '/app/output/{name}')"
    files = {"main.py": code, "metadata": "command: python3 main.py"}
    scoring = {"scores.json": code, "stolen": SCORING, "metadata": SCORING}[name]
    rehearsal, bad = rehearse(make_bundle(tmp_path / "b", scoring=scoring), files)
    assert outside.read_text() == '{"score": 0.25}'
    taken = rehearsal.output.parent / "input" / "res" / name
    assert name == "metadata" or not taken.exists()
    assert bad["links"].status == "failed" and name in bad["links"].detail
    assert rehearsal.scores == ({} if name == "scores.json" else {"score": 0.5})


def test_each_task_of_a_phase_is_run(rehearse, tmp_path):
    folder = make_bundle(tmp_path / "b", INGESTION)
    description = yaml.safe_load((folder / "competition.yaml").read_text())
    description["tasks"].append(description["tasks"][0] | {"index": 1, "name": "second"})
    description["phases"][0]["tasks"] = [0, 1]
    (folder / "competition.yaml").write_text(yaml.safe_dump(description))
    rehearsals, _ = rehearse(folder, MODEL)
    assert [(each.task, each.scores) for each in rehearsals] == [
        ("task", {"score": 0.5}),
        ("second", {"score": 0.5}),
    ]


def test_what_the_documentation_promises_and_the_worker_lacks(rehearse, tmp_path):
    command = "python3 /app/ingestion_program/run.py $hidden"
    folder = make_bundle(tmp_path / "b", program(INGESTION, command), execution_time_limit=900)
    rehearsal, bad = rehearse(folder, MODEL)
    assert (
        rehearsal.status == "Finished" and rehearsal.steps[0].exit_codes["ingestion"]
    )  # it is not there
    assert "$hidden" in bad["command"].detail and "but does not exist" in bad["command"].detail
    assert "public machines 600" in bad["time limit"].detail


def test_detailed_results_and_the_empty_zip(rehearse, tmp_path):
    scoring = SCORING + "pathlib.Path('/app/output/page.html').write_text('<p>')"
    folder = make_bundle(tmp_path / "b", INGESTION, scoring, enable_detailed_results=True)
    rehearsal, _ = rehearse(folder, MODEL)
    assert rehearsal.detailed_result.name == "page.html"
    shutil.rmtree(tmp_path / "out")
    rehearsal, _ = rehearse(folder, {})
    assert (rehearsal.status, rehearsal.details) == ("Failed", worker.BAD_ZIP)


def test_bubblewrap_is_tried_where_it_is():
    """The sandbox that CI installs works there, so that these tests ran in it and not in plain
    processes alone."""
    if shutil.which("bwrap"):
        with engines.open_engine("bubblewrap", "small:1", "python3") as engine:
            assert engine.name == "bubblewrap" and any(
                "small:1" in lack for lack in engine.not_reproduced
            )


def test_what_the_organiser_set_is_told(tmp_path):
    folder = make_bundle(
        tmp_path / "b",
        docker_image=bundles.DEFAULT_IMAGE,
        auto_run_submissions=False,
        hide_output=True,
    )
    description = yaml.safe_load((folder / "competition.yaml").read_text())
    description["leaderboards"][0]["submission_rule"] = "Add"
    (folder / "competition.yaml").write_text(yaml.safe_dump(description))
    manifest = {"format": 2, "image_shape": [96, 96, 3], "class_names": [], "class_shares": None}
    manifest |= {"time_limit": 900, "networks": []}
    submission = make_zip(tmp_path / "s.zip", MODEL | {"manifest.json": json.dumps(manifest)})
    with bundles.open_bundle(folder) as bundle:
        found = worker_checks.check_submission(submission, bundle, bundle.phase("main"))
    bad = {check.name: check.detail for check in found if check.status != "ok"}
    assert set(bad) == {"image", "start", "hidden", "leaderboard", "own limit"}
    assert "Python 3.7" in bad["image"]


def test_what_a_description_leaves_out_has_the_servers_defaults(tmp_path):
    folder = make_bundle(tmp_path / "b", execution_time_limit=None)
    description = yaml.safe_load((folder / "competition.yaml").read_text())
    del description["tasks"][0]["name"], description["docker_image"]
    (folder / "competition.yaml").write_text(yaml.safe_dump(description))
    with bundles.open_bundle(folder) as bundle:
        phase = bundle.phase(None)
        assert (phase.execution_time_limit, phase.max_submissions_per_day, bundle.docker_image) == (
            600,
            5,
            bundles.DEFAULT_IMAGE,
        )
        assert [task.name for task in bundle.tasks_of(phase)] == ["task"]


def test_columns_that_the_server_computes():
    columns = [bundles.BundleColumn("A", "a", 0), bundles.BundleColumn("B", "b", 1)]
    for computation, value in {"avg": 2.0, "sum": 4.0, "min": 1.0, "max": 3.0}.items():
        computed = bundles.BundleColumn(
            "C", "c", 2, computation=computation, computation_indexes=[0, 1]
        )
        board = bundles.Leaderboard([*columns, computed])
        assert board.add_computed({"a": 1.0, "b": 3.0}) == {"a": 1.0, "b": 3.0, "c": value}


def test_the_command_line_tells_everything(tmp_path):
    folder = make_bundle(tmp_path / "b", INGESTION, hide_output=True)
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", folder)
    path = make_zip(tmp_path / "s.zip", MODEL)
    result = in_process(
        "rehearse", path, "--bundle", archive, "--out", tmp_path / "out", "--backend", "processes"
    )
    assert result.returncode == 0, result.stderr
    for words in (
        "Small, phase Main; run by plain processes",
        "not reproduced: the image small:1",
        "Finished",
        "0.50",
        "s of 600 s",
    ):
        assert words in result.stdout
    assert all(name in result.stdout for name in worker.LOGS) and "hidden" in result.stderr
    assert f"All logs of task: {tmp_path / 'out' / 'task-0' / 'logs'}" in result.stderr
    result = in_process(
        "rehearse",
        path,
        "--bundle",
        folder,
        "--out",
        tmp_path / "out",
        "--backend",
        "processes",
        "--json",
    )
    report = json.loads(result.stdout)
    assert report["backend"] == "plain processes" and report["tasks"][0]["scores"] == {"score": 0.5}
    failing = make_bundle(tmp_path / "c", INGESTION, "raise SystemExit(1)")
    assert (
        in_process("rehearse", path, "--bundle", failing, "--out", tmp_path / "out").returncode == 1
    )
    # The prediction ends with a sentence and the scoring without predictions; only the first shows.
    failing = make_bundle(tmp_path / "e", "exit('no weights')", "exit('no predictions')")
    result = in_process("rehearse", path, "--bundle", failing, "--out", tmp_path / "out")
    assert result.returncode == 1 and "-- task: prediction_ingestion_stderr:" in result.stdout
    assert "no weights" in result.stdout and "no predictions" not in result.stdout
    assert f"All logs of task: {tmp_path / 'out' / 'task-0' / 'logs'}" in result.stderr
    slow = make_bundle(tmp_path / "d", "import time; time.sleep(60)", execution_time_limit=1)
    assert in_process("rehearse", path, "--bundle", slow, "--out", tmp_path / "out").returncode == 4


def test_wrong_bundles_and_zips_are_one_sentence(tmp_path):
    folder = make_bundle(tmp_path / "b", INGESTION)
    path = make_zip(tmp_path / "s.zip", MODEL)
    out = ["--out", tmp_path / "out"]
    assert_one_sentence(
        in_process("rehearse", tmp_path / "none.zip", "--bundle", folder, *out), "there is no file"
    )
    (tmp_path / "text.zip").write_text("text")
    assert_one_sentence(
        in_process("rehearse", tmp_path / "text.zip", "--bundle", folder, *out),
        "not a readable zip",
    )
    assert_one_sentence(
        in_process("rehearse", path, "--bundle", tmp_path, *out), "no competition.yaml"
    )
    assert_one_sentence(
        in_process("rehearse", path, "--bundle", folder, "--phase", "Last", *out), "no phase 'Last'"
    )
    assert_one_sentence(
        in_process("rehearse", path, "--bundle", folder, "--out", folder),
        "nor an earlier rehearsal",
    )
    assert (folder / "competition.yaml").exists()
    assert_one_sentence(
        in_process(
            "rehearse",
            path,
            "--bundle",
            folder,
            "--backend",
            "docker",
            *out,
            env={"PATH": "/usr/bin"},
        ),
        "docker",
    )
    assert_one_sentence(
        in_process(
            "rehearse",
            path,
            "--bundle",
            folder,
            "--backend",
            "processes",
            "--python",
            "nothing",
            *out,
        ),
        "nothing",
    )
    description = folder / "competition.yaml"
    good = yaml.safe_load(description.read_text())
    for values, words in [
        ({"version": 1.5}, "not of version 2"),
        ({"phases": []}, "phases"),
        ({"tasks": [{"key": "1234"}]}, "tasks.0"),
        ({"phases": [{"name": "Main", "tasks": [7]}]}, "has no task"),
        (
            {"tasks": [good["tasks"][0] | {"scoring_program": "nowhere"}]},
            "neither a folder nor a zip",
        ),
    ]:
        description.write_text(yaml.safe_dump(good | values))
        assert_one_sentence(in_process("rehearse", path, "--bundle", folder, *out), words)
    description.write_text("a: [")
    assert_one_sentence(in_process("rehearse", path, "--bundle", folder, *out), "not valid YAML")


def test_containers_get_what_the_worker_gives_them(tmp_path, monkeypatch):
    """An engine's command line: mounts, no network, fewer rights, the image; and a container that
    is too slow is killed."""
    calls = tmp_path / "calls"
    engine = tmp_path / "docker"
    engine.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\n[ "$1" = run ] && [ "$5" != none ] && sleep 60\n[ "$2" '
        "!= inspect ]\n"
    )
    engine.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    places = {f"/app/{name}": tmp_path / name for name in ("program", "output")}
    for place in places.values():
        place.mkdir()
    with engines.open_engine("docker", "small:1", "python3") as made:
        container = engines.Container(["python3", "run.py", "two words"], places)
        assert made.run(container, tmp_path / "out", tmp_path / "err", 0.5) is None
    info, inspect, pull, run, kill = calls.read_text().splitlines()
    assert (info, inspect, pull) == (
        "info",
        "image inspect -- small:1",
        "pull --quiet -- small:1",
    )
    assert (
        "--network none --security-opt no-new-privileges --cap-drop=AUDIT_WRITE --cap-drop=CHOWN"
        in run
    )
    assert (
        f"--volume={tmp_path}/program:/app/program --volume={tmp_path}/output:/app/output "
        "--workdir=/app/program" in run
    )
    assert "--memory=8000000000 --memory-swap=8000000000 --pids-limit=4096" in run
    assert run.endswith("-- small:1 python3 run.py two words")
    assert kill == f"kill {run.split()[3]}"
    assert (tmp_path / "output").stat().st_mode & 0o777 == 0o777


def test_the_example_is_what_the_command_writes_and_runs(tmp_path, fitted_zip):
    """The bundle in examples/, up to compressed bytes; our zip obtains a score there, in the tests'
    own environment."""
    assert (
        in_process(
            "bundle",
            "--out",
            tmp_path / "b",
            "--title",
            "AN2DL 2024, blood cells",
            "--start",
            "2024-11-09",
        ).returncode
        == 0
    )
    names = sorted(str(path.relative_to(EXAMPLE)) for path in EXAMPLE.rglob("*") if path.is_file())
    assert names == sorted(
        str(path.relative_to(tmp_path / "b"))
        for path in (tmp_path / "b").rglob("*")
        if path.is_file()
    )
    for name in names:
        if not name.endswith((".npz", ".png")):
            assert (EXAMPLE / name).read_text() == (tmp_path / "b" / name).read_text(), name
    result = in_process(
        "rehearse", fitted_zip, "--bundle", EXAMPLE, "--out", tmp_path / "out", "--json"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert (
        0 <= report["tasks"][0]["scores"]["accuracy"] <= 1 and report["tasks"][0]["detailed_result"]
    )
    assert not [check for check in report["checks"] if check["status"] == "failed"]


def test_a_course_hosts_its_own(tmp_path, cells):
    """Two phases, as a zip, which opens as any bundle; a submission of the wrong shape is told
    why."""
    path, training_file = tmp_path / "course.zip", tmp_path / "cells.npz"
    dataset.save(cells, training_file)
    options = [
        "--data",
        training_file,
        "--final",
        training_file,
        "--start",
        "2026-01-01",
        "--final-start",
        "2026-02-01",
    ]
    assert in_process("bundle", "--out", path, *options).returncode == 0
    with bundles.open_bundle(path) as bundle:
        assert [phase.name for phase in bundle.phases] == [
            "Development",
            "Final",
        ]
        assert [check.detail for check in bundle_checks.check_bundle(bundle)] == [
            "CodaBench can unpack it, as far as it shows"
        ]
        assert (
            bundle.docker_image == "tensorflow/tensorflow:2.17.0" and bundle.enable_detailed_results
        )
    assert_one_sentence(in_process("bundle", "--out", path, *options), "exists")
    assert in_process("bundle", "--out", tmp_path / "x", "--final", training_file).returncode == 2
    wrong = {
        "model.py": (
            "import numpy as np\nclass Model:\n    def predict(self, X): return np.zeros((len(X), "
            "8))\n"
        )
    }
    submission = make_zip(tmp_path / "s.zip", wrong)
    result = in_process("rehearse", submission, "--bundle", EXAMPLE, "--out", tmp_path / "out")
    assert result.returncode == 1
    assert (
        "float64 of shape (16, 8), not integers" in result.stdout
        and worker.NONZERO in result.stdout
    )
