"""A home, a scheduler and a fleet as the daemon has them, whose time is moved instead of waited for."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from wfengine import arrivals, scheduler
from wfengine.arrivals import Continuous, Interval
from wfengine.errors import UsageError, did_you_mean, listed, shown
from wfengine.fleet import Fleet
from wfengine.jobs import Job
from wfengine.layer import Layer
from wfengine.runs import JobRun, Tick
from wfengine.scheduler import Scheduler
from wfengine.scheduler.scheduler import QUEUE_MS
from wfengine.settings import Settings
from wfengine.simulation.executor import SimulatedExecutor, VirtualClock
from wfengine.simulation.script import Script
from wfengine.store import Store

#: Turns without a step of time after which it will never come.
STANDSTILL = 10_000


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulation begins with."""

    jobs: Mapping[str, Job]
    layers: Mapping[str, type[Layer[Any]]]
    settings: Settings
    #: Epoch milliseconds; what is due at this very instant is due.
    start: int
    script: Script
    #: Tasks that may run at the same time in all jobs; None for no limit.
    max_tasks: int | None = None


class NoSpark:
    """Gives no Spark server, because attempts in thought need none."""

    def acquire(self) -> None:
        """Give none."""


class Simulation:
    """Jobs on their way through time: what decides and stores is the daemon's own code, only time and attempts are not.

    What ends at an instant has ended before anything that is due at it is looked at.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._stack = ExitStack()
        home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="wfengine-simulation-")))
        self._clock = VirtualClock(scene.start - 1)
        self._store = self._stack.enter_context(Store.open(home, self._clock, alone=True))
        self._executor = SimulatedExecutor(self._clock, scene.script)
        self._fleet = Fleet(
            store=self._store,
            settings=msgspec.structs.replace(scene.settings, home=home, max_tasks=scene.max_tasks or sys.maxsize),
            layers=lambda: scene.layers,
            subscribers=(),
            executor=self._executor,
            spark=NoSpark(),
            clock=self._clock,
            committed=lambda told: None,
            find=self._find,
            by="daemon",
        )
        self._stack.callback(self._fleet.close)
        self._scheduler = Scheduler(self._store, self._clock, (), self._store.lead("daemon"), triggers=self._trigger)
        # Schedules count from just before the start, so that it is one of their ticks; everything else from the start.
        self._scheduler.load({name: job for name, job in scene.jobs.items() if job.schedule})
        self._clock.move(scene.start)
        self._scheduler.load(scene.jobs)
        self._asked = False
        self._still = 0

    def _find(self, job: Job, name: str) -> Job:
        """Find the job of a run_job task among those of the scene."""
        named = [other for other in self.scene.jobs.values() if name in (other.key, other.name)]
        if not named:
            raise UsageError(f"run_job_task: the scene has no job {shown(name)!r}")
        return named[0]

    def close(self) -> None:
        """Throw the home away."""
        self._stack.close()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def now(self) -> int:
        """The time there, in epoch milliseconds."""
        return self._clock.now_ms()

    def advance(self, until: int) -> None:
        """Let everything happen that happens before ``until`` (epoch milliseconds), and let it be that time."""
        with self._store.grouped():
            while self.now < until:
                at = self._turn()
                self._move(until if at is None else min(at, until))

    def run(self, job_name: str, parameters: Mapping[str, str]) -> JobRun:
        """Start a run by hand and let time pass until it has ended; what is due meanwhile happens as well.

        The job's limits hold, so the run may be skipped. Raises UsageError for unknown names.
        """
        with self._store.grouped():
            job = self.scene.jobs[self._known(job_name)]
            run, _ = scheduler.trigger(self._store, job, parameters, now=self.now)
            self._asked = True
            while run.run_id in self._store.unfinished():
                at = self._turn()
                if run.run_id not in self._store.unfinished():
                    break
                if at is None:
                    raise UsageError(f"run {run.number_in_job} of {shown(job_name)!r} never ends in this simulation")
                self._move(at)
        return self._store.run(run.run_id)

    def ticks(self, job_name: str | None = None) -> list[Tick]:
        """Return what became of every instant at which a job was due, oldest first; UsageError for an unknown job."""
        return self._store.ticks(job_name and self._known(job_name), limit=sys.maxsize)[::-1]

    def runs(self, job_name: str | None = None) -> list[JobRun]:
        """Return all runs, oldest first, of one job when its name is given; UsageError for an unknown job."""
        return self._store.runs(limit=sys.maxsize, job=job_name and self._known(job_name))[::-1]

    def errors(self) -> dict[str, str]:
        """Say for each job that cannot be scheduled why, by its name."""
        return {row.name: row.error for row in self._store.jobs() if row.error}

    def _turn(self) -> int | None:
        """Do all there is to do now; return when there is something to do again, None for never."""
        for ended in self._fleet.turn(self._executor.poll(0)):
            self._scheduler.ended(ended.job_name)
        turn = self._scheduler.tick()
        if turn.created or turn.promoted or self._asked:
            self._asked = False
            for run_id in self._store.waiting(sys.maxsize):
                self._fleet.take_up(run_id)
        due = [at for at in (turn.next_due, self._executor.next_end()) if at is not None]
        # What waits too long for a place is ended then, which the daemon sees by looking every few seconds.
        due += [queue.queued_at + QUEUE_MS + 1 for queue in self._store.queues()]
        if (patience := self._fleet.patience()) is not None:
            # All is in whole milliseconds; what is beyond them comes from floating point alone.
            due.append(self.now + max(math.ceil(patience * 1000 - 0.01), patience > 0))
        return min(due, default=None)

    def _move(self, to: int) -> None:
        self._still = self._still + 1 if to <= self.now else 0
        if self._still > STANDSTILL:
            raise UsageError(
                "time stands still in this simulation: a task fails at once and is retried at once for ever"
            )
        self._clock.move(to)

    def _trigger(self, job: Job) -> arrivals.Trigger | None:
        """Return what starts a job without a schedule; nothing arrives in a simulation."""
        found = arrivals.parse(job, root=self.scene.settings.root, warehouse=self.scene.settings.warehouse)
        return found if isinstance(found, Interval | Continuous) else None

    def _known(self, job_name: str) -> str:
        if job_name not in self.scene.jobs:
            hint = did_you_mean(job_name, self.scene.jobs) or f"there are {listed(sorted(self.scene.jobs), 10)}"
            raise UsageError(f"there is no job {shown(job_name)!r} in this simulation ({hint})")
        return job_name
