"""Lazy imports, all in this module: a command imports only what it uses.

`LazyGroup` imports a command's module when the command is invoked. `lazy_imports` does the same for
the modules that a command module imports at its top: each is executed when it is first used.
"""

import functools
import importlib
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, NamedTuple, TextIO

import click

# Only our packages and rich: other packages may fail when they are executed late.
LAZY_PACKAGES = ("toolkit", "tools", "rich")
PENDING = "__pending_execution__"  # where a module that is not executed keeps its `_Execution`


class Target(NamedTuple):
    """Where a command is, as "module:attribute", and the line about it in the list of commands."""

    place: str
    short_help: str


class LazyGroup(click.Group):
    """A group of commands that are imported when they are invoked.

    After the pattern in click's documentation, with the lines of help in the table too, so that
    the list of commands is shown without importing any.
    """

    def __init__(self, *arguments: Any, targets: dict[str, Target], **options: Any):
        super().__init__(*arguments, **options)
        self.targets = targets

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(self.targets)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.targets:
            return None
        module, attribute = self.targets[name].place.split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.targets[name].short_help) for name in self.list_commands(context)]
            )


@contextmanager
def lazy_imports() -> Iterator[None]:
    """Modules imported in this block are executed when one of their attributes is first used.

    Import modules here, not names from them: asking for a name executes the module. Only modules
    of LAZY_PACKAGES are affected. It does what `lazy import` does from Python 3.15 on (PEP 810).
    """
    finder = _LazyFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def quiet_tensorflow() -> Iterator[None]:
    """Keeps what TensorFlow's libraries print while they load off the terminal; shows it if the
    block raises ImportError.

    Some of it is written before any logging level is read, so the file descriptor itself is
    redirected. What other threads of this program say meanwhile is shown.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        terminal = os.dup(2)
        own = _keep_own_stderr()
        os.dup2(noise.fileno(), 2)
        try:
            with own:
                yield
        except ImportError:
            noise.seek(0)
            os.write(terminal, noise.read().encode())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def _keep_own_stderr() -> AbstractContextManager[None]:
    """A block in which `sys.stderr` writes where it wrote before, whatever becomes of the file
    descriptor 2."""
    try:
        is_standard = sys.stderr.fileno() == 2
    except (OSError, ValueError):
        is_standard = False
    # Else it is somebody's own stream, or that of an outer block.
    return _replace_stderr(_copy_stderr()) if is_standard else nullcontext()


@functools.cache  # never closed: a library may keep the stream that it finds when it is loaded
def _copy_stderr() -> TextIO:
    return os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")


@contextmanager
def _replace_stderr(stream: TextIO) -> Iterator[None]:
    outer, sys.stderr = sys.stderr, stream
    show, warnings.showwarning = warnings.showwarning, _show_no_warning
    try:
        yield
    finally:
        sys.stderr = outer
        warnings.showwarning = show


def _show_no_warning(*arguments: object, **options: object) -> None:
    """Of a library's own imports; it would be shown now that `sys.stderr` is not redirected."""


class _LazyFinder(MetaPathFinder):
    """Finds what Python would find, with a loader that waits."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in LAZY_PACKAGES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and spec.loader:
            spec.loader = _LazyLoader(spec.loader)
        return spec


class _LazyLoader(Loader):
    """Leaves the module empty; `_LazyModule` has `loader` fill it."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        # Such as get_resource_reader: files beside a module are read before it is executed.
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__[PENDING] = _Execution(self.loader)
        module.__class__ = _LazyModule


class _Execution:
    """A module's execution, which is still to come. lock: of two threads that ask at once, the
    second waits until the first has executed it."""

    def __init__(self, loader: Loader):
        self.loader = loader
        self.lock = threading.RLock()
        self.is_running = False


class _LazyModule(ModuleType):
    """A module before it is executed.

    A module of importlib.util.LazyLoader is executed by a second import already, which asks for
    `__spec__`; this one only by a request for an attribute that it does not have yet.
    """

    def __getattr__(self, name: str) -> Any:
        execution = self.__dict__.get(PENDING)
        if execution is not None:
            with execution.lock:
                if execution.is_running:  # in this thread: the module's own code asks
                    raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
                if PENDING in self.__dict__:  # no other thread has executed it meanwhile
                    # `from package import module` asks the package first: it need not be executed.
                    inner = f"{self.__name__}.{name}"
                    if PathFinder.find_spec(inner, self.__dict__.get("__path__", [])):
                        return importlib.import_module(inner)
                    self._execute(execution)
        return object.__getattribute__(self, name)

    def _execute(self, execution: _Execution) -> None:
        spec = self.__spec__
        assert spec is not None
        waiting = spec.loader
        spec.loader = self.__loader__ = execution.loader
        execution.is_running = True
        try:
            with quiet_tensorflow():
                execution.loader.exec_module(self)
        except BaseException:
            spec.loader = waiting
            raise
        finally:
            execution.is_running = False
        del self.__dict__[PENDING]
        object.__setattr__(self, "__class__", ModuleType)
