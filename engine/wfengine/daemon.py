"""The long-running process: looks after job files, lets the scheduler tick, executes runs, and ends without losing any.

One thread does all of it in turns. Signals, knocks and changed files only wake it; whatever it is told stands in the
store or in a counter by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger

from wfengine import arrivals, control, log, recovery
from wfengine.bus import Bus
from wfengine.clock import Clock, SystemClock, since_boot
from wfengine.errors import DiskFullError, StateError
from wfengine.executor import ProcessExecutor, sweep
from wfengine.fleet import Fleet
from wfengine.home import refuse_network
from wfengine.layer import Layer
from wfengine.nesting import Find
from wfengine.pulse import Pulse
from wfengine.registry import Plugins
from wfengine.scheduler import Scheduler
from wfengine.servers import SparkServers
from wfengine.settings import Settings
from wfengine.shelf import Content, Shelf, watch
from wfengine.states import LifeCycle
from wfengine.store import Store

if TYPE_CHECKING:
    from wfengine.metrics import MetricsServer

#: Longest time between two looks at the clock, so that a jump of it is noticed (docs/reliability.md, D11 to D13).
POLL_SECONDS = 30.0
#: Wait after a turn that found the disk full.
FULL_DISK_SECONDS = 1.0
#: Runs that are open at the same time; further ones wait in the store.
MAX_OPEN = 200
#: Seconds without a run after which the Spark server and the supervisors are ended.
IDLE_SECONDS = 300.0


def marker(home: Path, whose: object = "daemon") -> str:
    """Return the text that every process of a home's daemon, or of one run, carries in its environment."""
    return f"{home}:{whose}"


class Daemon:
    """Serves one home until it is told to stop; ``stop``, ``reload`` and ``wake`` may be called from anywhere."""

    def __init__(
        self,
        *,
        settings: Settings,
        sources: Sequence[Path],
        read: Callable[[Path], Content],
        finder: Callable[[Store], Find],
        plugins: Plugins,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        """``sources`` are files, folders and globs of job files, ``read`` reads one of them.

        ``finder`` makes what finds the jobs of run_job tasks.
        """
        self._settings, self._sources, self._plugins, self._clock = settings, tuple(sources), plugins, clock
        self._shelf, self._finder = Shelf(self._sources, read), finder
        self._manager = control.ServiceManager(environ)
        self._pulse = Pulse(settings.home, clock)
        self._log: FilteringBoundLogger = log.get()
        self._stops = self._stops_done = 0
        self._reloads = self._reloads_done = 0
        self._force = False
        self._wake: Callable[[], None] = lambda: None
        self._hold_until: float | None = None
        self._draining = False
        self._loaded = True
        self._busy_at = 0.0
        #: Runs of other processes that had not ended at the last look, and when that was.
        self._others: frozenset[int] = frozenset()
        self._others_at = 0.0
        self._said = ""
        self._errors_said: frozenset[str] = frozenset()

    def stop(self) -> None:
        """End: first let running tasks go on for a while, then stop them to be repeated; the second time at once."""
        self._stops += 1
        self._wake()

    def reload(self, *, force: bool = False) -> None:
        """Look at the job files again; with ``force`` also at those that seem unchanged."""
        self._force = self._force or force
        self._reloads += 1
        self._wake()

    def serve(self) -> None:
        """Serve until told to stop. Raises LockedError when another daemon has the home, StateError as the store."""
        with ExitStack() as stack:
            refuse_network(self._settings.home)
            seat = control.Seat.take(self._settings.home)
            stack.callback(seat.leave)
            stack.callback(self._pulse.end)
            self._pulse.beat(jobs=0, runs=0, errors={}, disabled={})
            # What a killed daemon of this home left behind ends before anything is started anew.
            sweep(marker(self._settings.home))
            self._store = stack.enter_context(Store.open(self._settings.home, self._clock))
            lead = self._store.lead("daemon")
            self._recover()
            # Before there are threads, so that many files are read by all cores.
            self._shelf.refresh()
            if self._settings.metrics.port is not None:
                stack.callback(self._serve_metrics(self._settings.metrics.port).close)
            bus = self._bus = Bus(self._store, self._plugins, self._clock, self._log)
            stack.callback(bus.close)
            executor = self._executor = ProcessExecutor(marker(self._settings.home), preload=self._plugins.modules)
            stack.callback(executor.close)
            self._wake = executor.wake
            log_file = self._settings.home / "spark.log"
            self._servers = SparkServers(log_file, self._settings, marker(self._settings.home), self._bases)
            stack.callback(self._servers.close)
            self._fleet = self._new_fleet(bus)
            stack.callback(self._fleet.close)
            self._scheduler = Scheduler(
                self._store,
                self._clock,
                self._plugins.subscribers,
                lead,
                triggers=self._trigger,
                # Sleep of the machine is downtime, no jump of its clock.
                steady=since_boot if isinstance(self._clock, SystemClock) else None,
                committed=bus.kick,
            )
            door = control.Door(self._settings.home, executor.wake)
            stack.callback(door.close)
            watcher = watch(self._sources, self.reload)
            stack.callback(watcher.close)
            self._shelf.refresh()
            self._load()
            for run_id in self._store.unfinished("daemon"):
                if self._store.run(run_id).start_time is not None:
                    self._fleet.take_up(run_id)
            self._beat("")
            self._manager.tell("READY=1")
            self._log.info("serving", home=str(self._settings.home), jobs=len(self._shelf.jobs))
            while not self._stopped():
                self._turn()
            self._log.info("ended")

    def _serve_metrics(self, port: int) -> MetricsServer:
        from wfengine import metrics

        return metrics.serve(port, self._store, self._clock, lambda: self._pulse.latest, self._plugins.subscribers)

    def _new_fleet(self, bus: Bus) -> Fleet:
        return Fleet(
            store=self._store,
            settings=self._settings,
            layers=self._layers,
            subscribers=self._plugins.subscribers,
            executor=self._executor,
            spark=self._servers,
            clock=self._clock,
            committed=lambda told: bus.kick(),
            find=self._finder(self._store),
            by="daemon",
        )

    def _layers(self) -> Mapping[str, type[Layer[Any]]]:
        return self._plugins.layers

    def _bases(self) -> list[Path]:
        return sorted({Path(job.path).parent for job in self._shelf.jobs.values()})

    def _trigger(self, job: Any) -> arrivals.Trigger | None:
        return arrivals.parse(job, root=self._settings.root, warehouse=self._settings.warehouse)

    # -- one turn -----------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Do all there is to do now, then wait until something is due or wakes."""
        if not self._store.still_there():
            raise StateError(f"the state in {self._settings.home} was deleted or replaced while the daemon used it")
        self._obey()
        if self._stopped():
            return
        waits = [POLL_SECONDS]
        trouble = ""
        try:
            self._requests()
            if self._reloads > self._reloads_done or not self._loaded:
                self._refresh()
            self._look_after_others()
            if self._stops == 0:
                waits += self._schedule()
                trouble = self._scheduler.alarm
        except DiskFullError as error:
            trouble = f"no space in {self._settings.home}, nothing new starts until there is: {error}"
            waits.append(FULL_DISK_SECONDS)
        self._say_once(trouble)
        if (patience := self._fleet.patience()) is not None:
            waits.append(patience)
        if self._hold_until is not None and not self._draining:
            waits.append(self._hold_until - self._clock.monotonic())
        waits += self._manager.keep_alive(self._clock.monotonic())
        self._beat(trouble)
        self._pulse.sleeps(seconds := max(0.0, min(waits)))
        reports = self._executor.poll(seconds)
        self._pulse.wakes()
        for ended in self._fleet.turn(reports):
            self._scheduler.ended(ended.job_name)
        self._rest()

    def _schedule(self) -> list[float]:
        """Let the scheduler tick and take up what may start; return the seconds until it has something to do again."""
        turn = self._scheduler.tick()
        for run_id in self._store.waiting(MAX_OPEN - len(self._fleet)) if len(self._fleet) < MAX_OPEN else ():
            self._fleet.take_up(run_id)
        return [] if turn.next_due is None else [(turn.next_due - self._clock.now_ms()) / 1000]

    def _requests(self) -> None:
        """Do what other processes asked for."""
        for request in self._store.take_requests():
            if request.kind == "cancel" and request.run_id is not None:
                if request.task_key is not None:
                    self._cancel_task(request.run_id, request.task_key)
                elif not self._scheduler.cancel(request.run_id):
                    self._fleet.cancel(request.run_id)
            elif request.kind == "reload":
                self.reload(force=True)
            elif request.kind == "believe_clock":
                self._scheduler.resume_after_jump()

    def _cancel_task(self, run_id: int, key: str) -> None:
        """Cancel one task; a run that waits for its turn gets it now, for only its runner can end its tasks."""
        if self._store.run(run_id).state is LifeCycle.PENDING:
            self._fleet.take_up(run_id)
        self._fleet.cancel_task(run_id, key)

    def _look_after_others(self) -> None:
        """End the runs that other processes left behind when they died: they take up places among their job's runs."""
        now = self._clock.monotonic()
        if now - self._others_at < POLL_SECONDS:
            return
        before, self._others, self._others_at = self._others, frozenset(self._store.unfinished("here")), now
        # A run that was not there at the last look may be about to begin.
        if (stale := self._others & before) and self._recover(stale):
            self._bus.kick()

    def _recover(self, among: frozenset[int] | None = None) -> list[int]:
        home, subscribers = self._settings.home, self._plugins.subscribers
        return recovery.recover(self._store, self._clock, lambda run_id: marker(home, run_id), subscribers, among)

    def _beat(self, trouble: str) -> None:
        """Tell how the daemon is."""
        alarm = self._scheduler.alarm
        self._pulse.beat(
            jobs=len(self._shelf.jobs),
            runs=len(self._fleet),
            alarm=alarm,
            trouble="" if trouble == alarm else trouble,
            stopping=self._stops > 0,
            errors=self._shelf.errors,
            disabled=self._bus.disabled,
        )

    def _say_once(self, trouble: str) -> None:
        """Log a lasting trouble when it begins, not with every turn."""
        if trouble and trouble != self._said:
            self._log.error(trouble)
        self._said = trouble

    def _refresh(self) -> None:
        """Read the job files that changed; those that are broken keep their last good version."""
        self._reloads_done = self._reloads
        force, self._force = self._force, False
        changes = self._shelf.refresh(force=force)
        if changes or not self._loaded:
            self._load()
            names = {"added": changes.added, "changed": changes.changed, "removed": changes.removed}
            self._log.info("job files changed", **{word: list(jobs) for word, jobs in names.items() if jobs})

    def _load(self) -> None:
        for path, error in self._shelf.errors.items():
            if error not in self._errors_said:
                self._log.error("broken job file; a last good version stays", file=str(path), error=error)
        self._errors_said = frozenset(self._shelf.errors.values())
        self._loaded = False
        self._scheduler.load(self._shelf.jobs)
        self._loaded = True

    def _rest(self) -> None:
        """End the Spark server and the supervisors when nothing has run for a while."""
        now = self._clock.monotonic()
        if len(self._fleet):
            self._busy_at = now
        elif self._busy_at and now - self._busy_at > IDLE_SECONDS:
            self._servers.close()
            self._executor.rest()
            self._busy_at = 0.0

    # -- ending -------------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        """Follow what ``stop`` asked for so far."""
        now = self._clock.monotonic()
        if self._stops and self._hold_until is None:
            self._hold_until = now + self._settings.drain_seconds
            self._fleet.hold()
            self._manager.tell("STOPPING=1")
            self._log.info("stopping: running tasks may go on", seconds=self._settings.drain_seconds)
        if self._hold_until is not None and not self._draining and (now >= self._hold_until or self._stops > 1):
            self._draining = True
            self._fleet.drain(self._settings.grace_seconds if self._stops < 2 else 0)
        if self._stops > 1 and self._stops > self._stops_done:
            self._fleet.drain(0)
        self._stops_done = self._stops

    def _stopped(self) -> bool:
        return self._stops > 0 and self._hold_until is not None and self._fleet.drained
