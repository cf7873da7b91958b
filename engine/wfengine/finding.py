"""Finds the job that a run_job task means (docs/semantics.md, section 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from wfengine.errors import JobFileError, TaskFailed, did_you_mean, shown
from wfengine.jobs import Job
from wfengine.store import Store

#: What job files are called.
SUFFIXES = (".yml", ".yaml", ".json")
#: Larger files beside a job file are not looked into.
LARGEST = 4 * 1024 * 1024


class Finder:
    """Looks in the bundle of the asking job, then beside its file, then among the jobs that a daemon has loaded.

    ``read`` returns the job of that name or key in a file, None when the file has none such, and raises JobFileError.
    """

    def __init__(self, read: Callable[[Path, str], Job | None], store: Store | None) -> None:
        self._read, self._store = read, store

    def __call__(self, job: Job, name: str) -> Job:
        """Return the job; raises TaskFailed when there is none, JobFileError when its file is faulty."""
        if job.bundle and (found := self._read(Path(job.bundle), name)):
            return found
        name = self._by_id(name)
        broken: JobFileError | None = None
        for path in self._files(job, name):
            try:
                found = self._read(path, name)
            except JobFileError as error:
                broken = broken or error
                continue
            if found:
                return found
        if broken:
            raise broken
        hint = did_you_mean(name, [row.name for row in self._store.jobs()] if self._store else [])
        beside = f"{'in ' + job.bundle + ', ' if job.bundle else ''}beside {job.path}"
        raise TaskFailed(
            f"run_job_task: there is no job {shown(name)!r} {beside} or loaded by a daemon"
            + (f" ({hint})" * bool(hint))
        )

    def _by_id(self, name: str) -> str:
        """Return the name of the job whose id ``name`` is, else ``name`` itself."""
        known = self._store.job_name(int(name)) if self._store and name.isdecimal() and len(name) < 19 else None
        return known or name

    def _files(self, job: Job, name: str) -> Iterator[Path]:
        """Yield the files that may hold the job: those that name it in the asking job's folder, and the loaded one."""
        own = Path(job.path)
        for path in sorted(own.parent.iterdir()) if own.parent.is_dir() else ():
            if path.suffix in SUFFIXES and path != own and _mentions(path, name):
                yield path
        yield from (Path(row.file) for row in (self._store.jobs() if self._store else ()) if row.name == name)


def _mentions(path: Path, name: str) -> bool:
    """Whether a file holds the text; one that cannot be read holds nothing."""
    try:
        return path.stat().st_size <= LARGEST and name in path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
