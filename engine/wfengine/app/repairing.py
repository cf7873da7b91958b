"""Repair of runs that have ended."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from wfengine import control, fingerprint, graph, values
from wfengine import repair as planning
from wfengine.app.active import ActiveRun, Listener, Progress
from wfengine.app.base import Base, Origin
from wfengine.app.operating import named_folders
from wfengine.errors import UsageError
from wfengine.jobs import Job
from wfengine.repair import Asked, Now, RepairPlan
from wfengine.runs import Attempt, JobRun
from wfengine.settings import Settings
from wfengine.spark import warehouse
from wfengine.store import Executor, Reopening, Store


class Repaired(NamedTuple):
    """A run that was opened again."""

    run: JobRun
    plan: RepairPlan
    #: Ready to be executed by ``wait``; None when the daemon of the home executes it.
    active: ActiveRun | None


class Draft(NamedTuple):
    """A repair that is not stored yet."""

    found: Settings
    run: JobRun
    job: Job
    parameters: dict[str, str]
    allowed: tuple[str, ...]
    plan: RepairPlan


class Repairing(Base):
    """Operations on runs that have ended."""

    def plan_repair(
        self,
        run_id: int,
        asked: Asked | None = None,
        parameters: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> RepairPlan:
        """Say which tasks of a run ``repair`` would execute again, which stay, and why; writes nothing."""
        with ExitStack() as stack:
            store = self._reading(stack)
            if store is None:
                raise UsageError(f"there is no run {run_id}: {self.settings().home} holds no runs yet")
            return self.draft(store, run_id, asked, parameters, variables, target).plan

    def repair(
        self,
        run_id: int,
        asked: Asked | None = None,
        parameters: Mapping[str, str] | None = None,
        *,
        variables: Mapping[str, str] | None = None,
        target: str | None = None,
        listener: Listener | None = None,
        progress: Progress | None = None,
    ) -> Repaired:
        """Open an ended run again, with its job file as it is now, to execute the tasks that ``asked`` chooses.

        ``parameters`` override those of the run. A run of the daemon is executed by the daemon if one serves the home,
        every other by ``wait`` of the active run returned. ``variables`` and ``target`` are for reading the job file.
        Raises UsageError when the run has not ended, nothing is to be repaired, or its job is at its limit.
        """
        with ExitStack() as stack:
            if not (self.settings().home / "state.db").exists():
                raise UsageError(f"there is no run {run_id}: {self.settings().home} holds no runs yet")
            store = self.open_store(self.settings())
            stack.callback(store.close)
            draft = self.draft(store, run_id, asked, parameters, variables, target)
            if not draft.plan.task_keys:
                raise UsageError(
                    f"run {run_id} needs no repair: no task failed and nothing has changed; name tasks with --task"
                )
            daemon = store.executor(run_id) == "daemon" and control.daemon_alive(self.settings().home)
            with store.grouped():
                run = store.reopen(run_id, reopening(draft, "daemon" if daemon else "here"), self.plugins.subscribers)
                lock = None if daemon else store.own(run_id)
                if lock is None and not daemon:
                    raise UsageError(f"the process that executed run {run_id} has not let go of it yet: try again")
            if lock is None:
                control.knock(self.settings().home)
                return Repaired(run, draft.plan, None)
            stack.pop_all()
            origin = Origin(variables or {}, target)
            active = ActiveRun(self, store, draft.found, draft.job, run, lock, listener, progress, origin=origin)
            return Repaired(run, draft.plan, active)

    def draft(
        self,
        store: Store,
        run_id: int,
        asked: Asked | None,
        parameters: Mapping[str, str] | None,
        variables: Mapping[str, str] | None,
        target: str | None,
    ) -> Draft:
        """Plan a repair of a run with its job file as it is now; the arguments are those of ``repair``."""
        run, (former, allowed) = store.run(run_id), store.snapshot(run_id)
        job, _ = self.validate(former.path, variables, job=run.job_name, target=target)
        if job.name != run.job_name:
            raise UsageError(f"run {run_id} is one of job {run.job_name!r}, but {job.path} is now job {job.name!r}")
        job = graph.narrow(job, former.only)
        found = msgspec.structs.replace(self.settings(former.path), home=self.settings().home)
        given = dict(parameters or {})
        resolved = _parameters(run, job, given)
        base = Path(job.path).parent
        latest = run.latest()
        layers = self.plugins.layers
        now = Now(
            fingerprints={
                t.task_key: fingerprint.of(t, layers.get((t.nested or t).kind), resolved, base) for t in job.tasks
            },
            versions=_versions(latest),
        )
        plan = planning.plan(job, graph.build(job.tasks), latest, asked or Asked(), now)
        folders = (*allowed, *named_folders(given, base))
        return Draft(found, run, job, resolved, tuple(dict.fromkeys(folders)), plan)


def reopening(draft: Draft, by: Executor) -> Reopening:
    """Return what is to be stored of a repair."""
    return Reopening(
        job=draft.job,
        task_keys=draft.plan.task_keys,
        parameters=draft.parameters,
        repair_count=draft.run.repair_count,
        by=by,
        allowed=draft.allowed,
    )


def _parameters(run: JobRun, job: Job, given: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of the repaired run: given now, else what the run had, else the defaults of the job."""
    known = {parameter.name for parameter in job.parameters}
    kept = {name: value for name, value in run.parameters.items() if name in known}
    make = values.parameters_by_ids(
        job,
        {**kept, **given},
        run.trigger,
        trigger_time=run.trigger_time,
        start_time=run.start_time or run.trigger_time,
        backfill=run.backfill,
    )
    return make(run.job_id, run.run_id)


def _versions(latest: Mapping[str, Attempt]) -> dict[str, int]:
    """Look up the version of every table that one of these attempts read."""
    paths = {
        fact.path for a in latest.values() for fact in a.facts.tables if fact.role == "input" and fact.path
    }  # fmt: skip
    return {path: warehouse.version(Path(path)) for path in sorted(paths)}
