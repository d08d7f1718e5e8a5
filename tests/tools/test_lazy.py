"""Lazy imports: what each command imports. Clean processes, since this one has everything."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import click
import pytest

from tests.support.commands import ROOT, assert_one_sentence, cbtool, in_process
from tests.support.standin import TOKEN
from tests.support.submissions import made
from toolkit.codabench import eligibility, upload
from toolkit.codabench.address import CompetitionAddress
from toolkit.codabench.client import Client
from toolkit.codabench.credentials import Account
from toolkit.data import dataset, synthetic
from tools import cli, lazy

HEAVY = {"tensorflow", "keras", "keras_cv", "sklearn", "scipy", "matplotlib", "imagehash"}


def imports_of(code: str) -> set[str]:
    """The modules that a process has executed after running `code`."""
    program = (
        "import sys\n"
        f"{code}\n"
        "from tools.lazy import _LazyModule\n"
        "done = [name for name, each in sys.modules.items() if type(each) is not _LazyModule]\n"
        "print('MODULES', *done)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    return set(result.stdout.partition("MODULES ")[2].split())


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable lazy package, whose modules tell when they are executed."""
    folder = tmp_path / "lazy_example"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "one.py").write_text("import os\nos.write(2, b'noise')\nvalue = 1\n")
    (folder / "broken.py").write_text("import os\nos.write(2, b'reason')\nraise ImportError\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lazy, "LAZY_PACKAGES", ("lazy_example",))
    yield "lazy_example"
    for name in [name for name in sys.modules if name.startswith("lazy_example")]:
        del sys.modules[name]


def test_a_module_is_executed_at_its_first_use_and_quietly(package, capfd):
    with lazy.lazy_imports():
        from lazy_example import one
    with lazy.lazy_imports():
        from lazy_example import one as again
    assert again is one and "value" not in vars(one)
    assert one.value == 1 and one.__spec__.loader is one.__loader__
    assert capfd.readouterr().err == ""
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        one.other  # noqa: B018


def test_a_package_is_not_executed_for_its_modules(package, tmp_path):
    (tmp_path / package / "__init__.py").write_text("touched = True\n")
    with lazy.lazy_imports():
        import lazy_example
        from lazy_example import one
    assert one.value == 1
    assert (resources.files(package) / "one.py").read_text().endswith("value = 1\n")
    assert "touched" not in vars(lazy_example)
    assert lazy_example.touched


def test_what_commands_share_imports_little():
    """A shell completes names within a moment only if the options need no array library."""
    assert not imports_of("import tools.options") & (HEAVY | {"numpy", "PIL", "pydantic"})


def test_threads_that_ask_at_once_get_the_whole_module(package, tmp_path):
    """The second waits while the first executes it, which takes a moment here."""
    source = "import time\nasked = hasattr(__import__('sys').modules[__name__], 'value')\n"
    (tmp_path / package / "slow.py").write_text(f"{source}time.sleep(0.2)\nvalue = 1\n")
    with lazy.lazy_imports():
        from lazy_example import slow
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: slow.value, range(4))) == [1] * 4
    assert slow.asked is False  # by its own code, before it was there


def test_a_module_that_fails_shows_why_and_can_be_tried_again(package, capfd):
    with lazy.lazy_imports():
        from lazy_example import broken
    for _ in range(2):
        with pytest.raises(ImportError):
            broken.value  # noqa: B018
        assert "reason" in capfd.readouterr().err


def test_the_list_of_commands_repeats_their_help():
    context = click.Context(cli.cli)
    for name, target in cli.COMMANDS.items():
        command = cli.cli.get_command(context, name)
        assert command is not None and command.name == name
        assert command.help is not None
        first_sentence = command.help.split("\n\n")[0].replace("\n", " ")
        assert target.short_help == first_sentence, name


def commands_under(group: click.Group, context: click.Context, *parents: str) -> list[str]:
    """The names of all commands, with those of the groups before them."""
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += commands_under(command, context, *parents, name)
        else:
            found.append(" ".join((*parents, name)))
    return found


@pytest.mark.parametrize("command", commands_under(cli.cli, click.Context(cli.cli)))
def test_every_command_has_help(command):
    result = in_process(*command.split(), "--help")
    assert result.returncode == 0
    assert "Usage:" in result.stdout and command in result.stdout


def test_only_what_libraries_say_is_kept_back():
    """In a process: pytest's own stderr is not that of a program."""
    program = """
import os, sys
from tools.lazy import quiet_tensorflow
with quiet_tensorflow():
    os.write(2, b"a library")
    with quiet_tensorflow():
        print("clean: 4 s so far", file=sys.stderr)
print("done", file=sys.stderr)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stderr.splitlines() == ["clean: 4 s so far", "done"]


def test_help_imports_nothing_heavy():
    modules = imports_of("from tools.cli import main; main(['--help'])")
    assert "tools.cli" in modules
    assert not modules & (HEAVY | {"numpy", "pydantic", "requests", "rich.console"})
    assert not {name for name in modules if name.startswith("tools.")} - {
        "tools.cli",
        "tools.contracts",
        "tools.lazy",
        "tools.live",
        "tools.output",
        "tools.signals",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["data", "inspect", "missing.npz"],
        ["train", "--data", "missing.npz"],
        ["train", "--preset", "lihgt", "--data", "missing.npz"],
        ["evaluate", "--run", "missing"],
        ["build", "--run", "missing"],
        ["train", "--resume", "missing"],
        ["validate", "--help"],
        ["demo", "--help"],
        ["bench", "predict", "--help"],
    ],
    ids=" ".join,
)
def test_what_ends_early_imports_nothing_heavy(arguments):
    modules = imports_of(f"from tools.cli import main; main({arguments})")
    assert "tools.cli" in modules and not modules & HEAVY


def test_a_used_run_folder_is_refused_before_tensorflow_loads(tmp_path):
    dataset.save(synthetic.draw(2, side=32), tmp_path / "cells.npz")
    data = ["--data", str(tmp_path / "cells.npz"), "--run", str(tmp_path)]  # holds cells.npz
    modules = imports_of(f"from tools.cli import main; assert main({['train', *data]}) == 2")
    assert "toolkit.training.run_folder" in modules and not modules & HEAVY


@pytest.mark.parametrize(("competition", "code"), [(3, 3), (1, 2)])
def test_an_upload_that_is_refused_imports_nothing_heavy(
    standin, tmp_path, monkeypatch, competition, code
):
    """What CodaBench would refuse is told before the zip is run, and so is a repetition, which is
    looked for last."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("CODABENCH_URL", standin.url)
    monkeypatch.setenv("CODABENCH_TOKEN", TOKEN)
    path = made(tmp_path / "s.zip")
    client = Client(Account(standin.url, TOKEN))
    upload.begin(client, eligibility.plan(client, path, CompetitionAddress(1)), path)
    arguments = ["upload", str(path), "--competition", str(competition), "--yes"]
    modules = imports_of(f"from tools.cli import main; assert main({arguments}) == {code}")
    assert "toolkit.codabench.eligibility" in modules and not modules & HEAVY


def test_help_and_missing_files_are_answered_at_once(tmp_path):
    """CPU seconds, as other processes may keep the cores busy: 0.3 for --help, 1 for a file."""
    for arguments, limit in ((("--help",), 0.3), (("data", "inspect", "missing.npz"), 1.0)):
        seconds = []
        for _ in range(3):
            before = os.times()
            result = cbtool(*arguments)
            after = os.times()
            used = after.children_user - before.children_user
            used += after.children_system - before.children_system
            seconds.append(used)
        assert min(seconds) < limit, arguments
    assert_one_sentence(result, "no file missing.npz")
