"""The process that a submission runs in: where its files lie, what it sees, and how it is
started."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import processes
from toolkit.core.files import write_error
from toolkit.runtime import bubblewrap, sandbox_child
from toolkit.runtime.bubblewrap import Mounts
from toolkit.runtime.interpreters import Interpreter
from toolkit.runtime.isolation import DISK_LIMIT, Isolation
from toolkit.runtime.sandbox_channel import Channel

HIDDEN_MODULES = ("toolkit", "tools", "submission")  # ours, which no evaluator has
# Environment variables that a submission keeps, because its speed or the interpreter's libraries
# depend on them. All others may hold secrets.
KEPT_VARIABLES = (
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
)
PROGRAMS = "/usr/local/bin:/usr/bin:/bin"
APP = "/app"  # where the submission lies in isolation, in the folder of CodaBench's mount


@dataclass(frozen=True)
class Place:
    """Where the files of a run lie. root: on this machine. visible: the same folder as the process
    sees it. submission, temporary: its folders; archive: its zip; all as the process sees them."""

    root: Path
    visible: Path
    archive: Path
    submission: Path
    temporary: Path

    @property
    def log(self) -> Path:
        """What the process prints, on this machine."""
        return self.root / "log"

    def write_input(self, name: str, images: np.ndarray) -> str:
        """Shows the process the images of call `name`, until `remove_input`; returns their path.

        Written when they are asked about, so that no submission predicts them before its time is
        taken.
        """
        path = self.root / "shown" / f"{name}.npy"
        try:
            np.save(path, images)
        except OSError as error:
            raise write_error(path, error) from error
        return str(self.visible / path.name)

    def remove_input(self, name: str) -> None:
        with suppress(OSError):
            (self.root / "shown" / f"{name}.npy").unlink()


def prepare_place(root: Path, path: Path, isolation: Isolation) -> Place:
    """The folders in `root` for a run of the zip at `path`."""
    shown = root / "shown"
    try:
        shown.mkdir()
        # A copy, so that no path in that process leads to this toolkit.
        shutil.copy(sandbox_child.__file__, shown / "sandbox_child.py")
        if isolation.isolated:
            app = Path(APP)
            return Place(
                root,
                app / "shown",
                app / "submission.zip",
                app / "ingested_program",
                Path("/tmp/submission"),
            )
        (root / "submission").mkdir()
        return Place(root, shown, path.resolve(), root / "submission", root / "tmp")
    except OSError as error:
        raise write_error(shown, error) from error


@contextmanager
def start_process(
    place: Place,
    path: Path,
    unpacked: int,
    interpreter: Interpreter,
    isolation: Isolation,
    limits: processes.Limits,
) -> Iterator[Channel]:
    """Starts the process for the zip at `path`, which unpacks to `unpacked` bytes; yields the way
    to ask it, and kills it when the block ends."""
    with ExitStack() as opened:
        request_end, requests = _open_pipe(opened)
        replies, reply_end = _open_pipe(opened)
        command = _build_command(
            place, path, unpacked, interpreter, isolation, (request_end, reply_end)
        )
        if not isolation.isolated:
            # In isolation all folders lie in memory, and have a size.
            watched = (place.submission, place.temporary)
            limits = replace(limits, disk=unpacked + DISK_LIMIT, folders=watched)
        process = opened.enter_context(
            processes.start_limited(
                processes.limit_files(command, max(unpacked, DISK_LIMIT)),
                place.log,
                None,
                limits,
                folder=place.root,
                environment=_make_environment(place.temporary),
                inherited=(request_end.fileno(), reply_end.fileno()),
            )
        )
        # Else this process would keep the pipes open, and never see that the other has ended.
        request_end.close()
        reply_end.close()
        yield Channel(process, requests, replies)


def _open_pipe(opened: ExitStack) -> tuple[RawIOBase, RawIOBase]:
    """The ends of a new pipe, to read and to write, which `opened` closes."""
    read, write = os.pipe()
    return (
        opened.enter_context(FileIO(read, "rb")),
        opened.enter_context(FileIO(write, "wb")),
    )


def _build_command(
    place: Place,
    path: Path,
    unpacked: int,
    interpreter: Interpreter,
    isolation: Isolation,
    ends: tuple[RawIOBase, RawIOBase],
) -> list[str]:
    # With -I neither PYTHONPATH nor the user's own packages give the submission what the evaluator
    # lacks; -B keeps Python from writing bytecode beside its packages, which the detector would
    # report as the submission's writes.
    command = [interpreter.executable, "-I", "-B", str(place.visible / "sandbox_child.py")]
    command += [str(end.fileno()) for end in ends]
    if isolation.isolated:
        mounts = Mounts(
            readable={str(place.visible): place.root / "shown", str(place.archive): path.resolve()},
            temporary={str(place.submission): unpacked + DISK_LIMIT},
        )
        return bubblewrap.build_command(command, interpreter, mounts, "/", place.root)
    return command


def describe_run(place: Place, isolation: Isolation) -> dict[str, Any]:
    """The values of the step "unpack"."""
    return {
        "zip": str(place.archive),
        "folder": str(place.submission),
        "hidden_modules": HIDDEN_MODULES,
        # In isolation the end of bubblewrap, which ends with this process, is that of all.
        "parent": None if isolation.isolated else os.getpid(),
    }


def _make_environment(temporary: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    # A home as empty as the evaluator's: no weights that Keras has downloaded there before.
    # TensorFlow's notes are off, because errors quote the last line of the log.
    return {
        **kept,
        "PATH": PROGRAMS,
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
