"""A trigger for new files in a folder; it reads names, never contents."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from wfengine.arrivals.look import LOOK_MS, Look, Memory, Pace, kept, past, waiting, waits_until
from wfengine.errors import ScheduleError, shown

#: Files that a folder may hold: their names are kept in the state.
MAX_FILES = 200_000


class _Seen(Memory, frozen=True, omit_defaults=True):
    """The state of the trigger."""

    #: Paths relative to the folder, of the files that are no news.
    files: tuple[str, ...] = ()
    #: Number, bytes and newest modification of the files that wait, to see whether they still change.
    activity: tuple[int, ...] = ()


class FileArrival(Pace, frozen=True, kw_only=True):
    """Due when files are in ``folder`` that were not there at the first look or at the last tick.

    A file is known by its path: overwriting it is no arrival; one that was seen to be gone and is there again is.
    Hidden files and folders, whose names begin with ``.`` or ``_``, do not count.
    """

    #: Absolute; with everything below it, links to folders excepted.
    folder: Path

    def look(self, state: Any, now: int) -> Look:
        """Compare the names in the folder with those seen before; see `wfengine.arrivals.Arrival`."""
        try:
            paths = _paths(self.folder)
        except OSError as error:
            reason = f"{error.filename or self.folder} cannot be listed: {error.strerror or error}"
            return Look(state=state, reason=reason, next_look=now + LOOK_MS, fault=True)
        # A large folder is looked at less often, so that it never costs more than a fraction of a core.
        soon = now + max(LOOK_MS, len(paths))
        if len(paths) > MAX_FILES:
            reason = f"{self.folder} holds more than {MAX_FILES} files (name a subfolder, or move files that are done)"
            return Look(state=state, reason=reason, next_look=soon, fault=True)
        seen = _Seen(files=tuple(sorted(paths))) if state is None else msgspec.convert(state, _Seen)
        new = sorted(paths.difference(seen.files))
        memory = self._remember(seen, paths, new, now)
        if not new:
            missing = not self.folder.is_dir()
            reason = f"{self.folder} is not there" if missing else f"no new files among {len(paths)}"
            return Look(state=kept(state, seen, memory), reason=reason, next_look=soon, fault=missing)
        what = f"{len(new)} new files, the first is " if len(new) > 1 else "new file "
        what += shown(new[0])
        until = waits_until(self, memory, now)
        if until > now:
            return Look(state=kept(state, seen, memory), reason=waiting(what, until), next_look=min(soon, until))
        fired = _Seen(files=tuple(sorted(paths)), fired_at=now)
        return Look(due=now, state=msgspec.to_builtins(fired), reason=what, next_look=soon)

    def _remember(self, seen: _Seen, paths: set[str], new: list[str], now: int) -> _Seen:
        """Forget the files that are gone, and note when the new ones were last seen to change."""
        files = tuple(name for name in seen.files if name in paths)
        fired_at = past(seen.fired_at, now)
        if not new:
            return _Seen(files=files, fired_at=fired_at)
        # Their status is only asked for when it matters.
        activity = _activity(self.folder, new) if self.wait_after_last_change_seconds else ()
        changed_at = past(seen.changed_at, now) if activity == seen.activity else None
        return _Seen(
            files=files, activity=activity, changed_at=now if changed_at is None else changed_at, fired_at=fired_at
        )


def local_folder(url: str, base: Path) -> Path:
    """Return the folder that ``file_arrival.url`` names, a path or a ``file:`` URL; relative ones start at ``base``.

    Raises ScheduleError when it is not on this machine.
    """
    parts = urlsplit(url) if ":" in url.split("/")[0] else None
    if parts is None:
        return (base / url).resolve()
    if parts.scheme.lower() != "file" or parts.netloc not in ("", "localhost"):
        message = "is not a folder on this machine"
        raise ScheduleError("trigger.file_arrival.url", message, "give a path or a file:/ URL", value=shown(url))
    return (base / unquote(parts.path)).resolve()


def _paths(folder: Path) -> set[str]:
    """List the visible files below ``folder``, stopping when they are too many; raises OSError.

    A folder that is not there has no files: it may be made by the first delivery.
    """
    found: set[str] = set()
    folders = [""]
    while folders and len(found) <= MAX_FILES:
        prefix = folders.pop()
        try:
            with os.scandir(folder / prefix) as entries:
                for entry in entries:
                    if entry.name.startswith((".", "_")):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{prefix}{entry.name}/")
                    elif entry.is_file():
                        found.add(_storable(prefix + entry.name))
        except FileNotFoundError:
            continue
    return found


def _storable(name: str) -> str:
    """Write a name as UTF-8 can hold it; names of other encodings get escapes."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _activity(folder: Path, names: Iterable[str]) -> tuple[int, ...]:
    count = size = newest = 0
    for name in names:
        try:
            status = os.stat(folder / name)
        except OSError:
            continue  # gone since it was listed, which the count shows
        count, size, newest = count + 1, size + status.st_size, max(newest, status.st_mtime_ns)
    return count, size, newest
