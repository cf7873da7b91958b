"""The ledger of ticks: what became of every instant at which a job was due, written by the one daemon that leads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from wfengine.events import RunEnded, TickMissed
from wfengine.runs import Tick
from wfengine.states import LifeCycle, Result, TickOutcome
from wfengine.store import newrun
from wfengine.store.database import Database, Row
from wfengine.store.newrun import NewRun
from wfengine.store.rows import decode_any, encode
from wfengine.store.transaction import Tx

_OUTCOMES = {
    LifeCycle.PENDING: TickOutcome.RUN,
    LifeCycle.QUEUED: TickOutcome.QUEUED,
    LifeCycle.SKIPPED: TickOutcome.SKIPPED,
}


class Lead(msgspec.Struct, frozen=True):
    """The right to write as the one leader in something, until another process takes it."""

    name: str
    epoch: int


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """A loaded job as the ledger knows it."""

    job_id: int
    job_name: str
    file: str
    #: Fingerprint of all that makes the job due.
    timing: str
    #: Epoch milliseconds of the last instant that was considered.
    cursor: int
    #: Whether its file pauses it.
    held: bool = False
    #: What a trigger that looks at the world remembers, as JSON values.
    state: Any = None
    error: str = ""
    #: Whether a person has paused it.
    paused: bool = False


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one job that wait for a place."""

    job_id: int
    job_name: str
    #: The run that has waited longest, and since when (epoch milliseconds).
    run_id: int
    queued_at: int
    #: Runs of the job that hold a place.
    active: int


class LedgerTx:
    """An open transaction of the leader; everything in it is committed together."""

    def __init__(self, database: Database, now: int, subscribers: Sequence[str]) -> None:
        self._database = database
        self._now = now
        self._subscribers = subscribers
        #: Whether events were stored, which somebody should deliver after the commit.
        self.told = False

    def job_ids(self, names: Iterable[str]) -> dict[str, int]:
        """Return the ids of these jobs; new names get one."""
        wanted = set(names)
        known = {row["name"]: row["job_id"] for row in self._database.rows("job_names") if row["name"] in wanted}
        fresh = sorted(wanted - known.keys())
        if fresh:
            self._database.change_many("add_job", [{"name": name} for name in fresh])
            return self.job_ids(wanted)
        return known

    def keep(self, timings: Iterable[Timing]) -> None:
        """Store loaded jobs as given, all but the pause, which is a person's."""
        self._database.change_many(
            "keep_timing",
            [
                {
                    "job_id": timing.job_id,
                    "file": timing.file,
                    "timing": timing.timing,
                    "cursor": timing.cursor,
                    "held": timing.held,
                    "state": _state(timing.state),
                    "error": timing.error or None,
                }
                for timing in timings
            ],
        )

    def forget(self, job_ids: Iterable[int]) -> None:
        """Drop jobs that are no longer loaded; their ticks and runs stay."""
        self._database.change_many("forget_timing", [{"job_id": job_id} for job_id in job_ids])

    def position(self, job_id: int) -> tuple[int, bool] | None:
        """Return the cursor of a loaded job and whether a person has paused it; None when it is not loaded."""
        row = self._database.row("position", job_id=job_id)
        return (row["cursor"], bool(row["paused"])) if row else None

    def move(self, job_id: int, cursor: int, *, state: Any = None, error: str = "") -> None:
        """Set what is known of a job after a look at it; the cursor stays where it is rather than go back."""
        self._database.change("move_cursor", job_id=job_id, cursor=cursor, state=_state(state), error=error or None)

    def set_back(self, cursor: int) -> None:
        """Set all cursors that are beyond ``cursor`` back to it: the clock was wrong and a person has said so."""
        self._database.change("set_back", cursor=cursor)

    def ticked(self, job_id: int, due: int) -> bool:
        """Whether the ledger has a row for this very instant."""
        return self._database.row("tick_at", job_id=job_id, due=due) is not None

    def run(self, job_id: int, new: NewRun, reason: str = "") -> int:
        """Make the run of the tick ``new.trigger_time`` with its row, as far as the job's limits allow."""
        place = newrun.place(self._database, new.job, job_id)
        run_id = newrun.add_run(self._database, new, job_id, place, self._now, self._subscribers)
        self.told = True
        self._record(
            job_id, new.trigger_time, outcome=_OUTCOMES[place.state], reason=place.reason or reason, run=run_id
        )
        return run_id

    def missed(self, job_id: int, job_name: str, due: int, reason: str, *, through: int, count: int) -> None:
        """Record ticks that have no run, and tell of them."""
        self._record(job_id, due, through=through, count=count, outcome=TickOutcome.MISSED, reason=reason)
        event = TickMissed(
            time=self._now,
            job_id=job_id,
            job_name=job_name,
            due=due,
            through=through,
            count=count,
            reason=reason,
        )
        Tx(self._database, -job_id, self._subscribers).event(event)
        self.told = True

    def queues(self) -> list[Queue]:
        """Return the jobs that have runs waiting for a place, the longest waiting first."""
        return queues(self._database)

    def queued(self, job_id: int, limit: int) -> list[tuple[int, int]]:
        """Return the runs of a job that wait for a place, oldest first, and since when each does."""
        rows = self._database.rows("queued_runs", job_id=job_id, limit=limit)
        return [(row["run_id"], row["queued_at"]) for row in rows]

    def promote(self, run_id: int) -> None:
        """Give a waiting run its place."""
        self._database.change("promote_run", run_id=run_id)

    def expire(self, run_id: int, message: str) -> None:
        """End a run that has waited too long; its attempts, none of which began, are dropped."""
        self._database.change("drop_waiting", run_id=run_id)
        self._end(run_id, LifeCycle.QUEUED, LifeCycle.SKIPPED, Result.MAXIMUM_CONCURRENT_RUNS_REACHED, message)

    def cancel(self, run_id: int, message: str) -> bool:
        """Cancel a run of the daemon that has not begun; False when it has, or has ended."""
        row = self._database.row("not_begun", run_id=run_id)
        if row is None:
            return False
        self._database.change("cancel_attempts", run_id=run_id, message=message, now=self._now)
        self._end(run_id, LifeCycle(row["state"]), LifeCycle.TERMINATED, Result.CANCELED, message)
        return True

    def _end(self, run_id: int, expect: LifeCycle, state: LifeCycle, result: Result, message: str) -> None:
        tx = Tx(self._database, run_id, self._subscribers)
        tx.run(expect, state=state, result=result, message=message, end_time=self._now)
        row = self._database.row("run", run_id=run_id)
        job_id, name = (row["job_id"], row["job_name"]) if row else (0, "")
        event = RunEnded(time=self._now, run_id=run_id, job_id=job_id, job_name=name, result=result, message=message)
        tx.event(event)
        self.told = True

    def _record(
        self,
        job_id: int,
        due: int,
        *,
        outcome: TickOutcome,
        reason: str,
        through: int | None = None,
        count: int = 1,
        run: int | None = None,
    ) -> None:
        ranged = count > 1
        self._database.change(
            "add_tick",
            job_id=job_id,
            due=due,
            through=through if ranged else None,
            count=count if ranged else None,
            outcome=outcome.value,
            reason=reason or None,
            run_id=run,
            now=self._now,
        )


def _state(state: Any) -> str | None:
    return None if state is None else encode(state)


def to_tick(row: Row) -> Tick:
    """Read a row of the ledger."""
    return Tick(
        job_id=row["job_id"],
        job_name=row["job_name"],
        due=row["due"],
        through=row["due"] if row["through"] is None else row["through"],
        count=row["count"] or 1,
        outcome=TickOutcome(row["outcome"]),
        reason=row["reason"] or "",
        run_id=row["run_id"],
        recorded_at=row["recorded_at"],
    )


def to_timing(row: Row) -> Timing:
    """Read what is known of a loaded job."""
    return Timing(
        job_id=row["job_id"],
        job_name=row["job_name"],
        file=row["file"],
        timing=row["timing"],
        cursor=row["cursor"],
        held=bool(row["held"]),
        state=decode_any(row["state"]),
        error=row["error"] or "",
        paused=bool(row["paused"]),
    )


def queues(database: Database) -> list[Queue]:
    """Return the jobs that have runs waiting for a place, the longest waiting first."""
    return [Queue(**{name: row[name] for name in Queue.__struct_fields__}) for row in database.rows("queues")]
