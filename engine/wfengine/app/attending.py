"""What a process does for a run beside executing it: hears what others ask of it, and waits for its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wfengine import control, log
from wfengine.clock import Clock
from wfengine.errors import StateError
from wfengine.events import RunEnded
from wfengine.home import run_folder
from wfengine.jobs import Job
from wfengine.runs import JobRun
from wfengine.scheduler.scheduler import QUEUE_MS
from wfengine.states import LifeCycle, Result
from wfengine.store import Request, RunLock, Store

#: Seconds between two looks for a place among the runs of a job.
LOOK_SECONDS = 1.0


class Attendant:
    """Takes from the store what other processes ask of one run, whenever they knock at the door of its folder."""

    def __init__(self, store: Store, run_id: int, hear: Callable[[Request], None]) -> None:
        """``hear`` is called on a thread of this attendant's own."""
        self._store, self._run_id, self._hear = store.another(), run_id, hear
        folder = run_folder(store.home, run_id)
        self._door = control.Door(folder, self._look, control.RUN_DOOR)
        # For what was asked before there was a door.
        control.knock(folder, control.RUN_DOOR)

    def close(self) -> None:
        """Hear no more."""
        self._door.close()
        self._store.close()

    def _look(self) -> None:
        try:
            for request in self._store.take_requests(self._run_id):
                self._hear(request)
        except StateError as error:
            log.get(run_id=self._run_id).warning("cannot see what was asked of the run", error=str(error))


class Waiter:
    """A run that waits in this process for a place among the runs of its job."""

    def __init__(
        self, store: Store, lock: RunLock, job: Job, run: JobRun, clock: Clock, subscribers: Sequence[str]
    ) -> None:
        self._store, self._lock, self._job, self._run = store, lock, job, run
        self._clock, self._subscribers = clock, subscribers
        self._since = clock.now_ms()

    def look(self) -> LifeCycle:
        """Return the state of the run: QUEUED as long as there is no place, ended when it has waited too long."""
        if self._clock.now_ms() - self._since > QUEUE_MS:
            self._give_up()
        if control.daemon_alive(self._store.home):
            # It gives all places of the home, first come, first served.
            return self._store.run(self._lock.run_id).state
        return self._store.claim_place(self._lock.run_id, self._job.max_concurrent_runs)

    def _give_up(self) -> None:
        now, run = self._clock.now_ms(), self._run
        result = Result.MAXIMUM_CONCURRENT_RUNS_REACHED
        message = f"waited {QUEUE_MS // 3_600_000} hours for a place among the runs of its job"
        with self._store.transaction(self._lock, self._subscribers) as tx:
            tx.drop_waiting()
            tx.run(LifeCycle.QUEUED, state=LifeCycle.SKIPPED, result=result, message=message, end_time=now)
            tx.event(
                RunEnded(
                    time=now,
                    run_id=run.run_id,
                    job_id=run.job_id,
                    job_name=run.job_name,
                    result=result,
                    message=message,
                )
            )
