"""How simulated attempts come out: how long each takes, and whether it fails; pure thought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import msgspec

from wfengine.errors import UsageError, did_you_mean, listed, shown
from wfengine.jobs import CONTROL, Job, Task
from wfengine.schedule import Zone

#: Milliseconds that an attempt takes when nothing else is said.
DURATION_MS = 60_000


class Ending(msgspec.Struct, frozen=True):
    """What one attempt comes to: the milliseconds it takes, and its completion record."""

    duration_ms: int
    record: dict[str, Any]


class _Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that are to fail; None stands for every day, and for every attempt."""

    day: date | None
    attempts: frozenset[int] | None
    message: str


class Script:
    """What is to become of the attempts of some jobs; those it says nothing about succeed after a minute.

    A task is named by its key, which means every task of that key, or as ``job/task``; the longer name wins.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        jobs = list(jobs)
        self._zones = {job.name: zone_of(job) for job in jobs}
        tasks = [(job.name, task) for job in jobs for task in job.tasks]
        # What a for_each repeats is a task with attempts of its own; the engine's own tasks have none.
        own = [(job, task.nested or task) for job, task in tasks]
        self._names = _names((job, task) for job, task in own if task.kind not in CONTROL)
        self._controls = _names((job, task) for job, task in tasks if task.kind in CONTROL) - self._names
        self._durations: dict[str, int] = {}
        self._failures: dict[str, list[_Failure]] = {}
        self._successes: dict[str, dict[str, Any]] = {}

    def duration(self, task: str, ms: int) -> None:
        """Let every attempt of a task take so many milliseconds; UsageError for an unknown task or less than 0."""
        if ms < 0:
            raise UsageError(f"task {shown(task)!r} cannot take {ms} ms: give a duration of 0 or more")
        self._durations[self._known(task)] = ms

    def fail(
        self, task: str, *, day: date | None = None, attempts: Iterable[int] | None = None, message: str = ""
    ) -> None:
        """Let attempts of a task fail: those of runs due on ``day``, and those numbered ``attempts`` (0 is the first).

        The day is one in the time zone of the job's schedule, or in UTC without one. UsageError for an unknown task.
        """
        failure = _Failure(
            day=day,
            attempts=None if attempts is None else frozenset(attempts),
            message=message or "the simulation lets it fail",
        )
        self._failures.setdefault(self._known(task), []).append(failure)

    def succeed(self, task: str, *, output: Any = None, values: Mapping[str, Any] | None = None) -> None:
        """Let a task succeed with this output and these task values, whatever ``fail`` said before.

        Raises UsageError for an unknown task.
        """
        self._failures.pop(self._known(task), None)
        self._successes[task] = {"output": output, "values": dict(values or {})}

    def ending(self, job: str, task: str, attempt: int, due: int) -> Ending:
        """Return what an attempt comes to; ``due`` is the instant its run was due at, in epoch milliseconds."""
        names = (f"{job}/{task}", task)
        duration = next((self._durations[name] for name in names if name in self._durations), DURATION_MS)
        for failure in (failure for name in names for failure in self._failures.get(name, ())):
            on_day = failure.day is None or failure.day == self._zones[job].local(due // 1000).date()
            if on_day and (failure.attempts is None or attempt in failure.attempts):
                error = {"message": failure.message, "code": "Simulated"}
                return Ending(duration, {"status": "failed", "error": error})
        success = next((self._successes[name] for name in names if name in self._successes), {})
        return Ending(duration, {"status": "success", **success})

    def _known(self, task: str) -> str:
        if task in self._controls:
            raise UsageError(
                f"task {shown(task)!r} is carried out by the engine itself: name those it depends on or runs"
            )
        if task not in self._names:
            hint = did_you_mean(task, self._names) or f"there are {listed(sorted(self._names), 10)}"
            raise UsageError(f"there is no task {shown(task)!r} in these jobs ({hint})")
        return task


def _names(tasks: Iterable[tuple[str, Task]]) -> set[str]:
    """Return the short and the long names of tasks, each given with the name of its job."""
    return {name for job, task in tasks for name in (task.task_key, f"{job}/{task.task_key}")}


def zone_of(job: Job) -> Zone:
    """Return the time zone of a job's schedule, UTC without one."""
    return Zone(job.schedule.timezone_id if job.schedule else "UTC")
