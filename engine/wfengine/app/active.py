"""A run in the hands of this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from wfengine import events, settings
from wfengine import home as folders
from wfengine.app.base import DELIVERY_SECONDS, Base, marker
from wfengine.executor import ProcessExecutor
from wfengine.jobs import Job
from wfengine.launching import Means, Slots
from wfengine.runner import Runner
from wfengine.runs import JobRun
from wfengine.servers import SparkServers
from wfengine.settings import Settings
from wfengine.store import RunLock, Store

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
    ) -> None:
        #: The run as it was stored.
        self.run = run
        #: Whether commands in the current folder find its home by themselves.
        self.here = found.home == settings.load(Path.cwd()).home
        #: Whether it is to be executed here; False when an idempotency token gave an existing run.
        self.created = lock is not None
        self.job, self.settings = job, found
        self._engine, self._store, self._lock = engine, store, lock
        self._listener = listener or (lambda event: None)
        self._progress = progress or (lambda key, message: None)
        self._runner: Runner | None = None
        self._cancels = 0

    def now_ms(self) -> int:
        """The engine's time, for showing how long something has been running."""
        return self._engine.clock.now_ms()

    def cancel(self) -> None:
        """Stop the run: the first call politely, the second at once."""
        self._cancels += 1
        if self._runner:
            self._runner.cancel()

    def wait(self) -> JobRun:
        """Execute the run to its end and return it; whatever happens, no process of it stays."""
        with ExitStack() as stack:
            stack.callback(self._store.close)
            lock = self._lock
            if lock is None:
                self.job = self._store.snapshot(self.run.run_id)[0]
                return self._store.run(self.run.run_id)
            stack.callback(lock.release)
            folder = folders.run_folder(self.settings.home, self.run.run_id)
            bus = self._engine.bus(self._store)
            stack.callback(bus.close, DELIVERY_SECONDS)
            mark = marker(self.settings, self.run.run_id)
            base = Path(self.job.path).parent
            servers = SparkServers(folder / "spark.log", self.settings, mark, lambda: [base])
            stack.callback(servers.close)
            executor = ProcessExecutor(marker=mark)
            stack.callback(executor.close)

            def committed(told: list[events.AnyEvent]) -> None:
                bus.kick()
                for event in told:
                    self._listener(event)

            subscribers = self._engine.plugins.subscribers
            means = Means(
                settings=self.settings,
                layers=self._engine.plugins.layers,
                executor=executor,
                slots=Slots(self.settings.max_tasks),
                spark=servers,
                clock=self._engine.clock,
                transaction=lambda: self._store.transaction(lock, subscribers),
                committed=committed,
                progressed=self._progress,
                folder=folder,
                allowed=self._store.snapshot(self.run.run_id)[1],
                environ={"WFENGINE_RUN_ID": str(self.run.run_id)},
            )
            self._runner = Runner(self.job, self.run, means)
            for _ in range(self._cancels):
                self._runner.cancel()
            self._runner.run()
            return self._store.run(self.run.run_id)
