"""The one door to the engine: composes the floors for the command line, for the web and for ``import wfengine``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wfengine import control, events, explain, graph, jobfile, log, recovery, scheduler, settings, values
from wfengine import home as folders
from wfengine.bus import Bus
from wfengine.clock import Clock, SystemClock
from wfengine.errors import Fault, UsageError, did_you_mean, listed, shown
from wfengine.executor import ProcessExecutor
from wfengine.jobs import Job
from wfengine.launching import Means, Slots
from wfengine.registry import Plugins
from wfengine.registry import load as load_plugins
from wfengine.runner import Runner
from wfengine.runs import JobRow, JobRun, Tick
from wfengine.servers import SparkServers
from wfengine.settings import Settings
from wfengine.states import Trigger
from wfengine.store import RunLock, Store

if TYPE_CHECKING:
    from wfengine.daemon import Daemon
    from wfengine.jobfile.bundle.listing import Bundle
    from wfengine.jobfile.inspection import JobFile
    from wfengine.shelf import Content

#: Seconds that a finished command waits for notifiers; what is not delivered by then is delivered by a later one.
DELIVERY_SECONDS = 5.0

Listener = Callable[[events.AnyEvent], None]
Progress = Callable[[str, dict[str, Any]], None]


class Engine:
    """Runs jobs and tells of runs; several engines in one process do not disturb each other.

    ``home`` is the folder of the state; without it, it is ``.wfengine`` in the project around each job file (or around
    ``project``, by default the current folder). ``plugins`` are further plugin objects beside the installed ones.

    >>> from wfengine import Engine
    >>> Engine().validate("conf/medallion.yml")[0].name  # doctest: +SKIP
    'medallion'
    """

    def __init__(
        self,
        home: str | Path | None = None,
        *,
        project: str | Path | None = None,
        root: str | Path | None = None,
        plugins: Sequence[object] = (),
        clock: Clock | None = None,
    ) -> None:
        self._home = Path(home) if home is not None else None
        self._project = Path(project) if project is not None else Path.cwd()
        self._root = Path(root).resolve() if root is not None else None
        self._extra = tuple(plugins)
        self._clock = clock or SystemClock()
        self._loaded: Plugins | None = None

    @property
    def plugins(self) -> Plugins:
        """The plugins found, each with what it offers or why it was refused."""
        if self._loaded is None:
            self._loaded = load_plugins(self._extra)
        return self._loaded

    def settings(self, job_file: str | Path | None = None) -> Settings:
        """Return the settings in force for a job file, or for the project this engine was made for."""
        found = settings.load(Path(job_file).resolve().parent if job_file else self._project, self._home)
        return msgspec.structs.replace(found, root=self._root) if self._root else found

    def validate(
        self,
        path: str | Path,
        variables: Mapping[str, str] | None = None,
        *,
        job: str | None = None,
        target: str | None = None,
    ) -> tuple[Job, tuple[Fault, ...]]:
        """Read and check a job file; returns the job and what is worth a warning.

        ``job`` chooses a job of a bundle by its key or name, ``target`` the bundle's target.
        Raises JobFileError with every fault that could be found.
        """
        root = self.settings(path).root
        found = jobfile.read(
            Path(path), self.plugins.layers, root=root, variables=variables or {}, job=job, target=target
        )
        return found.job, found.warnings

    def inspect(
        self, path: str | Path, variables: Mapping[str, str] | None = None, *, target: str | None = None
    ) -> JobFile | Bundle:
        """Read and check what a file holds, one job or a bundle of several.

        Raises JobFileError for one job with its faults; a bundle comes with those of its jobs.
        """
        root = self.settings(path).root
        return jobfile.inspect(Path(path), self.plugins.layers, root=root, variables=variables or {}, target=target)

    def explain(
        self,
        path: str | Path,
        results: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        *,
        job: str | None = None,
        target: str | None = None,
    ) -> explain.Explanation:
        """Say what each task of a job file would do, and by which rule, if tasks ended as ``results`` says."""
        return explain.explain(self.validate(path, variables, job=job, target=target)[0], results or {})

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the job file, with the configs of the loaded layers."""
        return jobfile.schema(self.plugins.layers)

    def run_once(
        self,
        path: str | Path,
        parameters: Mapping[str, str] | None = None,
        *,
        only: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        idempotency_token: str | None = None,
        job: str | None = None,
        target: str | None = None,
    ) -> JobRun:
        """Run a job to its end and return the run.

        ``only`` selects tasks (``t``, ``+t`` with its upstreams, ``t+`` with its downstreams). The same
        ``idempotency_token`` gives back the run it was first used for. ``job`` and ``target`` choose in a bundle.
        Raises JobFileError, UsageError, StateError; a failing task raises nothing, the run says so.
        """
        active = self.start(
            path,
            parameters,
            only=only,
            variables=variables,
            idempotency_token=idempotency_token,
            job=job,
            target=target,
        )
        return active.wait()

    def start(
        self,
        path: str | Path,
        parameters: Mapping[str, str] | None = None,
        *,
        only: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        idempotency_token: str | None = None,
        listener: Listener | None = None,
        progress: Progress | None = None,
        job: str | None = None,
        target: str | None = None,
    ) -> ActiveRun:
        """Store a run and return it ready to be executed by ``wait``; ``listener`` is told of each event."""
        chosen, _ = self.validate(path, variables, job=job, target=target)
        given = dict(parameters or {})
        if only:
            chosen = graph.restrict(chosen, graph.select(graph.build(chosen.tasks), only))
        found = self.settings(path)
        store = self._open(found)
        now = self._clock.now_ms()
        try:
            run, created = store.create_run(
                chosen,
                parameters=values.parameters_by_ids(chosen, given, Trigger.ONE_TIME, trigger_time=now, start_time=now),
                trigger=Trigger.ONE_TIME,
                trigger_time=now,
                idempotency_token=idempotency_token,
                allowed=_folders(given, Path(chosen.path).parent),
                subscribers=self.plugins.subscribers,
            )
            lock = store.own(run.run_id) if created else None
        except BaseException:
            store.close()
            raise
        return ActiveRun(self, store, found, chosen, run, lock, listener, progress)

    def runs(self, *, limit: int = 20, job: str | None = None) -> list[JobRun]:
        """Return the newest runs of the home, newest first."""
        with ExitStack() as stack:
            store = self._reading(stack)
            return store.runs(limit=limit, job=job) if store else []

    def run(self, run_id: int) -> tuple[JobRun, Job]:
        """Return one run and the job as it was when the run started; UsageError when there is none."""
        with ExitStack() as stack:
            store = self._reading(stack)
            if store is None:
                raise UsageError(f"there is no run {run_id}: {self.settings().home} holds no runs yet")
            return store.run(run_id), store.snapshot(run_id)[0]

    def ticks(self, job: str | None = None, *, limit: int = 50) -> list[Tick]:
        """Return the newest rows of the ledger of ticks, newest first; of one job when its name is given.

        Raises UsageError for a job that is not known.
        """
        with ExitStack() as stack:
            store = self._reading(stack)
            if store is None and job is not None:
                raise UsageError(f"there is no job {shown(job)!r}: {self.settings().home} holds nothing yet")
            return store.ticks(job, limit=limit) if store else []

    def log_path(self, run_id: int, task_key: str, attempt_number: int) -> Path:
        """Return the file that holds the captured output of an attempt."""
        return folders.attempt_folder(self.settings().home, run_id, task_key, attempt_number) / "log"

    # -- with a daemon ------------------------------------------------------------------------------------------

    def daemon(self, sources: Sequence[str | Path], *, max_tasks: int | None = None) -> Daemon:
        """Make the long-running process for these job files, folders and globs; its ``serve`` blocks."""
        from wfengine.daemon import Daemon

        paths = [Path(source).absolute() for source in sources]
        first = paths[0] if paths[0].is_dir() else paths[0].parent
        self._project = first
        found = self.settings()
        return Daemon(
            settings=msgspec.structs.replace(found, max_tasks=max_tasks or found.max_tasks),
            sources=paths,
            read=self._content,
            plugins=self.plugins,
            clock=self._clock,
            environ=os.environ,
        )

    def trigger(
        self, job_name: str, parameters: Mapping[str, str] | None = None, *, idempotency_token: str | None = None
    ) -> tuple[JobRun, bool]:
        """Ask the daemon for a run of a job that it has loaded; returns the run as stored.

        The second value says whether a daemon heard of it; without one the run waits for the next. Raises UsageError
        for an unknown job or parameter, JobFileError when its file has become faulty.
        """
        given = dict(parameters or {})
        with self._operating() as store:
            row = self._loaded_job(store, job_name)
            job, _ = self.validate(row.file, job=job_name)
            run, _ = scheduler.trigger(
                store,
                job,
                given,
                now=self._clock.now_ms(),
                idempotency_token=idempotency_token,
                allowed=_folders(given, Path(job.path).parent),
                subscribers=self.plugins.subscribers,
            )
        return run, control.knock(self.settings().home)

    def pause(self, job_name: str) -> None:
        """Let no tick of a job count until ``unpause``; UsageError when the daemon has not loaded it."""
        with self._operating() as store:
            store.pause(job_name)
        control.knock(self.settings().home)

    def unpause(self, job_name: str) -> None:
        """Let the ticks of a job count again from now on."""
        with self._operating() as store:
            store.resume(job_name)
        control.knock(self.settings().home)

    def cancel(self, run_id: int) -> bool:
        """Ask the daemon to cancel a run; False when no daemon listens, and then the next one does it."""
        with self._operating() as store:
            run = store.run(run_id)
            if run.state.ended:
                raise UsageError(f"run {run_id} has ended already: {run.result or run.state}")
            store.request("cancel", run_id)
        return control.knock(self.settings().home)

    def believe_clock(self) -> bool:
        """Tell the daemon that the clock is right after a jump; False when no daemon listens."""
        with self._operating() as store:
            store.request("believe_clock")
        return control.knock(self.settings().home)

    def jobs(self) -> list[JobRow]:
        """Return the jobs that the home's daemon has loaded."""
        with ExitStack() as stack:
            store = self._reading(stack)
            return store.jobs() if store else []

    def next_due(self, names: Sequence[str]) -> dict[str, int]:
        """Return when loaded jobs with a schedule are due next, in epoch milliseconds; paused ones are left out."""
        from wfengine.schedule import compile as compile_schedule

        found: dict[str, int] = {}
        with ExitStack() as stack:
            store = self._reading(stack)
            for row in store.jobs() if store else []:
                job, _ = self.validate(row.file, job=row.name)
                if row.name not in names or row.paused or job.schedule is None or job.schedule.pause_status == "PAUSED":
                    continue
                due = compile_schedule(job.schedule).next_after(max(row.cursor, self._clock.now_ms()))
                if due is not None:
                    found[row.name] = due
        return found

    def status(self) -> Status:
        """Say whether a daemon serves the home and what is going on in it."""
        home = self.settings().home
        with ExitStack() as stack:
            store = self._reading(stack)
            alive = control.daemon_alive(home)
            running = [store.run(run_id) for run_id in store.unfinished()] if store else []
        return Status(home=str(home), daemon=control.daemon_pid(home) if alive else None, running=running)

    def _content(self, path: Path) -> Content:
        from wfengine.jobfile.bundle.listing import Bundle
        from wfengine.shelf import Content

        found = self.inspect(path)
        if isinstance(found, Bundle):
            jobs = tuple(listed.job for listed in found.listed if listed.job is not None and listed.runs)
            return Content(jobs=jobs, error="\n".join(map(str, found.faults)))
        return Content(jobs=(found.job,))

    def _operating(self) -> Store:
        home = self.settings().home
        if not (home / "state.db").exists():
            raise UsageError(f"no daemon has served {home} yet: start one with wfengine daemon FILE")
        return Store.open(home, self._clock)

    def _loaded_job(self, store: Store, name: str) -> JobRow:
        rows = {row.name: row for row in store.jobs()}
        if name not in rows:
            hint = did_you_mean(name, rows) or f"it has {listed(sorted(rows), 10) or 'none'}"
            raise UsageError(f"the daemon has no job {shown(name)!r} ({hint})")
        return rows[name]

    # -- for ActiveRun ------------------------------------------------------------------------------------------

    @property
    def clock(self) -> Clock:
        """The clock that everything of this engine asks."""
        return self._clock

    def bus(self, store: Store) -> Bus:
        """Make the bus that delivers the stored events to this engine's plugins."""
        return Bus(store, self.plugins, self._clock, log.get())

    def _open(self, found: Settings) -> Store:
        """Open the home for writing, ending first what a dead engine left."""
        store = Store.open(found.home, self._clock)
        self._recover(store, found)
        return store

    def _reading(self, stack: ExitStack) -> Store | None:
        found = self.settings()
        if not (found.home / "state.db").exists():
            return None
        store = stack.enter_context(Store.open(found.home, self._clock, create=False))
        self._recover(store, found)
        return store

    def _recover(self, store: Store, found: Settings) -> None:
        ended = recovery.recover(store, self._clock, lambda run_id: marker(found, run_id), self.plugins.subscribers)
        if ended:
            bus = self.bus(store)
            bus.kick()
            bus.close(DELIVERY_SECONDS)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What goes on in a home."""

    home: str
    #: Process id of the daemon that serves it; None without one.
    daemon: int | None
    #: Runs that have not ended.
    running: list[JobRun]


class ActiveRun:
    """A stored run in the hands of this process; ``wait`` executes it, ``cancel`` stops it from any thread."""

    def __init__(
        self,
        engine: Engine,
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


def marker(found: Settings, run_id: int) -> str:
    """Return the text that every process of a run carries in its environment, to be found by after a crash."""
    return f"{found.home}:{run_id}"


def _folders(parameters: Mapping[str, str], base: Path) -> list[str]:
    """Return the existing folders that values given on the command line name: what a person names may be read."""
    paths = [base / value for value in parameters.values() if value and "\0" not in value and len(value) < 4096]
    return [str((path if path.is_dir() else path.parent).resolve()) for path in paths if os.path.exists(path)]
