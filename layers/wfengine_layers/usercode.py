"""What every layer that runs the user's own code shares: its surroundings, and where it failed."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from wfengine import errors
from wfengine.errors import TaskFailed, WfengineError, relative
from wfengine.layer import TaskContext

#: A parameter as job files write it; user code always gets text.
Scalar = str | int | float | bool | None

#: Code below these folders is never the user's: the engine, the standard library, installed packages.
_LIBRARIES = tuple(
    {
        *(str(Path(folder).resolve()) + os.sep for folder in (Path(errors.__file__).parent, Path(__file__).parent)),
        *(str(Path(sysconfig.get_path(name)).resolve()) + os.sep for name in ("stdlib", "purelib", "platlib")),
    }
)


def as_text(value: Scalar) -> str:
    """Write a parameter as text, as JSON would: ``true``, not ``True``; nothing for null."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@contextmanager
def import_folders(folders: Sequence[Path]) -> Iterator[None]:
    """Put ``folders`` first on the import path for as long as the block runs."""
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def main_module(file: Path, arguments: Sequence[str], folders: Sequence[Path]) -> Iterator[ModuleType]:
    """Give a fresh ``__main__`` for the code of ``file``, with its arguments, import folders and working directory.

    A real module is needed: pickled functions, data classes and type hints look their names up in it.
    """
    module = ModuleType("__main__")
    module.__file__ = str(file)
    main, argv, folder = sys.modules["__main__"], sys.argv, Path.cwd()
    sys.modules["__main__"], sys.argv = module, [str(file), *arguments]
    os.chdir(file.parent)
    try:
        with import_folders(folders):
            yield module
    finally:
        os.chdir(folder)
        sys.modules["__main__"], sys.argv = main, argv


def is_user_file(name: str) -> bool:
    """Whether a frame is of a file, and that neither of the engine nor of an installed library."""
    return not name.startswith("<") and not str(Path(name).resolve()).startswith(_LIBRARIES)


def user_frames(error: BaseException) -> traceback.TracebackException:
    """Return the traceback of ``error`` and of its causes with the user's own frames alone."""
    whole = traceback.TracebackException.from_exception(error)
    pending: list[traceback.TracebackException | None] = [whole]
    while pending:
        part = pending.pop()
        if part is not None:
            frames = [frame for frame in part.stack if is_user_file(frame.filename)]
            part.stack = traceback.StackSummary.from_list(frames)
            pending += [part.__cause__, part.__context__]
    return whole


def failure(error: BaseException, describe: Callable[[str, int], str]) -> TaskFailed:
    """Turn what the user's code raised into TaskFailed at the user's line, and put its traceback into the log.

    ``describe`` writes a file name and a line as the place to show.
    """
    report = user_frames(error)
    where = describe(report.stack[-1].filename, report.stack[-1].lineno or 0) if report.stack else ""
    if isinstance(error, SyntaxError) and is_user_file(error.filename or "<unknown>"):
        where = describe(error.filename or "", error.lineno or 0)
    sys.stdout.flush()
    sys.stderr.write("".join(report.format()))
    sys.stderr.flush()
    return TaskFailed(sentence(error), where=where)


def sentence(error: BaseException) -> str:
    """Say what was raised; errors of the engine are sentences already."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    if isinstance(error, WfengineError):
        return str(error)
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def exit_code(error: SystemExit) -> int:
    """Return the exit code a process would have ended with."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1


def shown_path(path: Path, context: TaskContext[Any]) -> str:
    """Name a file as messages do: relative to the job file's folder, else to the project's root, else in full."""
    folders = (context.base.resolve(), context.root.resolve())
    return relative(path, next((folder for folder in folders if path.is_relative_to(folder)), folders[0]))


def place_in(context: TaskContext[Any]) -> Callable[[str, int], str]:
    """Return the function that writes a place as ``file:line``."""

    def place(name: str, line: int) -> str:
        file = shown_path(Path(name), context)
        return f"{file}:{line}" if line else file

    return place
