"""Executes runs side by side: one executor, one count of slots and one Spark server for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from wfengine import events, home, log
from wfengine.clock import Clock
from wfengine.errors import WfengineError
from wfengine.executor import Executor, Launch, Report
from wfengine.launching import Means, Slots, SparkEngines
from wfengine.layer import Layer
from wfengine.runner import Runner
from wfengine.settings import Settings
from wfengine.states import Result
from wfengine.store import RunLock, Store

#: How soon a run is looked at again whose end could not be stored because the disk was full.
AGAIN_SECONDS = 1.0


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


class _Member(NamedTuple):
    runner: Runner
    lock: RunLock
    job_name: str


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
    ) -> None:
        self._store, self._settings, self._layers, self._subscribers = store, settings, layers, subscribers
        self._executor, self._spark, self._clock, self._committed = executor, spark, clock, committed
        self._slots = Slots(settings.max_tasks)
        self._members: dict[int, _Member] = {}
        self._owners: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    @property
    def drained(self) -> bool:
        """Whether nothing is alive any more after ``hold`` or ``drain``."""
        return all(member.runner.drained for member in self._members.values())

    def take_up(self, run_id: int, *, cancelled: bool = False) -> bool:
        """Execute a stored run from where it stands, or end it as cancelled; False when another process has it."""
        if run_id in self._members:
            return False
        lock = self._store.own(run_id)
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
            progressed=lambda key, message: None,
            folder=home.run_folder(self._settings.home, run_id),
            allowed=allowed,
            environ={"WFENGINE_RUN_ID": str(run_id)},
        )
        member = self._members[run_id] = _Member(Runner(job, run, means), lock, job.name)
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
        if any(member.runner.over for member in self._members.values()):
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
        return [ended for run_id in list(self._members) if (ended := self._finished(run_id)) is not None]

    def close(self) -> None:
        """Let go of every run; whatever still runs is killed with the executor."""
        for member in self._members.values():
            member.lock.release()
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
            self._let_go(run_id, member)

    def _let_go(self, run_id: int, member: _Member) -> None:
        for attempt_id, owner in list(self._owners.items()):
            if owner == run_id:
                self._executor.kill(attempt_id)
        self._members.pop(run_id, None)
        member.lock.release()
