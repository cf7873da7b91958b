"""The last good version of every job file, and what is wrong with the others."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from wfengine.errors import WfengineError, shown
from wfengine.jobs import Job
from wfengine.shelf.files import MAX_BYTES, Stamp, find, looks_like_job, stamps
from wfengine.shelf.spread import spread

#: Fields that say what becomes of a tick, not when there is one.
_NOT_COUNTED = frozenset(
    {"pause_status", "catch_up", "condition", "min_time_between_triggers_seconds", "wait_after_last_change_seconds"}
)


class Content(msgspec.Struct, frozen=True):
    """What a file holds: one job, or those of a bundle."""

    #: Those without a fault.
    jobs: tuple[Job, ...]
    #: What is wrong with the others; while there is something, jobs that are missing keep their last good version.
    error: str = ""
    #: Absolute paths and globs of further files that the jobs were read from; those are no job files themselves.
    includes: tuple[str, ...] = ()


class Changes(msgspec.Struct, frozen=True):
    """What a refresh found; jobs by name, files by path, each sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    #: Files whose error is new or another than before.
    broken: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed or self.broken)


class _Entry(msgspec.Struct, frozen=True):
    """What is known about one file."""

    #: None when the file has to be read again next time, whatever its stamp.
    stamp: Stamp | None = None
    digest: bytes = b""
    #: The last good versions.
    jobs: tuple[Job, ...] = ()
    #: What is wrong with the present version.
    error: str = ""
    includes: tuple[str, ...] = ()
    #: Stamps of the included files from before they were read.
    parts: Mapping[str, Stamp] = {}


class _Unread(NamedTuple):
    """A file to be read."""

    path: str
    known: _Entry
    #: What is known, with new stamps.
    fresh: _Entry
    #: Whether it was named, so that it must be a job file.
    named: bool
    #: Whether it is read even when its content is as before.
    reread: bool


class Shelf:
    """The jobs of some files, folders and globs, kept up to date by ``refresh``.

    ``read`` reads one file and raises a WfengineError that says what is wrong with it as a whole. Each file stands
    for itself: whatever is wrong with one changes nothing about the jobs of the others. Not for several threads.
    """

    def __init__(self, sources: Sequence[Path], read: Callable[[Path], Content]) -> None:
        self._sources, self._read = tuple(sources), read
        self._entries: dict[str, _Entry] = {}
        self._faults: dict[str, str] = {}
        #: The jobs to look after, by name: of each file the last good version. Replaced as a whole by ``refresh``.
        self.jobs: Mapping[str, Job] = {}
        #: What is wrong now, by file or folder; a file may have an error and still a last good version.
        self.errors: Mapping[Path, str] = {}

    def refresh(self, *, force: bool = False) -> Changes:
        """Look at every file again and read those that changed, all of them with ``force``. Raises nothing.

        A file that was changed while it was read counts as unread, and is read again by the next refresh.
        """
        found = find(self._sources)
        entries = {path: entry for path, entry in self._entries.items() if found.below_unknown(path)}
        unread: list[_Unread] = []
        for path, stamp in found.files.items():
            known = entries[path] = self._entries.get(path, _Entry())
            parts = stamps(known.includes) if known.includes else {}
            if force or stamp != known.stamp or parts != known.parts:
                fresh = msgspec.structs.replace(known, stamp=stamp, parts=parts)
                reread = force or parts != known.parts
                unread.append(_Unread(path, known, fresh, path in found.named, reread))
        entries.update(zip((each.path for each in unread), spread(unread, self._look, _Entry), strict=True))
        same = entries.keys() == self._entries.keys() and all(entries[path] is self._entries[path] for path in entries)
        if same and found.faults == self._faults:
            return Changes()
        self._entries, self._faults = entries, found.faults
        return self._publish()

    def _look(self, unread: _Unread) -> _Entry:
        """Read one file, if its content has changed."""
        path, known, fresh, named, reread = unread
        try:
            content = _bytes(path)
            digest = hashlib.sha256(content).digest()
            if digest == known.digest and not reread:
                return fresh
            fresh = msgspec.structs.replace(fresh, digest=digest)
            if not named and not known.jobs and not looks_like_job(content):
                return msgspec.structs.replace(fresh, error="", includes=())
            fresh = self._filled(path, fresh)
            if Stamp.of(os.stat(path)) != fresh.stamp:
                return msgspec.structs.replace(known, stamp=None)
        except OSError as error:
            fault = f"{path}: cannot be read: {error.strerror or error}"
            return msgspec.structs.replace(known, stamp=None, digest=b"", error=fault)
        return fresh

    def _filled(self, path: str, entry: _Entry) -> _Entry:
        """Put what the file says into its entry, and keep the last good versions of what is broken."""
        try:
            content = self._read(Path(path))
        except WfengineError as error:
            return msgspec.structs.replace(entry, error=str(error))
        except Exception as error:  # noqa: BLE001 - one file that the reader stumbles over must not harm the others
            fault = f"{path}: reading it failed: {type(error).__name__}: {error}"
            return msgspec.structs.replace(entry, error=fault)
        names = {job.name for job in content.jobs}
        last_good = tuple(job for job in entry.jobs if job.name not in names) if content.error else ()
        return msgspec.structs.replace(
            entry, jobs=content.jobs + last_good, error=content.error, includes=content.includes
        )

    def _publish(self) -> Changes:
        jobs: dict[str, Job] = {}
        errors = {Path(path): fault for path, fault in self._faults.items()}
        holders: dict[str, str] = {}
        included = {part for path, entry in self._entries.items() for part in stamps(entry.includes) if part != path}
        for path, entry in sorted(self._entries.items()):
            if path in included:
                continue
            if entry.error:
                errors[Path(path)] = entry.error
            for job in entry.jobs:
                if job.name in jobs:
                    errors.setdefault(Path(path), _taken(path, job.name, holders[job.name]))
                else:
                    jobs[job.name], holders[job.name] = job, path
        before, self.jobs = self.jobs, jobs
        was, self.errors = self.errors, errors
        return Changes(
            added=tuple(sorted(jobs.keys() - before.keys())),
            changed=tuple(sorted(name for name in jobs.keys() & before.keys() if _differ(jobs[name], before[name]))),
            removed=tuple(sorted(before.keys() - jobs.keys())),
            broken=tuple(sorted(path for path, error in errors.items() if was.get(path) != error)),
        )


def timing_fingerprint(job: Job) -> str:
    """Return a short text that changes with what the ticks of a job are counted from, and with nothing else.

    While it stays the same, the cursor of a schedule and the memory of a trigger are worth keeping; when it changes,
    they start anew. A pause, the catch-up policy and the waiting times of a trigger do not change it.
    """
    timing = [
        _counted({} if job.schedule is None else msgspec.to_builtins(job.schedule)),
        {kind: _counted(fields) for kind, fields in job.trigger.items() if isinstance(fields, dict)},
        bool(job.continuous),
        # A relative folder means another one when the job file moves.
        os.path.dirname(job.path) if job.trigger.get("file_arrival") else "",
    ]
    return hashlib.sha256(msgspec.json.encode(timing, order="deterministic")).hexdigest()[:32]


def _counted(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if name not in _NOT_COUNTED}


def _bytes(path: str) -> bytes:
    """Return the content of a regular file, at most one byte more than a job file may have. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not keep us waiting
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return file.read(MAX_BYTES + 1)


def _differ(one: Job, other: Job) -> bool:
    return one is not other and one != other


def _taken(path: str, name: str, holder: str) -> str:
    return f"{path}: name: the job {shown(name)!r} is already in {holder} (give one of them another name)"
