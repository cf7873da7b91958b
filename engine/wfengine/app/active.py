"""A run in the hands of this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from wfengine import control, events, settings
from wfengine import home as folders
from wfengine.app.attending import LOOK_SECONDS, Attendant, Waiter
from wfengine.app.base import DELIVERY_SECONDS, Base, Origin, marker
from wfengine.executor import ProcessExecutor
from wfengine.fleet import Fleet
from wfengine.jobs import Job
from wfengine.runs import JobRun
from wfengine.servers import SparkServers
from wfengine.settings import Settings
from wfengine.states import LifeCycle
from wfengine.store import Request, RunLock, Store

Listener = Callable[[events.AnyEvent], None]
Progress = Callable[[str, dict[str, Any]], None]


class ActiveRun:
    """A stored run in the hands of this process; ``wait`` executes it, ``cancel`` stops it from any thread."""

    def __init__(
        self,
        engine: Base,
        store: Store,
        found: Settings,
        job: Job,
        run: JobRun,
        lock: RunLock | None,
        listener: Listener | None,
        progress: Progress | None,
        *,
        created: bool = True,
        origin: Origin | None = None,
    ) -> None:
        #: The run as it was stored.
        self.run = run
        #: Whether commands in the current folder find its home by themselves.
        self.here = found.home == settings.load(Path.cwd()).home
        #: False when an idempotency token gave an existing run, which is not executed again.
        self.created = created
        self.job, self.settings = job, found
        self._engine, self._store, self._lock = engine, store, lock
        self._listener = listener or (lambda event: None)
        self._progress = progress or (lambda key, message: None)
        self._origin = origin
        self._cancels = 0
        #: What other processes asked and was not done yet.
        self._requests: deque[Request] = deque()
        self._wake: Callable[[], None] = lambda: None

    def now_ms(self) -> int:
        """The engine's time, for showing how long something has been running."""
        return self._engine.clock.now_ms()

    def cancel(self) -> None:
        """Stop the run: the first call politely, the second at once."""
        self._cancels += 1
        self._wake()

    def _asked(self, request: Request) -> None:
        """Take in what another process asks of this run, or of one that its run_job tasks started."""
        if request.kind != "cancel":
            return
        if request.run_id == self.run.run_id and request.task_key is None:
            self.cancel()
        else:
            self._requests.append(request)
            self._wake()

    def _await_place(self, lock: RunLock, executor: ProcessExecutor) -> JobRun:
        """Wait while the run is QUEUED; return it as it stands then, which is ended if it waited in vain."""
        if self.run.state is not LifeCycle.QUEUED:
            return self.run
        subscribers = self._engine.plugins.subscribers
        waiter = Waiter(self._store, lock, self.job, self.run, self._engine.clock, subscribers)
        while not self._cancels and waiter.look() is LifeCycle.QUEUED:
            executor.poll(LOOK_SECONDS)
            # Runs whose processes have died hold places too.
            self._engine.recover(self._store, self.settings)
        return self._store.run(self.run.run_id)

    def _uses_spark(self) -> bool:
        layers = self._engine.plugins.layers
        return any(task.expect or (task.kind in layers and layers[task.kind].needs_spark) for task in self.job.tasks)

    def wait(self) -> JobRun:
        """Execute the run to its end and return it; whatever happens, no process of it stays."""
        with ExitStack() as stack:
            stack.callback(self._store.close)
            # A daemon may have runs that wait for the place of this one.
            stack.callback(control.knock, self.settings.home)
            lock = self._lock
            if lock is None:
                self.job = self._store.snapshot(self.run.run_id)[0]
                return self._store.run(self.run.run_id)
            stack.callback(lock.release)
            folder = folders.run_folder(self.settings.home, self.run.run_id)
            bus = self._engine.bus(self._store)
            stack.callback(bus.close, DELIVERY_SECONDS)
            mark = marker(self.settings, self.run.run_id)
            servers = SparkServers(folder / "spark.log", self.settings, mark, lambda: fleet.folders)
            stack.callback(servers.close)
            executor = ProcessExecutor(mark, preload=self._engine.plugins.modules)
            stack.callback(executor.close)
            self._wake = executor.wake
            stack.callback(Attendant(self._store, self.run.run_id, self._asked).close)
            self.run = self._await_place(lock, executor)
            if self.run.state.ended:
                return self.run
            if self._uses_spark():
                # Its libraries take a second to load, and do so while the first tasks run.
                executor.warm(heavy=True)

            def committed(told: list[events.AnyEvent]) -> None:
                bus.kick()
                for event in told:
                    if event.run_id == self.run.run_id:
                        self._listener(event)

            fleet = Fleet(
                store=self._store,
                settings=self.settings,
                layers=lambda: self._engine.plugins.layers,
                subscribers=self._engine.plugins.subscribers,
                executor=executor,
                spark=servers,
                clock=self._engine.clock,
                committed=committed,
                progressed=self._report,
                find=self._engine.finder(self._store, self._origin),
            )
            stack.callback(fleet.close)
            self._execute(fleet, executor, lock)
            return self._store.run(self.run.run_id)

    def _execute(self, fleet: Fleet, executor: ProcessExecutor, lock: RunLock) -> None:
        """Execute the run and those that its run_job tasks start; raises what it cannot go on with."""
        run_id, cancelled = self.run.run_id, self._cancels > 0
        fleet.take_up(run_id, cancelled=cancelled, lock=lock)
        obeyed = int(cancelled)
        with ExitStack() as stack:
            attendants: dict[int, Attendant] = {}
            while len(fleet):
                for child in fleet.run_ids - attendants.keys() - {run_id}:
                    attendants[child] = Attendant(self._store, child, self._asked)
                    stack.callback(attendants[child].close)
                while obeyed < self._cancels:
                    obeyed += 1
                    fleet.cancel(run_id)
                while self._requests:
                    fleet.ask(self._requests.popleft())
                fleet.turn(executor.poll(fleet.patience()))
        if run_id in fleet.let_go:
            raise fleet.let_go[run_id]

    def _report(self, run_id: int, task_key: str, message: dict[str, Any]) -> None:
        if run_id == self.run.run_id:
            self._progress(task_key, message)
