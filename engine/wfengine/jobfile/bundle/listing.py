"""What a bundle holds once it is read: its jobs, what is wrong with each, and what cannot run here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from wfengine.errors import Fault, JobFileError, did_you_mean, shown
from wfengine.jobs import Job


class BundleTask(msgspec.Struct, frozen=True, kw_only=True):
    """One task of a job, as far as it could be read."""

    task_key: str
    #: The ``<kind>`` of its ``<kind>_task``; empty when it has none.
    kind: str
    path: str
    line: int


class BundleJob(msgspec.Struct, frozen=True, kw_only=True):
    """One job of a bundle and all that is to be said about it."""

    #: The key below ``resources.jobs``.
    key: str
    #: The name its runs have, with the prefix of the target.
    name: str
    path: str
    line: int
    tasks: tuple[BundleTask, ...] = ()
    #: The job; None when it has faults.
    job: Job | None = None
    faults: tuple[Fault, ...] = ()
    #: What Databricks runs and this engine does not.
    unsupported: tuple[Fault, ...] = ()
    #: Its fields that have no effect here, with the place of the first.
    warnings: tuple[Fault, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether the job can run here."""
        return self.job is not None and not self.unsupported


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle as one target sees it."""

    path: str
    name: str
    target: str
    listed: tuple[BundleJob, ...] = ()
    #: What is wrong with the bundle itself, so that none of its jobs can run.
    own_faults: tuple[Fault, ...] = ()
    #: What is worth saying about the bundle itself although nothing is wrong.
    own_warnings: tuple[Fault, ...] = ()
    #: That, and once for all jobs which fields have no effect.
    warnings: tuple[Fault, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Everything that is wrong in any file, by file and line; a fault that several jobs share is there once."""
        found = dict.fromkeys(self.own_faults)
        found.update({fault: None for job in self.listed for fault in job.faults})
        return tuple(in_order(found))

    @property
    def jobs(self) -> Mapping[str, Job]:
        """The jobs that can run here, by key; none when the bundle itself has a fault."""
        if self.own_faults:
            return {}
        return {entry.key: entry.job for entry in self.listed if entry.job is not None and entry.runs}

    def pick(self, name: str | None) -> tuple[Job, tuple[Fault, ...]]:
        """Return the job of that key or name (None: the only job) and what is worth saying about it.

        Raises JobFileError when there is none such, or with what is wrong with the bundle or with this job.
        """
        entry = self._entry(name)
        faults = [*self.own_faults, *entry.faults, *entry.unsupported]
        if faults or entry.job is None:
            raise JobFileError(in_order(faults))
        return entry.job, (*self.own_warnings, *entry.warnings)

    def _entry(self, name: str | None) -> BundleJob:
        keys = [entry.key for entry in self.listed]
        if name is None:
            found = list(self.listed)
            message = f"holds {len(keys)} jobs" if keys else "holds no job"
            hint = f"choose one with --job: {', '.join(map(shown, keys))}" if keys else "write it below resources.jobs"
        else:
            by_key = [entry for entry in self.listed if entry.key == name]
            found = by_key or [entry for entry in self.listed if entry.name == name]
            message = f"has {len(found) or 'no'} job{'s' if found else ''} {shown(name)!r}"
            near = "" if found else did_you_mean(name, [*keys, *(entry.name for entry in self.listed)])
            hint = near or (f"known are {', '.join(map(shown, keys))}" if keys else "")
        if len(found) != 1:
            raise JobFileError([*self.own_faults, Fault(path=self.path, message=message, hint=hint)])
        return found[0]


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Sort faults by file and place."""
    return sorted(faults, key=lambda fault: (fault.path, fault.line, fault.column))
