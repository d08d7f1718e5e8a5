"""Where an interpreter's files lie, and what of them isolation can show."""

import sys
from pathlib import Path

import pytest

from toolkit.core.errors import InputError
from toolkit.runtime import bubblewrap
from toolkit.runtime.interpreters import Interpreter, find_interpreter


def test_the_folders_hold_the_interpreter_and_its_packages():
    found = find_interpreter(sys.executable)
    for needed in (sys.prefix, sys.base_prefix, Path(pytest.__file__).resolve()):
        assert any(Path(needed).is_relative_to(folder) for folder in found.folders)
    for folder in found.folders:
        others = [other for other in found.folders if other != folder]
        assert not any(folder.is_relative_to(other) for other in others)


@pytest.mark.parametrize("name", ["/none/python", "/bin/true", "/etc/passwd"])
def test_what_is_no_interpreter_is_an_error(name):
    with pytest.raises(InputError, match="cannot run"):
        find_interpreter(name)


@pytest.mark.skipif(bubblewrap.find_reason() is not None, reason="bubblewrap does not work here")
def test_no_interpreter_is_shown_together_with_the_home_folder(tmp_path):
    home = Interpreter(f"{Path.home()}/bin/python", (Path.home(),), ())
    with pytest.raises(InputError, match="holds your home folder"):
        bubblewrap.build_command(["true"], home, bubblewrap.Mounts(), "/", tmp_path)
