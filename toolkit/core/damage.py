"""Files that somebody else may have written: whatever is wrong with one is one sentence."""

import difflib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.core.errors import CbtoolError, InputError

REASON_LENGTH = 200  # characters of a parser's own words, or of a name or value in a sentence
NAMED = 20  # names that a sentence lists
TEXT_LIMIT = 50_000_000  # bytes of a JSON file; the split of five million images has 40 MB
# Values in a JSON text: each may take 100 bytes, and an error about it a kilobyte. The files of a
# run of hundreds of epochs have a tenth of it, apart from those that list all images.
VALUES_LIMIT = 200_000


@contextmanager
def guard(path: Path | str, hint: str, fault: str = "is damaged") -> Iterator[None]:
    """Raises InputError, "`path` `fault`: reason", for whatever a parser raises in this block."""
    try:
        yield
    except CbtoolError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.", "Check the path.") from error
    # A damaged or hostile file makes parsers raise anything: zlib.error, RuntimeError,
    # NotImplementedError, RecursionError, MemoryError, struct.error, AttributeError.
    except Exception as error:
        raise InputError(f"{path} {fault}: {describe(error)}.", hint) from error


def describe(error: BaseException) -> str:
    """What a parser says, on one line, or the name of its error where it says nothing."""
    text = str(error)
    if isinstance(error, OSError):
        text = error.strerror or text
    lines = text.strip().splitlines()
    if not lines:
        return type(error).__name__
    return lines[0][:REASON_LENGTH].rstrip(".: ")


def find_similar(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` may have been meant to be; None where none is like it."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return near[0] if near else None


def abridge(text: str) -> str:
    """`text` of a file, as it stands in a sentence: its beginning where it is long."""
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"


def quote(value: Any) -> str:
    """`value` of a file as Python writes it, abridged."""
    try:
        return abridge(repr(value))
    except ValueError:  # a number of thousands of digits
        return f"a value of the type {type(value).__name__}"


def require_few_values(text: str | bytes, limit: int = VALUES_LIMIT) -> None:
    """Raises ValueError when the JSON `text` may hold more than `limit` values. It is not parsed:
    a comma or bracket comes before each."""
    if isinstance(text, str):
        count = text.count(",") + text.count("[") + text.count("{")
    else:
        count = text.count(b",") + text.count(b"[") + text.count(b"{")
    if count > limit:
        raise ValueError(f"it has more than {limit:,} values")


def list_names(names: Iterable[str]) -> str:
    """`names`, sorted, as they stand in a sentence; the first of them where they are many."""
    listed = sorted(names)
    text = ", ".join(abridge(name) for name in listed[:NAMED])
    more = len(listed) - NAMED
    return f"{text} and {more:,} more" if more > 0 else text or "nothing"


def require_file(path: Path) -> None:
    """Raises InputError unless `path` is a file: opening a pipe would wait for a writer."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}.", "Check the path.") from error
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}.", "Check the path and its permissions."
        ) from error
    except ValueError as error:  # a path with a null character
        raise InputError("the path has a null character.", "Check the path.") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder, not a file.", "Give the name of a file.")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is a device or a pipe, not a file.", "Give the name of a file.")


def read_bytes(path: Path, limit: int = TEXT_LIMIT) -> bytes:
    """What the file at `path` holds. Raises InputError when it is missing, cannot be read, or has
    more than `limit` bytes."""
    path = Path(path)
    require_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}.", "Check the path and its permissions."
        ) from error
    if len(content) > limit:
        raise InputError(
            f"{path} is too large: files of its kind have {limit / 1e6:g} MB at most.",
            "Check that it is the file you mean.",
        )
    return content
