"""The house: who may import whom, and what must stay light."""

import ast
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT

MODULES = sorted(
    path for room in ("submission", "toolkit", "tools") for path in (ROOT / room).rglob("*.py")
)
MAY_IMPORT = {
    "submission": {"submission"},
    "toolkit": {"submission", "toolkit"},
    "tools": {"toolkit", "tools"},
}
OURS = {"submission", "toolkit", "tools"}
# The rooms of toolkit, from the floor up. A room imports from the layers below its own; rooms of
# one layer do not see each other.
LAYERS = (
    {"core"},
    {"data", "models"},
    {"augment"},
    {"training"},
    {"export"},
    {"evaluation", "runtime"},
    {"codabench", "report"},
)


def imported(path: Path) -> set[str]:
    """The top-level packages that the module at `path` imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    names |= {
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0
    }
    return {name.split(".")[0] for name in names}


def rooms_imported(path: Path) -> set[str]:
    """The rooms of toolkit that the module at `path` imports, anywhere in it, functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import, which hides its room"
            # `from toolkit import core` names the room behind the word import.
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("toolkit.")]
    return {part[1] for part in parts}


def violations() -> set[tuple[str, str]]:
    """The pairs of a module and a room that the module may not import."""
    layer = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
    found = set()
    for path in MODULES:
        name = path.relative_to(ROOT)
        if name.parts[0] != "toolkit" or name.parts[1] == "__init__.py":
            continue
        own = name.parts[1]
        for room in rooms_imported(path) - {own}:
            if layer[room] >= layer[own]:
                found.add((name.as_posix(), room))
    return found


def test_a_room_imports_only_from_rooms_below_it():
    assert violations() == set()


def test_every_room_has_a_layer():
    folders = {path.parent.name for path in (ROOT / "toolkit").glob("*/__init__.py")}
    assert folders - {"presets"} == set().union(*LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_in_one_direction(path):
    room = path.relative_to(ROOT).parts[0]
    assert imported(path) & OURS <= MAY_IMPORT[room]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path):
    """From 300 lines on, ask whether it holds two things; at 400 it does. model.py has to be one
    file."""
    most = 1000 if path == ROOT / "submission" / "model.py" else 400
    assert len(path.read_text(encoding="utf-8").splitlines()) <= most


def test_the_submission_needs_only_what_evaluators_have():
    allowed = set(sys.stdlib_module_names) | {"numpy", "h5py", "tensorflow"}
    assert imported(ROOT / "submission" / "model.py") <= allowed


def test_the_library_neither_prints_nor_parses_options():
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] != "toolkit" or "hosted" in path.parts:
            continue  # hosted: programs that CodaBench runs, whose prints are logs
        assert not imported(path) & {"click", "rich"}, path
        calls = [
            node.func
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        ]
        assert not any(isinstance(call, ast.Name) and call.id == "print" for call in calls), path
