"""Which tasks of an ended run a repair executes again, and why; pure thought (docs/semantics.md, section 8)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from wfengine.errors import UsageError, did_you_mean, shown
from wfengine.graph import Graph
from wfengine.jobs import Job, Task
from wfengine.runs import Attempt, Fingerprint
from wfengine.states import Result

#: Results of tasks that went wrong themselves, and of those that did not run because of others; each in words.
_WRONG = {Result.FAILED: "failed", Result.TIMEDOUT: "timed out", Result.CANCELED: "was cancelled"}
_BEHIND = (Result.UPSTREAM_FAILED, Result.UPSTREAM_CANCELED)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to be repaired; without ``failed`` and ``tasks`` it is whatever needs to be."""

    #: What failed and what was skipped behind it.
    failed: bool = False
    #: Keys of the tasks named.
    tasks: tuple[str, ...] = ()
    #: What depends on the tasks that run, too.
    dependents: bool = False

    @property
    def by_need(self) -> bool:
        """Whether nothing is named."""
        return not self.failed and not self.tasks


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """How the world is at the time of the repair."""

    #: What each task is made of.
    fingerprints: Mapping[str, Fingerprint]
    #: Version of each table that an attempt read, by its path; -1 when it is gone.
    versions: Mapping[str, int] = {}


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair does with one task."""

    task_key: str
    runs: bool
    reason: str


class RepairPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair does, every task after those it depends on."""

    tasks: tuple[Planned, ...]

    @property
    def task_keys(self) -> tuple[str, ...]:
        """The tasks that run again."""
        return tuple(task.task_key for task in self.tasks if task.runs)


def plan(job: Job, graph: Graph, latest: Mapping[str, Attempt], asked: Asked, now: Now) -> RepairPlan:
    """Decide for each task of the job as it is now whether it runs again.

    ``graph`` is that of ``job``, ``latest`` holds the last attempt of each task that the run had. By need, a task runs
    that did not come to a good end, whose code, job parameters or input tables are not what its last attempt used, or
    that depends on one that runs. A task that the run did not have runs always. Raises UsageError for a task named that
    the job does not have.
    """
    for key in asked.tasks:
        if key not in graph.upstream:
            hint = did_you_mean(key, graph.order)
            raise UsageError(f"the job has no task {shown(key)!r}" + (f" ({hint})" if hint else ""))
    named = frozenset(asked.tasks)
    pulls = asked.by_need or asked.dependents
    running: dict[str, Planned] = {}
    planned: list[Planned] = []
    for key in graph.order:
        task, attempt = job.tasks[graph.position[key]], latest.get(key)
        change = _change(attempt, now.fingerprints[key], now) if attempt else ""
        reason = _wanted(task, attempt, asked, named, change)
        if not reason and pulls:
            above = next((other for other in graph.upstream[key] if other in running), "")
            reason = f"depends on {above}, which runs" if above else ""
        if reason:
            running[key] = Planned(task_key=key, runs=True, reason=reason)
        planned.append(running.get(key) or Planned(task_key=key, runs=False, reason=_stays(attempt, change)))
    return RepairPlan(tasks=tuple(planned))


def _wanted(task: Task, attempt: Attempt | None, asked: Asked, named: frozenset[str], change: str) -> str:
    """Say why a task runs for its own sake; empty when it does not."""
    if attempt is None:
        return "is new in the job"
    if task.task_key in named:
        return "was named"
    if asked.tasks and not asked.failed:
        return ""
    if attempt.result in _WRONG:
        return _WRONG[attempt.result]
    if attempt.result in _BEHIND or attempt.result is None:
        return f"did not run: {attempt.message}" if attempt.message else "did not run"
    if not asked.by_need:
        return ""
    if attempt.result is Result.DISABLED and not task.disabled:
        return "was disabled"
    return change


def _change(attempt: Attempt, made_of: Fingerprint, now: Now) -> str:
    """Say what is not as the attempt used it; empty when all is, or when it used nothing."""
    before = attempt.fingerprint
    if before is None:
        return ""
    if before.code != made_of.code:
        return "its code has changed"
    if before.parameters != made_of.parameters:
        return "the job parameters have changed"
    # A table that it read and then wrote itself is as it left it.
    left = {fact.path: fact.version_after for fact in attempt.facts.tables if fact.role != "input"}
    for fact in attempt.facts.tables:
        version = now.versions.get(fact.path)
        same = (None, fact.version_after, left.get(fact.path))
        if fact.role == "input" and fact.version_after is not None and version not in same:
            what = "is gone" if version == -1 else f"is at version {version}, it read {fact.version_after}"
            return f"its input {fact.table} {what}"
    return ""


def _stays(attempt: Attempt | None, change: str) -> str:
    """Say why a task keeps its last attempt."""
    result = attempt.result if attempt else None
    if result is not Result.SUCCESS:
        return f"stays {result}"
    if change:
        return f"succeeded; {change}, but it was not asked for"
    if attempt and attempt.fingerprint is None:
        return "succeeded; what it was made of is not known"
    return "succeeded, and nothing has changed since"
