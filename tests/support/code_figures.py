"""Figures about the code of a checkout: how it is divided, how dense it is, how it is named.

    python -m tests.support.code_figures [FOLDER]

FOLDER is any checkout of this repository, for example a worktree of an older commit.
Tests are not counted.
"""

import ast
import sys
from pathlib import Path

PACKAGES = ("submission", "toolkit", "tools")
COLUMNS = 100
# Words that end in "ed" or "ing" without being participles.
NO_PARTICIPLES = {
    "seed",
    "feed",
    "need",
    "speed",
    "embed",
    "string",
    "ring",
    "bed",
    "red",
    "missing",
}
IRREGULAR_PARTICIPLES = {
    *("borne", "built", "chosen", "done", "drawn", "foretold", "found", "given", "gone", "held"),
    *("kept", "known", "laid", "left", "made", "met", "paid", "sent", "shown", "taken", "told"),
    *("thought", "worn", "written"),
}


def main() -> None:
    """Prints the figures of the checkout that the command line names, or of this one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2]
    for name, value in code_figures(folder).items():
        print(f"{name:58} {value}")


def code_figures(folder: Path) -> dict[str, float]:
    """The figures of the checkout in `folder`, by what they count."""
    paths = [path for package in PACKAGES for path in sorted((folder / package).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = [line for text in texts.values() for line in text.splitlines()]
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    arrows = _arrows(folder, trees)
    rooms = {room for arrow in arrows for room in arrow}
    hundreds = len(lines) / 100
    ternaries = sum(isinstance(node, ast.IfExp) for node in nodes)
    kinds = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    comprehensions = sum(isinstance(node, kinds) for node in nodes)
    comments = sum(line.lstrip().startswith("#") for line in lines)
    functions = [node.name for node in nodes if isinstance(node, ast.FunctionDef)]
    return {
        "modules at the top of toolkit/": sum(path.parent == folder / "toolkit" for path in paths)
        - 1,
        "rooms (parts of toolkit/, tools, submission)": len(rooms),
        "floors of rooms": _floors(arrows),
        "arrows: a room imports another": len(arrows),
        "lines": len(lines),
        "ternaries and comprehensions per 100 lines": round(
            (ternaries + comprehensions) / hundreds, 2
        ),
        "comment lines per 100 lines": round(comments / hundreds, 2),
        "imports inside functions": sum(_inner_imports(tree) for tree in trees.values()),
        "functions": len(functions),
        "functions named by participles": sum(_is_participle(name) for name in functions),
        f"lines over {COLUMNS} columns": sum(len(line) > COLUMNS for line in lines),
        "words in the README": len((folder / "README.md").read_text(encoding="utf-8").split()),
    }


def _arrows(folder: Path, trees: dict[Path, ast.Module]) -> set[tuple[str, str]]:
    """Which room imports which: pairs of names, without imports inside a room."""
    arrows = set()
    for path, tree in trees.items():
        room = _room(path.relative_to(folder).with_suffix("").parts)
        for node in ast.walk(tree):
            arrows |= {(room, other) for other in _imported_rooms(node)}
    return {(room, other) for room, other in arrows if room != other}


def _imported_rooms(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return set()
    return {_room(name.split(".")) for name in names if name.split(".")[0] in PACKAGES}


def _room(parts) -> str:
    """The room of a dotted name: what stands right below toolkit, else the package."""
    if parts[0] != "toolkit" or len(parts) == 1:
        return parts[0]
    return parts[1]


def _floors(arrows: set[tuple[str, str]]) -> int:
    """The longest way down through the rooms; rooms in a circle of imports share a floor."""
    below: dict[str, set[str]] = {}
    for room, other in arrows:
        below.setdefault(room, set()).add(other)
        below.setdefault(other, set())
    reach = {room: _reachable(room, below) for room in below}
    heights: dict[str, int] = {}
    # A room reaches more rooms than any room below it, so it comes after those it stands on.
    for room in sorted(below, key=lambda room: len(reach[room])):
        lower = [
            heights[other] for other in reach[room] if room not in reach[other] and other in heights
        ]
        heights[room] = 1 + max(lower, default=0)
    return max(heights.values(), default=0)


def _reachable(room: str, below: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [room]
    while waiting:
        for other in below[waiting.pop()] - seen:
            seen.add(other)
            waiting.append(other)
    return seen


def _inner_imports(tree: ast.Module) -> int:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    found = {
        node
        for function in functions
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    return len(found)


def _is_participle(name: str) -> bool:
    """Whether the first word of a function's name is a participle, as far as its ending tells."""
    word = name.strip("_").split("_")[0]
    if word in NO_PARTICIPLES:
        return False
    return word in IRREGULAR_PARTICIPLES or (len(word) > 4 and word.endswith(("ed", "ing")))


if __name__ == "__main__":
    main()
