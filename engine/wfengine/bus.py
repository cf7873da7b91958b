"""Carries stored events to the run's log and to each plugin alone; no plugin can delay or change a run."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec
from structlog.typing import FilteringBoundLogger

from wfengine import home as folders
from wfengine import log as logs
from wfengine.clock import Clock
from wfengine.courier import DELIVERY_SECONDS, Courier, Outcome, backoff_ms
from wfengine.errors import StateError, WfengineError
from wfengine.events import AnyEvent, RunEnded
from wfengine.registry import Plugins
from wfengine.store import RUN_LOG, Failure, Pending, Store

#: Deliveries of one plugin that may take too long before this process gives it no more.
MAX_TIMEOUTS = 3
#: Milliseconds of failing after which a delivery is given up.
GIVE_UP_MS = 24 * 3600 * 1000
#: Deliveries taken from the store at a time, and settled in one transaction.
BATCH = 200
#: Runs whose events are kept from other processes at the same time; each costs a descriptor.
MAX_HOLDS = 200
#: Seconds between two looks for work of which nobody told, left by processes that have died.
LOOK_SECONDS = 30.0


class _Look:
    """There may be something new."""


class _Stop:
    """End the thread."""


_Message = Outcome | _Look | _Stop | threading.Event


class Bus:
    """Delivers the events of a home from a thread of its own, until ``close``."""

    def __init__(self, store: Store, plugins: Plugins, clock: Clock, log: FilteringBoundLogger | None = None) -> None:
        """Start at once; events left by former processes are delivered too. Raises StateError as ``Store`` does."""
        # A mark that is lost in a power cut means one repetition, which deliveries are allowed anyway.
        self._store = store.another(durable=False)
        self._clock = clock
        self._log = log or logs.get()
        self._inbox: SimpleQueue[_Message] = SimpleQueue()
        self._couriers = {RUN_LOG: Courier(RUN_LOG, self._write, self._inbox.put)}
        for name in plugins.subscribers:
            self._couriers[name] = Courier(name, partial(_to_plugin, plugins), self._inbox.put)
        self._delivered: list[Pending] = []
        self._failures: list[Failure] = []
        self._holds: dict[int, folders.FileLock] = {}
        self._ended: set[int] = set()
        self._waiters: list[threading.Event] = []
        self._paused = False
        self._disabled: dict[str, str] = {}
        self._thread = threading.Thread(target=self._serve, name="wfengine-bus", daemon=True)
        self._thread.start()

    @property
    def disabled(self) -> Mapping[str, str]:
        """Subscribers that this process gives no more events, with the reason; their events stay in the store."""
        return dict(self._disabled)

    def kick(self) -> None:
        """Say that something was committed; returns at once, from any thread."""
        self._inbox.put(_Look())

    def drain(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds until everything due is delivered; False when it is not."""
        if not self._thread.is_alive():
            return False
        done = threading.Event()
        self._inbox.put(done)
        return done.wait(timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Drain for at most ``timeout`` seconds and stop; what is left stays in the store for the next process."""
        drained = self.drain(timeout)
        self._inbox.put(_Stop())
        self._thread.join(1.0)
        return drained

    def _serve(self) -> None:
        wait = 0.0
        try:
            while True:
                for message in self._messages(wait):
                    if isinstance(message, _Stop):
                        return
                    self._take(message)
                wait = self._work()
        finally:
            self._end()

    def _messages(self, wait: float) -> list[_Message]:
        """Return all that has come, after waiting for the first; many kicks are answered by one look."""
        try:
            found = [self._inbox.get(timeout=wait)]
        except Empty:
            return [_Look()]
        while not self._inbox.empty():
            found.append(self._inbox.get())
        return found

    def _take(self, message: _Message) -> None:
        if isinstance(message, Outcome):
            self._settle(message)
            return
        if isinstance(message, threading.Event):
            self._waiters.append(message)
        for courier in self._couriers.values():
            courier.look = True

    def _settle(self, outcome: Outcome) -> None:
        courier = self._couriers[outcome.subscriber]
        if outcome.work is not courier.work:
            return  # came back after it was given up
        courier.current = None
        if isinstance(outcome.pending.event, RunEnded):
            self._ended.add(outcome.pending.run_id)
        if outcome.error is None:
            self._delivered.append(outcome.pending)
        else:
            self._fail(courier, outcome.pending, outcome.error)

    def _fail(self, courier: Courier, pending: Pending, error: str) -> None:
        courier.skip(pending.run_id)
        now = self._clock.now_ms()
        since = now if pending.failing_since is None else pending.failing_since
        wait = backoff_ms(pending.tries, random.random())  # noqa: S311 - spreads repetitions, protects nothing
        next_at = None if now - since >= GIVE_UP_MS else now + wait
        self._failures.append(Failure(pending=pending, error=error, now=now, next_at=next_at))
        tell = self._log.error if next_at is None else self._log.warning
        tell(
            "delivery given up" if next_at is None else "delivery failed",
            plugin=courier.name,
            hook="on_event",
            delivery_id=pending.delivery_id,
            event_kind=pending.event.__struct_config__.tag,
            tries=pending.tries + 1,
            error=error,
        )

    def _work(self) -> float:
        """Do all that can be done now; return the seconds after which to look again unasked."""
        now, wall = self._clock.monotonic(), self._clock.now_ms()
        for courier in self._couriers.values():
            if courier.current is not None and now >= courier.deadline:
                self._time_out(courier)
        try:
            for courier in self._couriers.values():
                if courier.idle and courier.look:
                    self._flush()
                    self._fill(courier, wall)
                courier.start_next(now)
            wait = self._rest(now, wall)
        except StateError as error:
            # Said once: a full disk is not a plugin's fault, and what was delivered is settled when there is space.
            if not self._paused:
                self._log.error("deliveries wait for the state", error=str(error))
            self._paused = True
            return 1.0
        self._paused = False
        return wait

    def _rest(self, now: float, wall: int) -> float:
        couriers = self._couriers.values()
        busy = [courier.deadline - now for courier in couriers if courier.current is not None]
        if not busy:
            for run_id in self._ended.intersection(self._holds):
                self._holds.pop(run_id).release()
            self._ended.clear()
            for waiter in self._waiters:
                waiter.set()
            self._waiters.clear()
        retries = [self._store.outbox.next_retry(courier.name, wall) for courier in couriers]
        waits = [(retry - wall) / 1000 for retry in retries if retry is not None]
        return max(0.0, min([LOOK_SECONDS, *busy, *waits]))

    def _fill(self, courier: Courier, wall: int) -> None:
        courier.look = False
        if courier.name in self._disabled:
            return
        if len(self._holds) > MAX_HOLDS:
            self._let_go()
        for run_id in self._store.outbox.ready_runs(courier.name, wall):
            if not self._hold(run_id):
                continue
            courier.waiting.extend(self._store.outbox.pending(courier.name, run_id, BATCH))
            # There may be more than a batch; look again when this one is done.
            courier.look = True
            if len(courier.waiting) >= BATCH:
                break

    def _hold(self, run_id: int) -> bool:
        """Keep other processes from delivering the events of this run as long as this one does."""
        if run_id in self._holds:
            return True
        try:
            folder = folders.private_folder(folders.event_folder(self._store.home, run_id))
            lock = folders.FileLock.take(folder / "events.lock")
        except OSError as error:
            raise StateError(f"cannot lock the events of run {run_id}: {error.strerror or error}") from error
        if lock is not None:
            self._holds[run_id] = lock
        return lock is not None

    def _let_go(self) -> None:
        """Give up the runs of which nothing is at hand; all that was delivered is settled at this point."""
        needed = {pending.run_id for courier in self._couriers.values() for pending in courier.waiting}
        needed |= {courier.current.run_id for courier in self._couriers.values() if courier.current}
        for run_id in self._holds.keys() - needed:
            self._holds.pop(run_id).release()

    def _flush(self) -> None:
        if self._delivered or self._failures:
            self._store.outbox.settle(self._delivered, self._failures)
            self._delivered, self._failures = [], []

    def _time_out(self, courier: Courier) -> None:
        pending = courier.current
        courier.abandon()
        courier.timeouts += 1
        if pending is not None:
            self._fail(courier, pending, f"took longer than {DELIVERY_SECONDS:g} s")
        if courier.timeouts >= MAX_TIMEOUTS:
            reason = f"{courier.timeouts} deliveries took longer than {DELIVERY_SECONDS:g} s each"
            self._disabled[courier.name] = reason
            courier.waiting.clear()
            self._log.error("plugin disabled in this process", plugin=courier.name, hook="on_event", reason=reason)

    def _end(self) -> None:
        for courier in self._couriers.values():
            courier.abandon()
        try:
            self._flush()
        except WfengineError as error:
            self._log.warning("deliveries will be repeated by the next process", error=str(error))
        for lock in self._holds.values():
            lock.release()
        self._store.close()

    def _write(self, pending: Pending) -> None:
        """Log the event and append it to the log of its run, one line each."""
        if pending.tries == 0:
            event = pending.event
            self._log.info(str(event.__struct_config__.tag), **_shown(event))
        folder = folders.private_folder(folders.event_folder(self._store.home, pending.run_id))
        append_line(folder / RUN_LOG, msgspec.json.encode(pending.event))


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a private file, after ending a line that a crash or a full disk has torn. Raises OSError."""
    descriptor = folders.open_private(path, os.O_RDWR | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        rest = memoryview((b"\n" if torn else b"") + line + b"\n")
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def _to_plugin(plugins: Plugins, pending: Pending) -> None:
    plugins.deliver(pending.subscriber, pending.event, pending.delivery_id)


def _shown(event: AnyEvent) -> dict[str, object]:
    """Pick what a line for people can say: plain fields, and an error without its traceback."""
    fields = {
        name: value
        for name, value in msgspec.to_builtins(event).items()
        if name not in ("kind", "time") and isinstance(value, (str, int, list, tuple))
    }
    error = getattr(event, "error", None)
    return fields | ({"error": error.message} if error else {})
