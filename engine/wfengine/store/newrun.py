"""A new run: whether there is room for it among the runs of its job, and the rows it begins with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from wfengine.errors import StateError
from wfengine.events import RunEnded, RunQueued
from wfengine.jobs import Job
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import rows
from wfengine.store.database import Database
from wfengine.store.transaction import Tx, take_ids

#: Who executes a run: the process that creates it, or the daemon of the home.
Executor = Literal["here", "daemon"]

#: Given the ids of the job and of the run, returns the run's parameters.
Parameters = Callable[[int, int], Mapping[str, str]]


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made of."""

    job: Job
    parameters: Parameters
    trigger: Trigger
    #: Epoch milliseconds.
    trigger_time: int
    by: Executor = "here"
    idempotency_token: str | None = None
    allowed: Sequence[str] = ()
    #: Epoch milliseconds of the step, for a run of a backfill.
    backfill: int | None = None
    #: The run whose run_job task starts this one, and the attempt of that task.
    parent: tuple[int, int] | None = None


class Place(msgspec.Struct, frozen=True):
    """Where a new run of a job has to stand now, and why when it may not start."""

    state: LifeCycle
    reason: str = ""


def job_id_of(database: Database, name: str) -> int:
    """Return the id of the job, which gets one when it is new; inside a transaction."""
    database.change("add_job", name=name)
    row = database.row("job", name=name)
    if row is None:
        raise StateError(f"{database.path} is damaged: job {name!r} could not be stored")
    return int(row["job_id"])


def place(database: Database, job: Job, job_id: int) -> Place:
    """Ask whether another run of the job may start (docs/semantics.md, section 7), inside a transaction."""
    limit = job.max_concurrent_runs
    if limit < 1:
        return Place(LifeCycle.SKIPPED, "max_concurrent_runs is 0: no run of this job may start")
    count = database.row("job_load", job_id=job_id)
    active, queued = (count["active"], count["queued"]) if count else (0, 0)
    if active < limit and not (queued and job.queue_enabled):
        return Place(LifeCycle.PENDING)
    reason = f"{active} of at most {limit} runs of this job were active"
    return Place(LifeCycle.QUEUED if job.queue_enabled else LifeCycle.SKIPPED, reason)


def add_run(database: Database, new: NewRun, job_id: int, at: Place, now: int, subscribers: Sequence[str]) -> int:
    """Store the run of the job ``job_id`` as ``at`` says and return its id, inside a transaction.

    A SKIPPED run has no attempts and has ended. Nothing is written when ``parameters`` raises.
    """
    skipped = at.state is LifeCycle.SKIPPED
    run_id = take_ids(database, 1 if skipped else 1 + len(new.job.tasks))
    parameters = dict(new.parameters(job_id, run_id))
    _add_row(database, new, at, now, run_id, job_id, parameters)
    tx, name = Tx(database, run_id, subscribers, last_event=0), new.job.name
    if skipped:
        result, message = Result.MAXIMUM_CONCURRENT_RUNS_REACHED, at.reason
        tx.event(RunEnded(time=now, run_id=run_id, job_id=job_id, job_name=name, result=result, message=message))
    else:
        _add_attempts(database, run_id, new.job)
        tx.event(RunQueued(time=now, run_id=run_id, job_id=job_id, job_name=name, trigger=new.trigger))
    return run_id


def _add_row(
    database: Database, new: NewRun, at: Place, now: int, run_id: int, job_id: int, parameters: Mapping[str, str]
) -> None:
    text = rows.encode(new.job)
    digest = hashlib.sha256(text.encode()).digest()
    database.change("add_snapshot", sha256=digest, job=text)
    database.change("count_run", job_id=job_id)
    skipped = at.state is LifeCycle.SKIPPED
    database.change(
        "add_run",
        run_id=run_id,
        job_id=job_id,
        snapshot=digest,
        allowed=rows.encode_or_null(tuple(new.allowed)),
        executor=new.by,
        state=at.state.value,
        result=Result.MAXIMUM_CONCURRENT_RUNS_REACHED.value if skipped else None,
        message=at.reason or None,
        start_time=now if skipped else None,
        end_time=now if skipped else None,
        queued_at=now if at.state is LifeCycle.QUEUED else None,
        trigger_type=new.trigger.value,
        trigger_time=new.trigger_time,
        parameters=rows.encode_or_null(parameters),
        idempotency_token=new.idempotency_token,
        backfill=new.backfill,
        parent_run_id=new.parent and new.parent[0],
        parent_task_run_id=new.parent and new.parent[1],
    )


def _add_attempts(database: Database, run_id: int, job: Job) -> None:
    database.change_many(
        "add_attempt",
        [
            {
                "task_run_id": run_id + 1 + position,
                "run_id": run_id,
                "position": position,
                "task_key": task.task_key,
                "iteration": -1,
                "attempt_number": 0,
                "state": (LifeCycle.BLOCKED if task.depends_on else LifeCycle.PENDING).value,
                "not_before": None,
            }
            for position, task in enumerate(job.tasks)
        ],
    )
