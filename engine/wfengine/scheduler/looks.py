"""What a look at one job's timer comes to: rows of the ledger, runs, and when to look again."""

from __future__ import annotations

from typing import Any, NamedTuple

from wfengine import values
from wfengine.arrivals import Continuous, Look
from wfengine.errors import StateError, WfengineError
from wfengine.schedule import CatchUp, Due, MissedRange, catch_up
from wfengine.scheduler.timers import Timer
from wfengine.store import LedgerTx, NewRun, Store

#: Runs that catch_up ``all`` makes at most.
CATCH_UP_CAP = 100
#: Milliseconds by which a tick may be noticed late without counting as missed.
GRACE_MS = 30_000
#: Milliseconds between looks at a job that is at its limit, should nobody say that a run of it has ended.
AGAIN_MS = 5_000
#: Milliseconds until a continuous job whose run could not even be made is tried again.
FAILED_MS = 60_000
#: Newest runs of a continuous job that tell when it is due again.
REMEMBERED_RUNS = 12


class Looked(NamedTuple):
    """How a timer goes on once the transaction is committed."""

    #: Epoch milliseconds of the next look; None for never.
    at: int | None
    state: Any = None
    error: str = ""
    #: Runs that were made.
    runs: tuple[int, ...] = ()


def at_world(store: Store, timer: Timer, now: int) -> Look | None:
    """Look for what starts a job without a clock; None for a schedule. Takes no lock, for it may take its time."""
    source = timer.source
    if source is None or isinstance(source, Due):
        return None
    waits = Look(state=timer.state, reason="at its limit of concurrent runs", next_look=now + AGAIN_MS)
    if isinstance(source, Continuous):
        at = source.next_start(store.runs(limit=REMEMBERED_RUNS, job=timer.job.name), now)
        if at is None or at > now:
            return Look(state=None, reason="", next_look=now + AGAIN_MS if at is None else at)
        return Look(due=now, state=None, reason="the last run has ended", next_look=now + AGAIN_MS)
    # What arrives meanwhile is found once there is room, by one look.
    return waits if store.active(timer.job_id) >= timer.job.max_concurrent_runs else source.look(timer.state, now)


def store_look(tx: LedgerTx, timer: Timer, found: Look | None, now: int) -> Looked:
    """Store what is due of a job; ``found`` is what `at_world` returned."""
    position = tx.position(timer.job_id)
    if position is None or timer.source is None:
        return Looked(None, timer.state, timer.error)
    cursor, paused = position
    if found is not None:
        return Looked(found.next_look, timer.state, timer.error) if paused else _arrived(tx, timer, found, now)
    assert isinstance(timer.source, Due)  # noqa: S101 - for the type checker: everything else was looked at
    at = timer.source.next_after(cursor)
    if paused:
        at = timer.source.next_after(max(cursor, now))
    if at is None or at > now:
        return Looked(at, timer.state, timer.error)
    return _scheduled(tx, timer, timer.source, cursor, now, at)


def _scheduled(tx: LedgerTx, timer: Timer, due: Due, cursor: int, now: int, first: int) -> Looked:
    at = due.next_after(first)
    plan = CatchUp(run=(first,))
    # Almost always one tick is due; only more of them, or a policy that asks how late it is, need counting.
    if timer.policy == "none" or (at is not None and at <= now):
        plan = catch_up(timer.policy, due, cursor, now, cap=CATCH_UP_CAP, grace=GRACE_MS)
        at = due.next_after(now)
    if plan.missed is not None:
        _miss(tx, timer, due, plan.missed)
    runs, error = [], ""
    for tick in plan.run:
        if tx.ticked(timer.job_id, tick):
            continue
        run_id, error = _make(tx, timer, tick, "caught up" if now - tick > GRACE_MS else "", now)
        runs += [run_id] if run_id else []
    tx.move(timer.job_id, now, state=timer.state, error=error)
    return Looked(at, timer.state, error, tuple(runs))


def _miss(tx: LedgerTx, timer: Timer, due: Due, missed: MissedRange) -> None:
    """Record a range of missed ticks, beginning with the first that has no row: the clock may have been set back."""
    first: int | None
    first, count = missed.first, missed.count
    while first is not None and count and tx.ticked(timer.job_id, first):
        first, count = due.next_after(first), count - 1
    if first is not None and count:
        reason = f"nobody looked in time; catch_up is {timer.policy}"
        tx.missed(timer.job_id, timer.job.name, first, reason, through=missed.last, count=count)


def _arrived(tx: LedgerTx, timer: Timer, found: Look, now: int) -> Looked:
    error, at = found.reason if found.fault else "", found.next_look
    if found.due is None:
        if found.state is not timer.state or error != timer.error:
            tx.move(timer.job_id, 0, state=found.state, error=error)
        return Looked(at, found.state, error)
    tick = found.due
    while tx.ticked(timer.job_id, tick):
        tick += 1  # the clock was set back
    run_id, error = _make(tx, timer, tick, found.reason, now)
    if run_id is None and isinstance(timer.source, Continuous):
        at = now + FAILED_MS
    tx.move(timer.job_id, tick, state=found.state, error=error)
    return Looked(at, found.state, error, (run_id,) if run_id else ())


def _make(tx: LedgerTx, timer: Timer, tick: int, reason: str, now: int) -> tuple[int | None, str]:
    """Make the run of a tick; when it cannot be made the tick is missed and the error is returned."""
    job = timer.job
    parameters = values.parameters_by_ids(job, {}, timer.kind, trigger_time=tick, start_time=now)
    new = NewRun(job=job, parameters=parameters, trigger=timer.kind, trigger_time=tick, by="daemon")
    try:
        return tx.run(timer.job_id, new, reason), ""
    except StateError:
        raise
    except WfengineError as error:
        tx.missed(timer.job_id, job.name, tick, str(error), through=tick, count=1)
        return None, str(error)
