"""One timer for each job: what makes it due, and when to look at it next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wfengine import schedule
from wfengine.arrivals import Arrival, Continuous, FileArrival, Interval, TableUpdate
from wfengine.arrivals import Trigger as Starter
from wfengine.errors import ScheduleError, WfengineError, did_you_mean, shown
from wfengine.jobs import Job
from wfengine.schedule import Due
from wfengine.shelf import timing_fingerprint
from wfengine.states import Trigger
from wfengine.store import Timing

#: Makes of a job's ``trigger`` or ``continuous`` what starts it; see `wfengine.arrivals.parse`.
Triggers = Callable[[Job], Starter | None]


@dataclass(slots=True)
class Timer:
    """A loaded job on its way through time."""

    job: Job
    job_id: int
    #: What makes the job due; None when it is started by hand alone, paused by its file, or cannot be scheduled.
    source: Due | Arrival | Continuous | None
    #: What its runs say started them.
    kind: Trigger = Trigger.PERIODIC
    #: What becomes of instants missed in a downtime.
    policy: str = "latest"
    #: Epoch milliseconds at which to look at it; None for never.
    at: int | None = None
    #: What an arrival remembers.
    state: Any = None
    error: str = ""


def timing_of(job: Job, job_id: int, known: Timing | None, now: int) -> Timing:
    """Return what the ledger is to know of a job, given what it knew before.

    A job that is new, or whose timing was edited, counts from now on; so does one that its file pauses or paused.
    Otherwise the cursor stays, so that what was missed meanwhile is caught up with.
    """
    fingerprint, held = timing_fingerprint(job), _held(job)
    same = known is not None and known.timing == fingerprint
    cursor = known.cursor if known else now
    if known is None or not same or held or known.held:
        cursor = max(cursor, now)
    return Timing(
        job_id=job_id,
        job_name=job.name,
        file=job.path,
        timing=fingerprint,
        cursor=cursor,
        held=held,
        state=known.state if known is not None and same else _first_state(job, now),
        paused=known.paused if known else False,
    )


def timer(job: Job, timing: Timing, triggers: Triggers, now: int) -> Timer:
    """Return the timer of a job; what is wrong with its schedule is the timer's error."""
    made = Timer(job, timing.job_id, None, state=timing.state)
    if timing.held:
        return made
    try:
        made.source, made.kind = _source(job, timing, triggers)
    except WfengineError as error:
        made.error = str(error)
        return made
    if job.schedule is not None:
        made.policy = job.schedule.catch_up
    made.at = made.source.next_after(timing.cursor) if isinstance(made.source, Due) else now
    return made if made.source is not None else Timer(job, timing.job_id, None)


def _source(job: Job, timing: Timing, triggers: Triggers) -> tuple[Due | Arrival | Continuous | None, Trigger]:
    if job.schedule is not None:
        if job.schedule.catch_up not in schedule.POLICIES:
            hint = did_you_mean(job.schedule.catch_up, schedule.POLICIES)
            message = f"should be one of {', '.join(schedule.POLICIES)}"
            raise ScheduleError("schedule.catch_up", message, hint, value=shown(job.schedule.catch_up))
        return schedule.compile(job.schedule, timing.cursor), Trigger.PERIODIC
    starter = triggers(job)
    if isinstance(starter, Interval):
        return starter.due(timing.state["anchor"]), Trigger.PERIODIC
    if starter is not None and job.max_concurrent_runs < 1:
        raise ScheduleError("max_concurrent_runs", "is 0: no run of this job may start")
    if isinstance(starter, FileArrival):
        return starter, Trigger.FILE_ARRIVAL
    if isinstance(starter, TableUpdate):
        return starter, Trigger.TABLE
    return starter, Trigger.CONTINUOUS


def _held(job: Job) -> bool:
    """Whether the job file pauses what makes the job due."""
    status = job.schedule.pause_status if job.schedule else (job.trigger or job.continuous).get("pause_status")
    return status == "PAUSED"


def _first_state(job: Job, now: int) -> Any:
    """Return what a trigger remembers at first: an interval counts from the moment it was first seen."""
    return {"anchor": now} if "periodic" in job.trigger else None
