"""The command line as a whole: the demo, interruptions, exit codes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.commands import ROOT, assert_one_sentence, in_process, started
from tests.support.marked import become_marked, find_marked, make_marker, wait_until
from tests.support.submissions import made
from toolkit.core.contract import AN2DL2024
from toolkit.core.files import digest
from toolkit.export import manifest, zip_ledger
from toolkit.runtime import bubblewrap
from toolkit.training import run_folder
from tools import cli, output
from tools.lazy import quiet_tensorflow


def test_the_demo_walks_the_whole_road(tmp_path):
    folder = tmp_path / "demo"
    result = in_process("demo", "--out", folder)
    assert result.returncode == 0, result.stderr
    for stage in ("draw", "clean", "train", "evaluate", "build", "validate", "time", "score"):
        assert f"{stage}: done in" in result.stderr
    assert str(folder / "submission.zip") in result.stdout
    assert "cbtool train --preset lite" in result.stderr
    written = manifest.read_zip_manifest(folder / "submission.zip")
    assert written.time_limit == AN2DL2024.time_limit
    (entry,) = zip_ledger.read(folder)
    assert entry.sha256 == digest(folder / "submission.zip")
    accuracy = float(
        next(
            line for line in result.stdout.splitlines() if line.strip().startswith("score")
        ).split()[2]
    )
    assert accuracy > 3 / 8  # three times chance: it has learnt
    assert_one_sentence(in_process("demo", "--out", folder), "not an empty folder")


def test_ctrl_c_leaves_nothing_half_written_under_a_final_name(training_file, tmp_path):
    folder = tmp_path / "run"
    settings = [
        "--set",
        "train.phases.1.epochs=500",
        "--set",
        "split.validation=0.2",
        "--set",
        "split.test=0.2",
    ]
    process = started(
        "train", "--preset", "tiny", "--data", training_file, "--run", folder, *settings
    )
    run = run_folder.Run(folder)
    deadline = time.monotonic() + 120
    while not run.checkpoint.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted. No incomplete file was left under its final name." in stderr
    assert f"cbtool train --resume {folder}" in stderr
    assert "Traceback" not in stderr
    assert not run.finished.exists()
    assert [path for path in folder.rglob("*") if path.name.startswith(".")] == []
    assert_one_sentence(in_process("build", "--run", folder), "is not finished")


@pytest.mark.parametrize("backend", ["bubblewrap", "processes"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_is_an_interruption(number, backend, tmp_path):
    """In a process of its own, as a signal is for the whole one; a command without TensorFlow."""
    if backend == "bubblewrap" and bubblewrap.find_reason():
        pytest.skip("bubblewrap does not work here")
    marker = make_marker("interrupted")
    path = made(tmp_path / "slow.zip", f"{become_marked(marker)}\nclass Model: predict = print")
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "tmp")}
    options = ("--evaluator", "none", "--backend", backend)
    process = started("validate", path, *options, env=environment)
    assert wait_until(lambda: find_marked(marker), 60), process.communicate()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Interrupted." in stderr and "Traceback" not in stderr
    assert not list((tmp_path / "tmp").iterdir())
    assert wait_until(lambda: not find_marked(marker))


def test_wrong_use_exits_with_2():
    for arguments in (
        ["trian"],
        ["train"],
        ["time", "x.zip"],
        ["time", "x.zip", "--images", "0"],
        ["data", "download", "mnist"],
    ):
        result = in_process(*arguments)
        assert result.returncode == 2
        assert "Error:" in result.stderr and "Traceback" not in result.stderr
    both = in_process("train", "--preset", "lite", "--config", "x.toml", "--data", "x.npz")
    assert both.returncode == 2 and "not both" in both.stderr


def test_the_version_is_the_packages():
    assert "0.1.0" in in_process("--version").stdout


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "data.npz"), "data.npz: Permission denied (in "),
        (TimeoutError("the peer is silent"), "the peer is silent (in "),
        (BrokenPipeError(32, "Broken pipe"), "the output was closed"),
        (OSError(28, "No space left on device", "zips.json"), "the disk is full: zips.json"),
    ],
)
def test_errors_of_the_system_name_what_failed(error, words, monkeypatch, capsys):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(cli.cli, "main", fail)
    assert cli.main([]) == 2
    text = capsys.readouterr().err
    assert f"Error: {words}" in text and "Hint: " in text and "Traceback" not in text


def test_the_traceback_of_a_system_error_can_be_asked_for(monkeypatch):
    def fail(*arguments, **options):
        raise PermissionError(13, "Permission denied", "data.npz")

    monkeypatch.setattr(cli.cli, "main", fail)
    monkeypatch.setenv("CBTOOL_TRACEBACK", "1")
    with pytest.raises(PermissionError):
        cli.main([])


def test_memory_errors_exit_with_4(monkeypatch, capsys):
    def exhausted(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(cli.cli, "main", exhausted)
    assert cli.main([]) == 4
    assert "too little memory" in capsys.readouterr().err


def test_the_end_does_not_look_through_all_objects_again():
    """After TensorFlow that takes seconds. In a process of its own: its end is the point."""
    code = (
        "import atexit, gc, sys; from tools.cli import main;"
        # Called last: what is registered first.
        "atexit.register(lambda: print('frozen:', gc.get_freeze_count() > 0));"
        "sys.exit(main(['--version']))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.stdout.endswith("frozen: True\n"), result.stderr


def test_noise_of_loading_libraries_is_kept_back_unless_they_fail(capfd):
    with quiet_tensorflow():
        os.write(2, b"noise")
    assert capfd.readouterr().err == ""
    try:
        with quiet_tensorflow():
            os.write(2, b"the reason")
            raise ImportError
    except ImportError:
        pass
    assert "the reason" in capfd.readouterr().err


def test_tables_keep_their_columns_in_a_pipe(capsys):
    output.table(("name", "count"), [("a" * 90, 1234567), ("b", 1)])
    lines = capsys.readouterr().out.splitlines()
    assert any("a" * 90 in line and "1,234,567" in line for line in lines)
