"""Executes runs side by side: one executor, one count of slots and one Spark server for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wfengine import events, home, log
from wfengine.children import Births
from wfengine.clock import Clock
from wfengine.errors import TaskFailed, WfengineError
from wfengine.executor import Executor, Launch, Report
from wfengine.jobs import Job
from wfengine.launching import Means, Slots, SparkEngines
from wfengine.layer import Layer
from wfengine.nesting import Find
from wfengine.runner import Runner
from wfengine.runs import JobRun
from wfengine.settings import Settings
from wfengine.states import LifeCycle, Result
from wfengine.store import Executor as ExecutedBy
from wfengine.store import Request, RunLock, Store

#: How soon a run is looked at again whose end could not be stored because the disk was full, or that waits for a place.
AGAIN_SECONDS = 1.0


def no_other_job(job: Job, name: str) -> Job:
    """Find no job: for runs whose jobs start no others."""
    raise TaskFailed(f"run_job_task: no job {name!r} can be found from here")


class Ended(NamedTuple):
    """A run that has reached its end."""

    run_id: int
    job_name: str
    result: Result


class _Routed:
    """The shared executor as one run sees it: remembers whose attempts it starts."""

    def __init__(self, executor: Executor, owners: dict[int, int], run_id: int) -> None:
        self._executor, self._owners, self._run_id = executor, owners, run_id

    def start(self, launch: Launch) -> None:
        self._owners[launch.id] = self._run_id
        self._executor.start(launch)

    def stop(self, id: int, grace: float) -> None:  # noqa: A002
        self._executor.stop(id, grace)

    def kill(self, id: int) -> None:  # noqa: A002
        self._executor.kill(id)

    def poll(self, timeout: float | None) -> list[Report]:
        return []

    def wake(self) -> None:
        self._executor.wake()

    def close(self) -> None:
        """The executor is closed by whoever shares it out."""


class _Children:
    """The runs of run_job tasks, as one of the runs that start them sees them."""

    def __init__(self, fleet: Fleet, births: Births, by: ExecutedBy) -> None:
        self._fleet, self._births, self._by = fleet, births, by

    def start(self, parent: JobRun, job: Job, task_run_id: int, config: Mapping[str, Any]) -> int:
        run_id, lock = self._births.run_of(parent, job, task_run_id, config, self._by)
        self._fleet.adopt(run_id, parent.run_id, lock)
        return run_id

    def cancel(self, run_id: int) -> None:
        self._fleet.cancel(run_id)


class _Member(NamedTuple):
    runner: Runner
    lock: RunLock
    job_name: str
    #: Of the job file.
    folder: Path


class Fleet:
    """The runs that this process executes; used by one thread, but for ``wake``."""

    def __init__(
        self,
        *,
        store: Store,
        settings: Settings,
        layers: Callable[[], Mapping[str, type[Layer[Any]]]],
        subscribers: Sequence[str],
        executor: Executor,
        spark: SparkEngines,
        clock: Clock,
        committed: Callable[[list[events.AnyEvent]], None],
        progressed: Callable[[int, str, dict[str, Any]], None] = lambda run_id, key, message: None,
        find: Find = no_other_job,
        by: ExecutedBy = "here",
    ) -> None:
        """``progressed`` is told the run, the task and the message of what an attempt reports while it runs.

        ``find`` finds the jobs of run_job tasks, and ``by`` is who executes their runs.
        """
        self._store, self._settings, self._layers, self._subscribers = store, settings, layers, subscribers
        self._executor, self._spark, self._clock, self._committed = executor, spark, clock, committed
        self._slots = Slots(settings.max_tasks)
        self._members: dict[int, _Member] = {}
        self._owners: dict[int, int] = {}
        self._progressed, self._by = progressed, by
        self._children = _Children(self, Births(store, clock, subscribers, find), by)
        #: The runs whose run_job tasks wait for other runs, by those.
        self._parents: dict[int, int] = {}
        #: Those that are owned and not executed yet.
        self._locks: dict[int, RunLock] = {}
        #: Runs that were let go because they could not go on here, and why.
        self.let_go: dict[int, WfengineError] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, run_id: int) -> bool:
        return run_id in self._members

    @property
    def drained(self) -> bool:
        """Whether nothing is alive any more after ``hold`` or ``drain``."""
        return all(member.runner.drained for member in self._members.values())

    def take_up(self, run_id: int, *, cancelled: bool = False, lock: RunLock | None = None) -> bool:
        """Execute a stored run from where it stands, or end it as cancelled.

        False when another process has it, or when it was tried before and could not go on here.

        ``lock`` is given when this process owns the run already.
        """
        if run_id in self._members or run_id in self.let_go:
            return False
        lock = lock or self._locks.pop(run_id, None) or self._store.own(run_id)
        if lock is None:
            return False
        job, allowed = self._store.snapshot(run_id)
        run = self._store.run(run_id)
        means = Means(
            settings=self._settings,
            layers=self._layers(),
            executor=_Routed(self._executor, self._owners, run_id),
            slots=self._slots,
            spark=self._spark,
            clock=self._clock,
            transaction=lambda: self._store.transaction(lock, self._subscribers),
            committed=self._committed,
            progressed=partial(self._progressed, run_id),
            children=self._children,
            folder=home.run_folder(self._settings.home, run_id),
            allowed=allowed,
            environ={"WFENGINE_RUN_ID": str(run_id)},
        )
        member = self._members[run_id] = _Member(Runner(job, run, means), lock, job.name, Path(job.path).parent)
        if cancelled:
            member.runner.cancel()
        self._guarded(run_id, member, member.runner.begin)
        return True

    def cancel(self, run_id: int) -> bool:
        """Cancel a run that is executed here or waits for it; False when another process has it or it has ended."""
        member = self._members.get(run_id)
        if member is None:
            return not self._store.run(run_id).state.ended and self.take_up(run_id, cancelled=True)
        member.runner.cancel()
        return True

    @property
    def folders(self) -> list[Path]:
        """The folders of the job files whose runs are executed here."""
        return sorted({member.folder for member in self._members.values()})

    @property
    def run_ids(self) -> set[int]:
        """The runs that are executed here."""
        return set(self._members)

    def ask(self, request: Request) -> None:
        """Do what another process asks of a run that is executed here."""
        if request.kind == "cancel" and request.run_id in self._members:
            if request.task_key is None:
                self.cancel(request.run_id)
            else:
                self.cancel_task(request.run_id, request.task_key)

    def cancel_task(self, run_id: int, key: str) -> None:
        """Cancel one task of a run that is executed here; the run goes on."""
        if member := self._members.get(run_id):
            member.runner.cancel_task(key)

    def adopt(self, run_id: int, parent: int, lock: RunLock | None) -> None:
        """Execute the run of a run_job task, once it has a place; the run ``parent`` is told when it has ended."""
        self._parents[run_id] = parent
        if lock is not None:
            self._locks[run_id] = lock
        if not self._store.run(run_id).state.ended:
            self._attend(run_id)

    def _attend(self, run_id: int) -> None:
        """Look after a run that others wait for and that is not executed here, or not yet."""
        run = self._store.run(run_id)
        state = run.state
        if run_id in self.let_go and not state.ended:
            self._tell_parent(run, f"cannot go on here: {self.let_go[run_id]}")
            return
        if state is LifeCycle.QUEUED and self._by == "here":
            state = self._store.claim_place(run_id, self._store.snapshot(run_id)[0].max_concurrent_runs)
        if state.ended:
            self._tell_parent(run)
        elif state is not LifeCycle.QUEUED:
            self.take_up(run_id)

    def _tell_parent(self, child: JobRun, trouble: str = "") -> None:
        parent = self._parents.pop(child.run_id, 0)
        if lock := self._locks.pop(child.run_id, None):
            lock.release()
        if member := self._members.get(parent):
            self._guarded(parent, member, partial(member.runner.child_ended, child, trouble))

    def hold(self) -> None:
        """Start nothing more; what runs may end."""
        for member in self._members.values():
            member.runner.hold()

    def drain(self, grace: float) -> None:
        """Stop what runs within ``grace`` seconds, to be repeated by the next process."""
        for run_id, member in list(self._members.items()):
            self._guarded(run_id, member, partial(member.runner.drain, grace))

    def patience(self) -> float | None:
        """Seconds until something is due without a report; None when nothing is."""
        due = [wait for member in self._members.values() if (wait := member.runner.patience()) is not None]
        over = [member.runner.stuck for member in self._members.values() if member.runner.over]
        if over:
            due.append(AGAIN_SECONDS if all(over) else 0.0)
        if not self._parents.keys() <= self._members.keys():
            due.append(AGAIN_SECONDS)
        return min(due, default=None)

    def turn(self, reports: Sequence[Report]) -> list[Ended]:
        """Take in what happened, go on with every run, and return those that have ended."""
        by_run: dict[int, list[Report]] = {}
        for report in reports:
            by_run.setdefault(self._owners.get(report.id, 0), []).append(report)
            if report.kind in ("ended", "lost"):
                self._owners.pop(report.id, None)
        # Whoever has the fewest tasks alive is asked first, so that no job takes all slots.
        for run_id, member in sorted(self._members.items(), key=lambda item: item[1].runner.live):
            mine = by_run.get(run_id, ())
            self._guarded(run_id, member, partial(member.runner.turn, mine))
        ended = [ended for run_id in list(self._members) if (ended := self._finished(run_id)) is not None]
        for run_id in [run_id for run_id in self._parents if run_id not in self._members]:
            self._attend(run_id)
        return ended

    def close(self) -> None:
        """Let go of every run; whatever still runs is killed with the executor."""
        for lock in [*(member.lock for member in self._members.values()), *self._locks.values()]:
            lock.release()
        self._members.clear()

    def _finished(self, run_id: int) -> Ended | None:
        member = self._members[run_id]
        if not member.runner.over:
            return None
        results: list[Result] = []

        def finish() -> None:
            result = member.runner.finish()
            if result is not None:
                results.append(result)

        self._guarded(run_id, member, finish)
        if not results:
            return None
        self._members.pop(run_id, None)
        member.lock.release()
        return Ended(run_id, member.job_name, results[0])

    def _guarded(self, run_id: int, member: _Member, step: Callable[[], None]) -> None:
        """Take a step of one run; a run that cannot go on here is let go and disturbs no other."""
        try:
            step()
        except WfengineError as error:
            log.get(run_id=run_id).error("let go of a run that cannot go on here", error=str(error))
            self.let_go[run_id] = error
            self._let_go(run_id, member)

    def _let_go(self, run_id: int, member: _Member) -> None:
        for attempt_id, owner in list(self._owners.items()):
            if owner == run_id:
                self._executor.kill(attempt_id)
        for _ in range(member.runner.live):
            self._slots.give()
        self._members.pop(run_id, None)
        member.lock.release()
