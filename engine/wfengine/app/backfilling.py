"""Backfill: one run of a job for each step of a range, some of them side by side, in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import msgspec

from wfengine import backfill, control, graph, home, values
from wfengine.app.attending import LOOK_SECONDS, Attendant, Waiter
from wfengine.app.base import DELIVERY_SECONDS, Origin
from wfengine.app.operating import named_folders
from wfengine.app.repairing import Repairing, reopening
from wfengine.errors import LockedError
from wfengine.executor import ProcessExecutor, sweep
from wfengine.fleet import Fleet
from wfengine.jobs import Job
from wfengine.repair import Asked
from wfengine.runs import JobRun
from wfengine.servers import SparkServers
from wfengine.settings import Settings
from wfengine.states import LifeCycle, Result, Trigger
from wfengine.store import Request, RunLock


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """How far one step of a backfill is."""

    #: Epoch milliseconds.
    at: int
    #: None when it was not reached.
    run_id: int | None = None
    state: LifeCycle = LifeCycle.BLOCKED
    result: Result | None = None
    message: str = ""
    #: Milliseconds that the run took, its repairs not counted.
    duration_ms: int | None = None
    #: Whether it was executed now; False when the run is one of an earlier time or of another process.
    executed: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether its run counts as a success."""
        return self.result in (Result.SUCCESS, Result.SUCCESS_WITH_FAILURES)


#: Told of each step when its run begins, and when it is done with.
Told = Callable[[Step], None]


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs a backfill has, and how they are executed."""

    #: Instants in epoch milliseconds.
    instants: range
    #: Runs at the same time.
    parallel: int = 1
    stop_on_failure: bool = False
    #: Whether steps that failed before are repaired; those that were interrupted are always.
    again: bool = False
    #: Name of the backfill, by which its runs are found again; empty to make one from what they have in common.
    name: str = ""


class _Going(NamedTuple):
    at: int
    attendant: Attendant
    #: Set as long as the run waits for a place.
    waiter: Waiter | None
    lock: RunLock


class Backfilling(Repairing):
    """Runs of a job for instants that have passed."""

    def backfill(
        self,
        path: str | Path,
        wanted: Range,
        parameters: Mapping[str, str] | None = None,
        *,
        only: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        job: str | None = None,
        target: str | None = None,
        told: Told = lambda step: None,
    ) -> ActiveBackfill:
        """Return a backfill ready to be executed by ``wait``; the arguments are those of ``start``."""
        chosen, _ = self.validate(path, variables, job=job, target=target)
        chosen = graph.narrow(chosen, only)
        given = dict(parameters or {})
        name = wanted.name or backfill.default_name(given, only, wanted.instants.step)
        # A step waits for its place rather than be skipped.
        queueing = msgspec.structs.replace(chosen, queue_enabled=True)
        # More at a time than the job allows would only wait for each other.
        parallel = min(wanted.parallel, max(1, chosen.max_concurrent_runs))
        wanted = msgspec.structs.replace(wanted, name=name, parallel=parallel)
        return ActiveBackfill(self, self.settings(path), queueing, wanted, given, told, variables or {}, target)


class ActiveBackfill:
    """A backfill in the hands of this process; ``wait`` executes it, ``cancel`` stops it from any thread."""

    def __init__(
        self,
        engine: Backfilling,
        found: Settings,
        job: Job,
        wanted: Range,
        given: Mapping[str, str],
        told: Told,
        variables: Mapping[str, str],
        target: str | None,
    ) -> None:
        self.job, self.settings, self.range = job, found, wanted
        self._engine, self._given, self._told = engine, given, told
        self._variables, self._target = variables, target
        self._steps: dict[int, Step] = {}
        self._going: dict[int, _Going] = {}
        self._asked: SimpleQueue[Request] = SimpleQueue()
        self._cancels = self._cancels_done = 0
        self._stopping = False

    def cancel(self) -> None:
        """Stop the runs and begin no more: the first call politely, the second at once."""
        self._cancels += 1

    def wait(self) -> list[Step]:
        """Execute what is to be executed and return all steps; LockedError when another process is at it."""
        with ExitStack() as stack:
            self._open(stack)
            todo = deque(self.range.instants)
            while True:
                self._obey()
                while todo and not self._stopping and len(self._going) < self.range.parallel:
                    self._begin(todo.popleft())
                if not self._going and (not todo or self._stopping):
                    break
                self._turn()
        return [self._steps.get(at) or Step(at=at) for at in self.range.instants]

    def _open(self, stack: ExitStack) -> None:
        engine, found = self._engine, self.settings
        store = self._store = engine.open_store(found)
        stack.callback(store.close)
        stack.callback(control.knock, found.home)
        name = backfill.token(self.job.name, self.range.name, 0)
        folder = home.private_folder(found.home / "backfills" / name)
        stack.enter_context(_alone(folder, self.job.name))
        mark = f"{found.home}:{name}"
        # What a killed process of this very backfill left behind.
        sweep(mark)
        bus = engine.bus(store)
        stack.callback(bus.close, DELIVERY_SECONDS)
        base = Path(self.job.path).parent
        servers = SparkServers(folder / "spark.log", found, mark, lambda: [base])
        stack.callback(servers.close)
        executor = self._executor = ProcessExecutor(mark, preload=engine.plugins.modules)
        stack.callback(executor.close)
        self._fleet = Fleet(
            store=store,
            settings=found,
            layers=lambda: engine.plugins.layers,
            subscribers=engine.plugins.subscribers,
            executor=executor,
            spark=servers,
            clock=engine.clock,
            committed=lambda told: bus.kick(),
            find=engine.finder(store, Origin(self._variables, self._target)),
        )
        stack.callback(self._fleet.close)
        stack.callback(self._let_go)

    def _let_go(self) -> None:
        for going in self._going.values():
            going.attendant.close()
            going.lock.release()

    # -- one turn -----------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        """Do what ``cancel`` and other processes asked for."""
        if self._cancels > self._cancels_done:
            self._cancels_done, self._stopping = self._cancels, True
            for run_id in list(self._going):
                self._cancel(run_id)
        while not self._asked.empty():
            request = self._asked.get()
            if request.kind == "cancel" and request.task_key is None and request.run_id in self._going:
                self._cancel(request.run_id)
            else:
                self._fleet.ask(request)

    def _cancel(self, run_id: int) -> None:
        going = self._going[run_id]
        if going.waiter is None:
            self._fleet.cancel(run_id)
        else:
            self._take_up(run_id, cancelled=True)

    def _turn(self) -> None:
        """Let the runs go on until something happens."""
        for run_id, going in list(self._going.items()):
            state = going.waiter.look() if going.waiter else LifeCycle.RUNNING
            if state.ended:
                self._done(run_id)
            elif going.waiter and state is not LifeCycle.QUEUED:
                self._take_up(run_id)
        waits = [LOOK_SECONDS] if any(going.waiter for going in self._going.values()) else []
        waits += [wait for wait in [self._fleet.patience()] if wait is not None]
        # Signals only count; they are looked at within this time.
        for ended in self._fleet.turn(self._executor.poll(min([LOOK_SECONDS, *waits]))):
            # Those that run_job tasks started are no steps.
            if ended.run_id in self._going:
                self._done(ended.run_id)
        for run_id in [run_id for run_id, going in self._going.items() if not going.waiter]:
            if run_id not in self._fleet:
                self._done(run_id)

    def _take_up(self, run_id: int, *, cancelled: bool = False) -> None:
        going = self._going[run_id] = self._going[run_id]._replace(waiter=None)
        self._fleet.take_up(run_id, cancelled=cancelled, lock=going.lock)

    # -- beginning and ending a step ----------------------------------------------------------------------------

    def _begin(self, at: int) -> None:
        """Make the run of a step, or find the one it had before, and start it where that is to be done."""
        subscribers, now = self._engine.plugins.subscribers, self._engine.clock.now_ms()
        make = values.parameters_by_ids(
            self.job, self._given, Trigger.ONE_TIME, trigger_time=at, start_time=now, backfill=at
        )
        with self._store.grouped():
            run, created = self._store.create_run(
                self.job,
                parameters=make,
                trigger=Trigger.ONE_TIME,
                trigger_time=at,
                backfill=at,
                idempotency_token=backfill.token(self.job.name, self.range.name, at),
                allowed=named_folders(self._given, Path(self.job.path).parent),
                subscribers=subscribers,
            )
            if not created and self._wants_repair(run):
                run = self._reopen(run)
                created = True
            lock = self._store.own(run.run_id) if created and not run.state.ended else None
        if lock is None:
            self._note(at, run, executed=created)
            return
        attendant = Attendant(self._store, run.run_id, self._hear)
        waiter = Waiter(self._store, lock, self.job, run, self._engine.clock, subscribers)
        self._going[run.run_id] = _Going(at, attendant, waiter, lock)
        self._told(_step(at, run, executed=True))
        if run.state is not LifeCycle.QUEUED:
            self._take_up(run.run_id)

    def _wants_repair(self, run: JobRun) -> bool:
        """Whether a step that was begun before is to be gone on with: interrupted ones always."""
        interrupted = run.state is not LifeCycle.TERMINATED or run.result is Result.CANCELED
        return run.state.ended and not run.succeeded and (interrupted or self.range.again)

    def _reopen(self, run: JobRun) -> JobRun:
        draft = self._engine.draft(self._store, run.run_id, Asked(), self._given, self._variables, self._target)
        job = msgspec.structs.replace(draft.job, queue_enabled=True)
        wanted = reopening(draft._replace(job=job), "here")
        return self._store.reopen(run.run_id, wanted, self._engine.plugins.subscribers)

    def _hear(self, request: Request) -> None:
        self._asked.put(request)
        self._executor.wake()

    def _done(self, run_id: int) -> None:
        going = self._going.pop(run_id)
        going.attendant.close()
        going.lock.release()
        self._note(going.at, self._store.run(run_id), executed=True)

    def _note(self, at: int, run: JobRun, *, executed: bool) -> None:
        step = self._steps[at] = _step(at, run, executed=executed)
        if self.range.stop_on_failure and not step.succeeded:
            self._stopping = True
        self._told(step)


def _step(at: int, run: JobRun, *, executed: bool) -> Step:
    took = run.end_time - run.start_time if run.end_time and run.start_time else None
    return Step(
        at=at,
        run_id=run.run_id,
        state=run.state,
        result=run.result,
        message=run.message,
        duration_ms=took,
        executed=executed,
    )


@contextmanager
def _alone(folder: Path, job_name: str) -> Iterator[None]:
    """Hold the lock of a backfill while the block runs; LockedError when another process has it."""
    lock = home.FileLock.take(folder / "lock")
    if lock is None:
        raise LockedError(f"this backfill of {job_name} is executed by another process: wait for it, or cancel it")
    try:
        yield
    finally:
        lock.release()
