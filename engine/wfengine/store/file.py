"""The state file before it is opened: made when missing, refused in words when it cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

from wfengine import home as folders
from wfengine.errors import StateError


def expect_file(path: Path) -> None:
    """Raise StateError when there is no state file."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise StateError(
            f"there is no state in {path.parent}: run a job first, or name another home with --home"
        ) from None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror or error}; name another home with --home") from error


def make_file(path: Path) -> None:
    """Make an empty state file unless there is one; never beside the folders of runs, whose ids would come again."""
    try:
        if path.exists() and path.stat().st_size:
            return
        # Under the lock, so that no thread has the file open in SQLite when the descriptor is closed here: closing one
        # descriptor of a file drops all locks that the process has on it.
        lock = folders.FileLock.wait(path.parent)
        try:
            if any((path.parent / "runs").glob("*")) and not (path.exists() and path.stat().st_size):
                raise StateError(
                    f"{path} is missing or empty, but {path.parent / 'runs'} holds runs: restore it from a backup, or "
                    "move that folder away to start anew"
                )
            if not path.exists():
                os.close(folders.open_private(path, os.O_RDWR | os.O_EXCL))
                _sync(path.parent)
        finally:
            lock.release()
    except OSError as error:
        raise StateError(f"cannot make {path}: {error.strerror or error}; name another home") from error


def check_writable(path: Path) -> None:
    """Refuse before SQLite opens the file read-only in silence.

    Opening it here to see would be wrong: closing that descriptor drops the locks of every connection of this process.
    """
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise StateError(f"{place} is read-only: make it writable or name another home with --home")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
