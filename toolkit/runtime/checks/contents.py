"""What a zip holds: its layout, its code, its weights. Nothing is run."""

import ast
import stat
from pathlib import PurePosixPath

from pyflakes import messages
from pyflakes.checker import Checker

from toolkit.core.archives import Archive
from toolkit.core.contract import Contract
from toolkit.core.damage import guard
from toolkit.core.errors import InputError
from toolkit.core.files import digest_of, format_bytes, format_count
from toolkit.runtime.checks.check import Check, Subject, failed, passed, skipped, warning
from toolkit.runtime.checks.outlines import read_outlines

# What Python's parser raises for text that is no program; a null byte is a ValueError.
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
STRAY_NAMES = ("__MACOSX", ".DS_Store", "Thumbs.db", "__pycache__")
FILE_ENDINGS = (
    ".h5",
    ".hdf5",
    ".keras",
    ".npz",
    ".npy",
    ".json",
    ".pkl",
    ".onnx",
    ".tflite",
    ".pb",
    ".txt",
    ".toml",
    ".csv",
)
LARGEST_UPLOAD = 10**9  # bytes; larger uploads to CodaBench hang or fail for many users
# How many arguments each function of a style needs; of methods, `self` counts.
REBUILD_HINT = "Build it again: cbtool build --run DIR."
SYNTAX_HINT = "Correct model.py; `python -m py_compile model.py` shows the line."


def check_layout(subject: Subject) -> Check:
    """model.py lies at the root of the zip."""
    if subject.source is not None:
        return passed("layout", "model.py at the root")
    nested = [name for name in subject.names if PurePosixPath(name).name == "model.py"]
    where = "there is none"
    if nested:
        where = f"it is at {nested[0]}; CodaBench does not flatten folders"
    return failed(
        "layout",
        f"no model.py at the root: {where}",
        "Zip the files, not their folder: zip -j submission.zip FILES.",
    )


def check_entry_names(subject: Subject) -> Check:
    """No entry leaves the folder, is a link, or is a stray of some desktop."""
    for entry in subject.entries:
        parts = PurePosixPath(entry.filename).parts
        if entry.filename.startswith("/") or ".." in parts:
            return failed(
                "entries",
                f"{entry.filename} would be outside of the folder",
                "Zip the files without paths: zip -j.",
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            found = f"{entry.filename} is a link; CodaBench unpacks it as a small text file"
            return failed("entries", found, "Zip the file itself: zip without -y.")
        if any(part in STRAY_NAMES for part in parts):
            found = f"{entry.filename} does not belong in a submission"
            return failed(
                "entries", found, f"Remove it: zip -d {subject.path.name} '{entry.filename}'."
            )
        if entry.filename in ("metadata", "metadata.yaml"):
            found = f"{entry.filename} changes how CodaBench runs the zip"
            return warning("entries", found, "Remove it, unless the competition asks for it.")
    return passed("entries", format_count(len(subject.entries), "file"))


def check_size(subject: Subject) -> Check:
    """The zip stays below what uploads well."""
    size = subject.path.stat().st_size
    readable = format_bytes(size)
    limit = subject.contract.size_limit
    if limit is not None and size > limit:
        found = f"{readable}; {subject.contract.name} takes {format_bytes(limit)} at most"
        return failed("size", found, "Use a smaller network, or fewer.")
    if size > LARGEST_UPLOAD:
        found = f"{readable}; uploads over 1 GB hang or fail for many users"
        return warning("size", found, "Store the weights in float16, as cbtool build does.")
    return passed("size", readable)


def check_interface(subject: Subject) -> Check:
    """model.py offers what the competition calls: see `Contract.style`."""
    if subject.source is None:
        return skipped("interface", "there is no model.py at the root")
    try:
        tree = _parse(subject)
    except UNPARSABLE as error:
        line = f" line {error.lineno}" if isinstance(error, SyntaxError) else ""
        return failed("interface", f"model.py{line}: {_first_line(error)}", SYNTAX_HINT)
    wanted = subject.contract.interface
    template = f"{subject.contract.name} expects {wanted}."
    methods, problem = _find_methods(tree, subject.contract)
    if problem:
        return failed("interface", problem, template)
    if methods is None:  # what another file defines is seen by running it, not here
        return passed("interface", "imported from another file")
    for name, (required, rule) in _list_called(subject.contract).items():
        if name in methods and _count_required(methods[name]) != required:
            return failed("interface", rule, template)
    return passed("interface", wanted)


def _list_called(contract: Contract) -> dict[str, tuple[int, str]]:
    """What the competition calls, by name: how many arguments without a default it may have, self
    included, and the sentence where that is another number."""
    one = f"{contract.method} must take one argument, X"
    if contract.style == "function":
        return {contract.method: (1, one)}
    called = {"__init__": (1, f"{contract.class_name}() must work without arguments")}
    if contract.style == "fit":
        called["fit"] = (3, "fit must take two arguments, X and y")
    return called | {contract.method: (2, one)}


def _find_methods(
    tree: ast.Module, contract: Contract
) -> tuple[dict[str, ast.arguments] | None, str | None]:
    """The functions that the competition calls, by name, None where another file has them; and what
    is missing."""
    class_name, method = contract.class_name, contract.method
    functions = {node.name: node.args for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    models = [node for node in classes if node.name == class_name]
    imported = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
    if contract.style == "function":
        if method in functions:
            return {method: functions[method]}, None
        if method in imported or "*" in imported:
            return None, None
        has = f"; it has a class {class_name}" if models else ""
        return {}, f"model.py has no function {method}{has}"
    if not models:
        if class_name in imported or "*" in imported:
            return None, None
        has = f"; it has a function {method}" if method in functions else ""
        return {}, f"model.py has no class {class_name}{has}"
    # Python keeps the last class of a name.
    model = models[-1]
    methods = {node.name: node.args for node in model.body if isinstance(node, ast.FunctionDef)}
    for name in _list_called(contract):
        # A class with bases may inherit it.
        if name != "__init__" and name not in methods and not model.bases:
            return methods, f"class {class_name} has no method {name}"
    return methods, None


def check_names(subject: Subject) -> Check:
    """Every name model.py uses is defined in it: notebooks import what the file forgot."""
    try:
        found = Checker(_parse(subject)).messages
    except UNPARSABLE:
        return skipped("names", "there is no model.py that is valid Python")
    missing = [message for message in found if isinstance(message, messages.UndefinedName)]
    if missing:
        lines = ", ".join(
            f"{message.message_args[0]} (line {message.lineno})" for message in missing
        )
        return failed(
            "names", f"used but not defined: {lines}", "Import or define them in model.py itself."
        )
    return passed("names", "every name is defined")


def check_references(subject: Subject) -> Check:
    """Every file that model.py or the manifest names is in the zip."""
    try:
        tree = _parse(subject)
    except UNPARSABLE:
        return skipped("references", "there is no model.py that is valid Python")
    files = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        # Such a submission writes a CSV file itself.
        is_output = subject.contract.returns == "csv" and node.value.endswith(".csv")
        if _is_file_name(node.value) and not is_output:
            files.add(node.value)
    files |= set(subject.weight_files)
    missing = sorted(name for name in files if name.removeprefix("./") not in subject.names)
    if missing:
        found = f"model.py names files that are not in the zip: {', '.join(missing)}"
        return failed("references", found, "Add them under exactly these names.")
    if not files:
        return passed("references", "none named")
    return passed("references", f"{len(files)} named, all in the zip")


def check_weights(subject: Subject) -> Check:
    """The files of weights are whole: HDF5 and .keras files open, and ours are the bytes the
    manifest states."""
    digests = subject.weight_files
    outlines = read_outlines(subject.path, frozenset(subject.names))
    for name, outline in outlines.items():
        kind = ".keras" if name.endswith(".keras") else "HDF5"
        # A wrong checksum is of the zip around it, which then is damaged as a whole.
        if outline.fault and "CRC" in outline.fault:
            raise InputError(f"{subject.path} is damaged: {outline.fault}.", "Build it again.")
        if outline.fault:
            return failed(
                "weights",
                f"{name} is not a complete {kind} file: {outline.fault}",
                "Save it again, and zip it only after it is saved completely.",
            )
    with Archive(subject.path) as archive:
        for name in outlines:
            with guard(f"{name} in {subject.path}", "Build it again."), archive.open(name) as file:
                if name in digests and digest_of(file) != digests[name]:
                    return failed(
                        "weights",
                        f"{name} is not the file that manifest.json describes",
                        REBUILD_HINT,
                    )
    if not outlines:
        return passed("weights", "none in HDF5 or .keras files")
    return passed("weights", f"{format_count(len(outlines), 'file')}, complete")


def _parse(subject: Subject) -> ast.Module:
    """model.py as a tree. Raises one of UNPARSABLE."""
    if subject.source is None:
        raise ValueError("there is no model.py")
    return ast.parse(subject.source)


def _first_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text or type(error).__name__).splitlines()[0]


def _is_file_name(text: str) -> bool:
    """Whether a text in the code looks like a file's name: one word with a known ending."""
    # A lone ending is code that looks for such files.
    if not text.endswith(FILE_ENDINGS) or text in FILE_ENDINGS:
        return False
    return len(text.split()) == len(text.splitlines()) == 1


def _count_required(arguments: ast.arguments) -> int:
    return len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
