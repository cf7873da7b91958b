"""End the runs whose engine died: nothing is adopted that cannot be proved, and no process is left."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from wfengine import plan
from wfengine.clock import Clock
from wfengine.controltasks import ENGINE_DIED
from wfengine.events import TaskEnded, TaskSkipped
from wfengine.executor import sweep
from wfengine.graph import build
from wfengine.jobs import Job
from wfengine.runner import run_ended
from wfengine.runs import Attempt, JobRun
from wfengine.states import LifeCycle, Result
from wfengine.store import RunLock, Store, Tx


def recover(
    store: Store,
    clock: Clock,
    marker: Callable[[int], str],
    subscribers: Sequence[str],
    among: Collection[int] | None = None,
) -> list[int]:
    """End every run that no live process owns, those of the daemon excepted, and return their ids.

    ``among`` leaves all other runs alone, such as one that was made a moment ago and has no owner yet.
    An attempt that was running ends as INTERNAL_ERROR and FAILED, for nobody saw how it came out; its processes are
    killed first. What was not started is decided by the plan as for a cancelled run.
    """
    ended = []
    # Runs of the daemon wait for the next daemon, which goes on with them.
    for run_id in store.unfinished("here"):
        lock = store.own(run_id) if among is None or run_id in among else None
        if lock is None:
            continue
        try:
            sweep(marker(run_id))
            _abandon(store, lock, clock.now_ms(), subscribers)
            ended.append(run_id)
        finally:
            lock.release()
    return ended


def _abandon(store: Store, lock: RunLock, now: int, subscribers: Sequence[str]) -> None:
    job, _ = store.snapshot(lock.run_id)
    run = store.run(lock.run_id)
    keys = {task.task_key for task in job.tasks}
    # A repair may have come with a job that has fewer tasks.
    latest = {key: attempt for key, attempt in run.latest().items() if key in keys}
    with store.transaction(lock, subscribers) as tx:
        for attempt in latest.values():
            if attempt.state in (LifeCycle.RUNNING, LifeCycle.TERMINATING):
                latest[attempt.task_key] = _lost(tx, run, attempt, now)
        _abandon_iterations(tx, run, now)
        states = {key: plan.TaskState(a.state, a.result, a.outcome) for key, a in latest.items()}
        for finish in _rest(job, states):
            key, result, message = finish
            states[key] = plan.TaskState(LifeCycle.TERMINATED, result)
            attempt = latest[key]
            _skip(tx, run, attempt, result, message, now)
        message = "the engine's process died during the run"
        tx.run(run.state, state=LifeCycle.INTERNAL_ERROR, result=Result.FAILED, message=message, end_time=now)
        tx.event(run_ended(run, states, Result.FAILED, message, now, run.start_time or 0))


def _abandon_iterations(tx: Tx, run: JobRun, now: int) -> None:
    for attempt in {attempt.unit: attempt for attempt in run.iterations}.values():
        if attempt.state in (LifeCycle.RUNNING, LifeCycle.TERMINATING):
            _lost(tx, run, attempt, now)
        elif not attempt.state.ended:
            _skip(tx, run, attempt, Result.CANCELED, "the engine's process died before it", now)


def _skip(tx: Tx, run: JobRun, attempt: Attempt, result: Result, message: str, now: int) -> None:
    """End what was not executed."""
    tx.attempt(attempt.run_id, attempt.state, state=LifeCycle.TERMINATED, result=result, message=message, end_time=now)
    tx.event(
        TaskSkipped(
            time=now,
            run_id=run.run_id,
            job_id=run.job_id,
            job_name=run.job_name,
            task_key=attempt.task_key,
            task_run_id=attempt.run_id,
            iteration=attempt.iteration,
            result=result,
            message=message,
        )
    )


def _lost(tx: Tx, run: JobRun, attempt: Attempt, now: int) -> Attempt:
    tx.attempt(
        attempt.run_id,
        attempt.state,
        state=LifeCycle.INTERNAL_ERROR,
        result=Result.FAILED,
        message=ENGINE_DIED.message,
        end_time=now,
        error=ENGINE_DIED,
    )
    tx.event(
        TaskEnded(
            time=now,
            run_id=run.run_id,
            job_id=run.job_id,
            job_name=run.job_name,
            task_key=attempt.task_key,
            task_run_id=attempt.run_id,
            attempt_number=attempt.attempt_number,
            iteration=attempt.iteration,
            result=Result.FAILED,
            message=ENGINE_DIED.message,
            duration_ms=now - (attempt.start_time or now),
            error=ENGINE_DIED,
        )
    )
    return msgspec.structs.replace(attempt, state=LifeCycle.INTERNAL_ERROR, result=Result.FAILED)


def _rest(job: Job, states: dict[str, plan.TaskState]) -> list[plan.Finish]:
    """Decide how every task that has not ended ends, now that nothing of the run can be executed."""
    graph = build(job.tasks)
    states = {
        key: plan.TaskState(LifeCycle.PENDING) if state.state is LifeCycle.WAITING_FOR_RETRY else state
        for key, state in states.items()
    }
    finishes: list[plan.Finish] = []
    among: Sequence[str] = graph.order
    while True:
        decisions = plan.decide(job, graph, states, among, cancelled=True)
        if not decisions:
            return finishes
        for decision in decisions:
            if isinstance(decision, plan.Start):
                # A clean-up task that would still run: there is no engine to run it.
                decision = plan.Finish(decision.task_key, Result.CANCELED, "the engine's process died before it")
            finishes.append(decision)
            states[decision.task_key] = plan.TaskState(LifeCycle.TERMINATED, decision.result)
        among = graph.order
