"""A home with a scheduler whose clock the test sets."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wfengine.jobs import Job, Schedule, Task
from wfengine.runs import Tick
from wfengine.schedule import POLICIES
from wfengine.scheduler import Scheduler, Turn
from wfengine.states import LifeCycle, Result
from wfengine.store import Store

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
MINUTELY, HOURLY, DAILY = "0 * * * * ?", "0 0 * * * ?", "0 30 2 * * ?"


def at(text: str) -> int:
    """Epoch milliseconds of a UTC time written as ``2026-03-01 00:00``."""
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


START = at("2026-01-01 00:00")


class SetClock:
    """Stands still until it is told otherwise."""

    def __init__(self, wall: int = START) -> None:
        self.wall, self.steady = wall, 0

    def now_ms(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.steady / 1000

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.wall += ms
        self.steady += ms

    def leap(self, ms: int) -> None:
        """Set the wall clock, as a person or a time server does."""
        self.wall += ms


def job(
    name: str = "daily", expression: str = MINUTELY, *, zone: str = "UTC", catch_up: str = "latest", **more: Any
) -> Job:
    """A job of one task that is due by a Quartz expression."""
    given = more.pop("schedule", Schedule(quartz_cron_expression=expression, timezone_id=zone, catch_up=catch_up))
    tasks = (Task(task_key="t", kind="shell", config={"command": ["true"]}),)
    return Job(name=name, tasks=tasks, path=f"/conf/{name}.yml", schedule=given, **more)


def crowd() -> list[Job]:
    """Jobs of all policies and several schedules."""
    return [
        job(f"{policy}{n}", expression, catch_up=policy, max_concurrent_runs=1_000_000)
        for policy in POLICIES
        for n, expression in enumerate((MINUTELY, "0/30 * * * * ?", "10 0/5 * * * ?"))
    ]


class World:
    """One home and the process that schedules for it, which can be started again."""

    def __init__(self, home: Path, clock: SetClock | None = None, **given: Any) -> None:
        self.clock = clock or SetClock()
        self.store = Store.open(home, self.clock, wait=5.0)
        self._given = given
        self.jobs: tuple[Job, ...] = ()
        self.scheduler = self._start()

    def _start(self) -> Scheduler:
        return Scheduler(self.store, self.clock, (), self.store.lead("daemon"), **self._given)

    def load(self, *jobs: Job) -> None:
        self.jobs = jobs
        self.scheduler.load({job.name: job for job in jobs})

    def restart(self, after: int = 0) -> None:
        """Be away for ``after`` milliseconds."""
        self.clock.advance(after)
        self.scheduler = self._start()
        self.load(*self.jobs)

    def tick(self, after: int = 0) -> Turn:
        self.clock.advance(after)
        return self.scheduler.tick()

    def ticks(self, job: str | None = None) -> list[Tick]:
        """The ledger, oldest first."""
        return self.store.ticks(job, limit=1_000_000)[::-1]

    def told(self, job: str | None = None) -> list[tuple[str, int, int]]:
        """Outcome, first instant and number of instants of each row."""
        return [(str(tick.outcome), tick.due, tick.count) for tick in self.ticks(job)]

    def end(self, run_id: int) -> None:
        """Execute a run in no time."""
        lock = self.store.own(run_id)
        assert lock is not None
        with lock, self.store.transaction(lock) as tx:
            tx.run(LifeCycle.PENDING, state=LifeCycle.RUNNING, start_time=self.clock.wall)
            tx.run(LifeCycle.RUNNING, state=LifeCycle.TERMINATED, result=Result.SUCCESS, end_time=self.clock.wall)

    def end_all(self) -> None:
        for run_id in self.store.waiting(1000):
            self.end(run_id)

    def state(self, run_id: int) -> str:
        return str(self.store.run(run_id).state)

    def close(self) -> None:
        self.store.close()
