"""A run that has ended is opened again: the former end is kept, and the tasks to repair get their next attempts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import msgspec

from wfengine.errors import StateError, UsageError
from wfengine.events import RunRepaired
from wfengine.jobs import Job
from wfengine.states import LifeCycle
from wfengine.store import newrun, rows
from wfengine.store.database import Database, Row
from wfengine.store.newrun import Executor
from wfengine.store.transaction import Tx, take_ids


class Reopening(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be executed of an ended run."""

    #: The job as it is now; takes the place of the snapshot.
    job: Job
    #: Keys of the tasks to execute; every task of the job that the run does not have yet must be among them.
    task_keys: Collection[str]
    parameters: Mapping[str, str]
    #: How many repairs the run had when this one was planned.
    repair_count: int
    by: Executor = "here"
    allowed: Sequence[str] = ()


def reopen(database: Database, run_id: int, wanted: Reopening, now: int, subscribers: Sequence[str]) -> None:
    """Open the ended run again, inside a transaction.

    It is PENDING or, when its job is at its limit and has a queue, QUEUED. Raises UsageError, with nothing written,
    when the run has not ended, was repaired since the plan was made, or finds no place among the runs of its job.
    """
    row = database.row("run", run_id=run_id)
    if row is None:
        raise StateError(f"there is no run {run_id}")
    place = _place(database, row, wanted)
    database.change("drop_requests_of", run_id=run_id)
    repair_id = take_ids(database, 1 + len(wanted.task_keys))
    database.change("add_repair", run_id=run_id, repair_id=repair_id, now=now)
    text = rows.encode(wanted.job)
    digest = hashlib.sha256(text.encode()).digest()
    database.change("add_snapshot", sha256=digest, job=text)
    database.change(
        "reopen_run",
        run_id=run_id,
        expect=row["state"],
        repair_count=wanted.repair_count,
        snapshot=digest,
        allowed=rows.encode_or_null(tuple(wanted.allowed)),
        parameters=rows.encode_or_null(dict(wanted.parameters)),
        executor=wanted.by,
        state=place.state.value,
        message=place.reason or None,
        queued_at=now if place.state is LifeCycle.QUEUED else None,
    )
    keys = _add_attempts(database, run_id, wanted, repair_id + 1)
    Tx(database, run_id, subscribers).event(
        RunRepaired(
            time=now,
            run_id=run_id,
            job_id=row["job_id"],
            job_name=row["job_name"],
            repair_count=wanted.repair_count + 1,
            task_keys=tuple(keys),
        )
    )


def _place(database: Database, row: Row, wanted: Reopening) -> newrun.Place:
    run_id, state = row["run_id"], LifeCycle(row["state"])
    if not state.ended:
        raise UsageError(f"run {run_id} has not ended, it is {state}: wait for its end, or cancel it")
    if row["repair_count"] != wanted.repair_count:
        raise UsageError(f"run {run_id} was repaired by somebody else a moment ago: look at it and try again")
    place = newrun.place(database, wanted.job, row["job_id"])
    if place.state is LifeCycle.SKIPPED:
        raise UsageError(f"run {run_id} cannot be repaired now: {place.reason}")
    return place


def _add_attempts(database: Database, run_id: int, wanted: Reopening, first_id: int) -> list[str]:
    """Add the next attempt of each task to execute, and put all attempts in the order of the job as it is now."""
    last = {row["task_key"]: row["last"] for row in database.rows("last_attempts", run_id=run_id)}
    tasks = [task for task in wanted.job.tasks if task.task_key in wanted.task_keys]
    here = [task.task_key for task in wanted.job.tasks]
    # Tasks that the job no longer has stay listed, behind the others.
    order = [*here, *(key for key in last if key not in set(here))]
    position = {key: number for number, key in enumerate(order)}
    database.change_many(
        "place_attempts", [{"run_id": run_id, "task_key": key, "position": position[key]} for key in last]
    )
    database.change_many(
        "add_attempt",
        [
            {
                "task_run_id": first_id + number,
                "run_id": run_id,
                "position": position[task.task_key],
                "task_key": task.task_key,
                "iteration": -1,
                "attempt_number": last.get(task.task_key, -1) + 1,
                "state": (LifeCycle.BLOCKED if task.depends_on else LifeCycle.PENDING).value,
                "not_before": None,
            }
            for number, task in enumerate(tasks)
        ],
    )
    return [task.task_key for task in tasks]
