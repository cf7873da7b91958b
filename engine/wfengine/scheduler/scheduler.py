"""The loop's one step: what is due becomes rows of the ledger, and runs as far as their jobs' limits allow."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from msgspec.structs import replace

from wfengine import values
from wfengine.clock import Clock
from wfengine.failpoints import failpoint
from wfengine.jobs import Job
from wfengine.runs import JobRun
from wfengine.schedule import Due
from wfengine.scheduler import looks, timers
from wfengine.scheduler.timers import Timer, Triggers
from wfengine.scheduler.watch import ClockWatch
from wfengine.states import Trigger
from wfengine.store import Lead, LedgerTx, Queue, Store

#: Jobs whose ticks are stored in one transaction; other writers get their turn after it.
BATCH = 200
#: Milliseconds that a run may wait for a place among the runs of its job.
QUEUE_MS = 48 * 3600 * 1000


class Turn(NamedTuple):
    """What one step did."""

    #: Epoch milliseconds at which the next one has something to do; None when nothing is due ever.
    next_due: int | None
    #: Runs made, whether they may start, wait for a place or were skipped.
    created: tuple[int, ...] = ()
    #: Runs that have waited and may start now.
    promoted: tuple[int, ...] = ()


class Scheduler:
    """Keeps the timers of all loaded jobs; used by one thread, and by one process of a home at a time."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        subscribers: Sequence[str],
        lead: Lead,
        *,
        triggers: Triggers = lambda job: None,
        steady: Callable[[], float] | None = None,
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        """``lead`` fences what is written here; ``triggers`` reads what starts a job beside a schedule.

        ``steady`` gives seconds that never go back, by which a change of the wall clock is noticed; by default the
        clock's monotonic ones. ``committed`` is called when events were stored and wait to be delivered.
        """
        self._store, self._clock, self._subscribers, self._lead = store, clock, tuple(subscribers), lead
        self._triggers, self._committed = triggers, committed
        self._watch = ClockWatch(steady or clock.monotonic)
        self._timers: dict[str, Timer] = {}
        self._heap: list[tuple[int, str]] = []
        #: The newest cursor of all jobs.
        self._newest = 0
        #: Why nothing is started by schedule, as a sentence; empty when all is well.
        self.alarm = ""

    # -- jobs ---------------------------------------------------------------------------------------------------

    def load(self, jobs: Mapping[str, Job]) -> None:
        """Take these jobs, by name, as all there are.

        New ones, and those whose timing was edited, count from now on; the others go on where they were, so that what
        was missed is caught up with. Jobs that are gone are forgotten, their ticks and runs stay.
        """
        now = self._clock.now_ms()
        known = {timing.job_name: timing for timing in self._store.timings()}
        made: dict[str, Timer] = {}
        with self._leading() as tx:
            ids = tx.job_ids(jobs)
            kept = []
            for name, job in jobs.items():
                old = self._timers.get(name)
                if old is not None and old.job is job and name in known:
                    made[name] = old
                    continue
                timing = timers.timing_of(job, ids[name], known.get(name), now)
                made[name] = timers.timer(job, timing, self._triggers, now)
                timing = replace(timing, error=made[name].error)
                if timing != known.get(name):
                    kept.append(timing)
            tx.keep(kept)
            tx.forget(timing.job_id for name, timing in known.items() if name not in jobs)
        self._timers = made
        self._newest = max([self._newest, *(timing.cursor for timing in known.values())])
        self._heap = [(timer.at, name) for name, timer in made.items() if timer.at is not None]
        heapq.heapify(self._heap)

    def next_due(self, name: str) -> int | None:
        """Return when a job is looked at next, in epoch milliseconds; None when never, or when it is not loaded."""
        timer = self._timers.get(name)
        return timer.at if timer else None

    def ended(self, name: str) -> None:
        """Say that a run of the job has ended, so that what follows its runs looks at once."""
        timer = self._timers.get(name)
        if timer is not None and timer.source is not None and not isinstance(timer.source, Due):
            self._put(timer, self._clock.now_ms())

    # -- the step -----------------------------------------------------------------------------------------------

    def tick(self) -> Turn:
        """Store all that is due now and give places to runs that wait for one.

        Raises StateError when it cannot be stored; nothing is lost then, the next call does it. FencedError when
        another process leads.
        """
        now = self._clock.now_ms()
        self.alarm = self._watch.look(now, self._newest)
        promoted = self._promote(now)
        created: list[int] = []
        while not self.alarm and (batch := self._take(now)):
            created += self._turn(batch, now)
        return Turn(None if self.alarm else self._next(), tuple(created), tuple(promoted))

    def resume_after_jump(self) -> None:
        """Believe the clock: after a leap forward the policies decide what is caught up with.

        After a leap back all jobs count from now on; an instant that has a row in the ledger does not run again.
        """
        now = self._clock.now_ms()
        with self._leading() as tx:
            tx.set_back(now)
        self._watch.accept()
        self.alarm = ""
        self._newest = min(self._newest, now)
        for timer in self._timers.values():
            if isinstance(timer.source, Due) and timer.at is not None:
                self._put(timer, min(timer.at, now))

    def cancel(self, run_id: int) -> bool:
        """Cancel a run of the daemon that has not begun; False when it has begun, so that others must stop it."""
        with self._leading() as tx:
            return tx.cancel(run_id, "cancelled before it began")

    def _take(self, now: int) -> list[tuple[int, Timer]]:
        """Take at most a batch of timers whose time has come off the heap, each with that time."""
        batch: list[tuple[int, Timer]] = []
        while len(batch) < BATCH and (at := self._next()) is not None and at <= now:
            timer = self._timers[heapq.heappop(self._heap)[1]]
            timer.at = None
            batch.append((at, timer))
        return batch

    def _next(self) -> int | None:
        while self._heap:
            at, name = self._heap[0]
            timer = self._timers.get(name)
            if timer is not None and timer.at == at:
                return at
            heapq.heappop(self._heap)  # it has been put elsewhere since
        return None

    def _put(self, timer: Timer, at: int | None) -> None:
        timer.at = at
        if at is not None:
            heapq.heappush(self._heap, (at, timer.job.name))

    def _turn(self, batch: list[tuple[int, Timer]], now: int) -> list[int]:
        """Look at these timers and store what came of it in one transaction; return the runs made."""
        looked: list[looks.Looked] = []
        try:
            found = [looks.at_world(self._store, timer, now) for _, timer in batch]
            with self._leading() as tx:
                for (_, timer), look in zip(batch, found, strict=True):
                    looked.append(looks.store_look(tx, timer, look, now))
                failpoint("tick.before_commit")
            failpoint("tick.after_commit")
        except BaseException:
            for at, timer in batch:
                self._put(timer, at)
            raise
        self._newest = max(self._newest, now)
        for (_, timer), result in zip(batch, looked, strict=True):
            timer.state, timer.error = result.state, result.error
            self._put(timer, result.at)
        return [run_id for result in looked for run_id in result.runs]

    # -- the queues ---------------------------------------------------------------------------------------------

    def _promote(self, now: int) -> list[int]:
        """Give free places to the runs that have waited longest, and end those that have waited too long."""
        if not any(self._room(queue) > 0 or self._overdue(queue.queued_at, now) for queue in self._store.queues()):
            return []
        promoted: list[int] = []
        with self._leading() as tx:
            for queue in tx.queues():
                promoted += self._serve(tx, queue, now)
        return promoted

    @contextmanager
    def _leading(self) -> Iterator[LedgerTx]:
        with self._store.leading(self._lead, self._subscribers) as tx:
            yield tx
        if tx.told:
            self._committed()

    def _serve(self, tx: LedgerTx, queue: Queue, now: int) -> list[int]:
        promoted: list[int] = []
        room = self._room(queue)
        for run_id, queued_at in tx.queued(queue.job_id, BATCH):
            if self._overdue(queued_at, now):
                tx.expire(run_id, f"waited {QUEUE_MS // 3_600_000} hours for a place among the runs of its job")
            elif len(promoted) < room:
                tx.promote(run_id)
                promoted.append(run_id)
            else:
                break
        return promoted

    def _room(self, queue: Queue) -> int:
        timer = self._timers.get(queue.job_name)
        job = timer.job if timer else self._store.snapshot(queue.run_id)[0]
        return job.max_concurrent_runs - queue.active

    def _overdue(self, queued_at: int, now: int) -> bool:
        # A clock that is not believed ends nothing.
        return not self.alarm and now - queued_at > QUEUE_MS


def trigger(
    store: Store,
    job: Job,
    given: Mapping[str, str],
    *,
    now: int,
    kind: Trigger = Trigger.ONE_TIME,
    idempotency_token: str | None = None,
    allowed: Sequence[str] = (),
    subscribers: Sequence[str] = (),
) -> tuple[JobRun, bool]:
    """Ask for a run of the job by the daemon, with parameters as ``given``; any process may.

    The job's limits hold as for scheduled runs: the run is PENDING, QUEUED or SKIPPED. The second value is False when
    the token was used before and the run of that time is returned. Raises UsageError and BadReferenceError.
    """
    return store.create_run(
        job,
        parameters=values.parameters_by_ids(job, given, kind, trigger_time=now, start_time=now),
        trigger=kind,
        trigger_time=now,
        by="daemon",
        idempotency_token=idempotency_token,
        allowed=allowed,
        subscribers=subscribers,
    )
