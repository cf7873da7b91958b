"""Tells a daemon that job files may have changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wfengine import log
from wfengine.shelf.files import folder_of, is_candidate

#: Seconds after which a change is noticed at the latest.
SECONDS = 10.0
#: Milliseconds without a further change that end a burst of them, and of the longest burst.
_STEP, _BURST = 200, 2000

_Watch = Callable[..., Iterable[set[tuple[Any, str]]]]


class Watcher:
    """A thread that calls ``wake``: soon after a change when ``watchfiles`` is installed, and every ``seconds``."""

    def __init__(self, sources: Sequence[Path], wake: Callable[[], None], seconds: float) -> None:
        self._sources, self._wake, self._seconds = tuple(sources), wake, seconds
        self._closed = threading.Event()
        self._named = frozenset(map(os.path.abspath, sources))
        self._trouble, self._failed = "", False
        self._thread = threading.Thread(target=self._run, name="wfengine-watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching and wait for the thread; a second call does nothing."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._round()

    def _round(self) -> None:
        try:
            for _ in self._changes():
                self._wake()
        except Exception as error:  # noqa: BLE001 - whatever happens, the files are still looked at by the clock
            self._tell(f"{type(error).__name__}: {error}")
            self._failed = True

    def _changes(self) -> Iterator[None]:
        """Yield whenever files may have changed, until it has to be decided again how that is found out."""
        folders, self._failed = {} if self._failed else self._folders(), False
        try:
            import watchfiles
        except ImportError:
            folders = {}
        if folders:
            yield from self._notified(watchfiles.watch, folders)
        elif not self._closed.wait(self._seconds):
            yield

    def _notified(self, watch: _Watch, folders: dict[str, int]) -> Iterator[None]:
        """Yield on each notification until one of the watched folders is gone, made anew or found at last."""
        # What changed while watchfiles was being loaded, of which nobody will tell.
        yield
        for changes in watch(
            *folders,
            watch_filter=lambda _, path: path in folders or path in self._named or is_candidate(os.path.basename(path)),
            stop_event=self._closed,
            step=_STEP,
            debounce=_BURST,
            rust_timeout=int(self._seconds * 1000),
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=any(below for _, below in map(folder_of, self._sources)),
            ignore_permission_denied=True,
        ):
            yield
            if self._folders() != folders or any(path in folders for _, path in changes):
                return

    def _folders(self) -> dict[str, int]:
        """Return the inode of each folder that is there; a folder made anew has another one and is watched anew."""
        inodes = {folder: _inode(folder) for folder, _ in map(folder_of, self._sources)}
        return {folder: inode for folder, inode in inodes.items() if inode is not None}

    def _tell(self, trouble: str) -> None:
        """Log a trouble once, not every few seconds."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.get().warning("watching job files failed; they are looked at every few seconds", error=trouble)


def watch(sources: Sequence[Path], wake: Callable[[], None], *, seconds: float = SECONDS) -> Watcher:
    """Watch files, folders and globs from a thread until the watcher is closed.

    ``wake`` is called after every burst of changes and at least every ``seconds``, because no notification of a file
    system is certain; it should only note that `Shelf.refresh` is worth a call. What it raises is logged.
    """
    return Watcher(sources, wake, seconds)


def _inode(folder: str) -> int | None:
    try:
        return os.stat(folder).st_ino
    except OSError:
        return None  # not there now; looked for again every few seconds
