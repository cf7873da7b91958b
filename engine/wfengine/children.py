"""The runs that run_job tasks start: which job is meant, whether it may be run, and the run itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wfengine import values
from wfengine.clock import Clock
from wfengine.errors import TaskFailed
from wfengine.jobs import Job
from wfengine.nesting import Find, refusal, wanted
from wfengine.runs import JobRun
from wfengine.states import Trigger
from wfengine.store import Executor, RunLock, Store


class Births:
    """Makes the runs of run_job tasks."""

    def __init__(self, store: Store, clock: Clock, subscribers: Sequence[str], find: Find) -> None:
        self._store, self._clock, self._subscribers, self._find = store, clock, subscribers, find

    def run_of(
        self, parent: JobRun, job: Job, task_run_id: int, config: Mapping[str, Any], by: Executor
    ) -> tuple[int, RunLock | None]:
        """Return the run that an attempt asks for, made now unless a former engine made it, and its lock when made.

        ``by`` is who executes it. Raises WfengineError as `launching.Children.start` says.
        """
        there = self._store.child(task_run_id)
        if there is not None:
            return there, None
        child = self._find(job, wanted(config))
        if reason := refusal([*self._store.lineage(parent.run_id), child.name]):
            raise TaskFailed(reason)
        now = self._clock.now_ms()
        given = {str(name): str(value) for name, value in (config.get("job_parameters") or {}).items()}
        trigger = Trigger.RUN_JOB_TASK
        # Together, so that no other process finds the run without its owner.
        with self._store.grouped():
            run, _ = self._store.create_run(
                child,
                parameters=values.parameters_by_ids(child, given, trigger, trigger_time=now, start_time=now),
                trigger=trigger,
                trigger_time=now,
                by=by,
                allowed=self._store.snapshot(parent.run_id)[1],
                parent=(parent.run_id, task_run_id),
                subscribers=self._subscribers,
            )
            return run.run_id, None if run.state.ended else self._store.own(run.run_id)
