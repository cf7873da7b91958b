"""The parent of all attempts: a process of its own, single-threaded, that forks a child per attempt.

It holds no lock and no database, keeps the heavy libraries loaded, captures what the children print, and ends with
everything below it when its socket to the engine closes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial

from wfengine.clock import SystemClock
from wfengine.executor import tree
from wfengine.executor.attempt import Attempt
from wfengine.executor.messages import Command, Launch, Report, decode_command, encode

#: Seconds a process may live on after its completion record.
LINGER = 5.0
#: Seconds to wait for killed processes to go away before an attempt is reported as ended all the same.
REAP = 5.0
#: Bytes waiting for the engine beyond which the children's messages are left in their pipes.
BACKLOG = 1024 * 1024
#: Seconds after which a report that nobody waits for is sent by itself.
PATIENCE = 0.05
_CHUNK = 64 * 1024
_HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """The loop between the engine's socket and the children."""

    def __init__(self, engine: socket.socket) -> None:
        self._engine = engine
        self._engine.setblocking(False)
        self._clock = SystemClock()
        self._selector = selectors.DefaultSelector()
        self._attempts: dict[int, Attempt] = {}
        self._inbox = b""
        self._outbox = bytearray()
        #: Reports that go with the next ones, or after ``PATIENCE``.
        self._later = bytearray()
        self._connected = True
        self._paused = False
        #: Killed processes that did not go away; nobody waits for them any more.
        self._stuck: set[int] = set()
        self._wakeup, self._wakeup_end = os.pipe()
        for descriptor in (self._wakeup, self._wakeup_end):
            os.set_blocking(descriptor, False)
        # Only the byte in the pipe matters: it ends the select when a child ends.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        self._selector.register(self._engine, selectors.EVENT_READ, self._read_engine)
        self._selector.register(self._wakeup, selectors.EVENT_READ, lambda: os.read(self._wakeup, _CHUNK))

    def run(self) -> None:
        """Serve until the engine closes its end, then kill every attempt."""
        while self._connected:
            ready = self._selector.select(self._timeout())
            for key, events in ready:
                if events & selectors.EVENT_READ:
                    key.data()
            if not ready:
                self._send([])
            self._reap()
            self._keep_deadlines()
            self._settle()
            self._flush()
        self._end()

    def _timeout(self) -> float | None:
        moments = [attempt.give_up or attempt.deadline for attempt in self._attempts.values()]
        due = [max(moment - self._clock.monotonic(), 0) for moment in moments if moment is not None]
        return min([*due, PATIENCE] if self._later else due, default=None)

    # --- the engine

    def _read_engine(self) -> None:
        try:
            data = self._engine.recv(_CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            self._connected = False
            return
        *lines, self._inbox = (self._inbox + data).split(b"\n")
        for line in lines:
            self._obey(decode_command(line))

    def _obey(self, command: Command) -> None:
        if command.start is not None:
            self._start(command.start)
        elif command.stop is not None:
            number, grace = command.stop
            self._stop(number, grace)

    def _send(self, reports: Sequence[Report]) -> None:
        self._outbox += self._later
        self._later.clear()
        for report in reports:
            self._outbox += encode(report)

    def _flush(self) -> None:
        """Send what the socket takes; the rest follows when it takes more."""
        try:
            with contextlib.suppress(BlockingIOError):
                while self._outbox:
                    del self._outbox[: self._engine.send(self._outbox)]
        except ConnectionError:
            self._connected = False
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outbox else 0)
        if self._selector.get_key(self._engine).events != wanted:
            self._selector.modify(self._engine, wanted, self._read_engine)
        self._pause(len(self._outbox) > BACKLOG)

    def _pause(self, paused: bool) -> None:
        """Stop or resume taking messages, so that an engine that does not listen costs no memory here."""
        if paused == self._paused:
            return
        self._paused = paused
        for attempt in self._attempts.values():
            if paused:
                self._unwatch(attempt.messages)
            else:
                self._watch(attempt.messages, partial(self._read_messages, attempt))

    # --- attempts

    def _start(self, launch: Launch) -> None:
        # A signal that arrives before the child has its own handlers waits until it has them.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
        try:
            attempt = Attempt(launch, self._release)
        except OSError as error:
            said = {"message": f"no process can be started: {error}", "code": "EngineDied"}
            self._send([Report(id=launch.id, kind="ended", record={"status": "failed", "error": said})])
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)
        self._attempts[attempt.pid] = attempt
        self._watch(attempt.output, partial(self._read_output, attempt))
        if not self._paused:
            self._watch(attempt.messages, partial(self._read_messages, attempt))
        # Nobody waits for this, so it may go with the next report: many tasks end before it would have been read.
        self._later += encode(Report(id=attempt.id, kind="started", pid=attempt.pid))

    def _release(self) -> None:
        """Close, in a new child, everything that belongs to the supervisor."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        self._engine.close()
        os.close(self._wakeup)
        os.close(self._wakeup_end)
        for attempt in self._attempts.values():
            attempt.release()

    def _read_output(self, attempt: Attempt) -> None:
        if not attempt.read_output():
            self._unwatch(attempt.output)

    def _read_messages(self, attempt: Attempt) -> None:
        reports = attempt.read_messages()
        if reports is None:
            self._unwatch(attempt.messages)
            return
        self._send(reports)
        if attempt.report.record is not None and attempt.deadline is None:
            attempt.deadline = self._clock.monotonic() + LINGER

    def _stop(self, number: int, grace: float) -> None:
        for attempt in self._attempts.values():
            if attempt.id != number:
                continue
            attempt.deadline = self._clock.monotonic() + grace
            # One that has ended keeps its cause; what is left of it has until the new deadline.
            if not attempt.exited:
                attempt.report.cause = "stopped"
                if grace > 0:
                    attempt.asked = tree.signal_tree(attempt.pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Take the status of every process that has ended, adopted ones included."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._attempts:
                    self._attempts[pid].exit(status)

    def _keep_deadlines(self) -> None:
        now = self._clock.monotonic()
        for attempt in self._attempts.values():
            if attempt.deadline is None or now < attempt.deadline:
                continue
            attempt.deadline = None
            attempt.asked = set()
            if not attempt.exited:
                attempt.report.cause = attempt.report.cause or "lingered"
                tree.signal_tree(attempt.pid, signal.SIGKILL)

    def _settle(self) -> None:
        """Kill what ended attempts left behind, and report the attempts of which nothing is left."""
        ended = [attempt for attempt in self._attempts.values() if attempt.exited]
        if not ended:
            return
        left = self._leftovers(ended)
        doomed = left.difference(self._stuck, *(attempt.asked for attempt in ended))
        tree.signal_all(tree.descendants(doomed), signal.SIGKILL)
        now = self._clock.monotonic()
        for attempt in ended:
            if attempt.asked & left:
                continue  # they have until its deadline
            if doomed and attempt.give_up is None:
                attempt.give_up = now + REAP
            if not doomed or (attempt.give_up is not None and now >= attempt.give_up):
                self._stuck |= doomed
                self._finish(attempt)

    def _leftovers(self, ended: Sequence[Attempt]) -> set[int]:
        """Return the processes that lost their attempt.

        As long as an attempt lives its orphans stay below it, so any other child of this process is one.
        """
        children = tree.children()
        if children is not None:
            return children - self._attempts.keys()
        for attempt in ended:
            tree.signal_group(attempt.pid, signal.SIGKILL)
        return set()

    def _finish(self, attempt: Attempt) -> None:
        del self._attempts[attempt.pid]
        self._unwatch(attempt.output)
        self._unwatch(attempt.messages)
        self._send(attempt.finish())

    def _end(self) -> None:
        """Kill all attempts with everything below them, and wait until they are gone."""
        deadline = self._clock.monotonic() + REAP
        for attempt in self._attempts.values():
            attempt.asked = set()
            tree.signal_tree(attempt.pid, signal.SIGKILL)
        while self._attempts and self._clock.monotonic() < deadline:
            self._reap()
            self._settle()
            time.sleep(0.005)

    # --- the selector

    def _watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def _unwatch(self, descriptor: int) -> None:
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)


def preload(modules: Sequence[str]) -> None:
    """Import what the children will need; a module that cannot be imported is left to the attempt that needs it."""
    # A background thread of pyarrow's allocator would make this process multi-threaded.
    before = os.environ.get("JE_ARROW_MALLOC_CONF")
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    for module in modules:
        _import(module)
    del os.environ["JE_ARROW_MALLOC_CONF"]
    if before is not None:
        os.environ["JE_ARROW_MALLOC_CONF"] = before
    for module in modules:
        # What every child would build for itself is built here once.
        getattr(sys.modules.get(module), "before_fork", lambda: None)()
    # Objects that no collection touches stay shared between the processes.
    gc.collect()
    gc.freeze()


def _import(module: str) -> None:
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    except Exception:  # noqa: BLE001 - a broken library must not take the attempts along that do not need it
        traceback.print_exc()


def main() -> None:
    """Serve the socket given on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", type=int, required=True)
    parser.add_argument("--preload", default="")
    arguments = parser.parse_args()
    # It ends with the engine, by the socket; signals meant for a whole group or container must not come first.
    for number in _HELD_BACK:
        signal.signal(number, signal.SIG_IGN)
    # The thread that started this may have blocked some.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    tree.adopt_orphans()
    preload([module for module in arguments.preload.split(",") if module])
    with socket.socket(fileno=arguments.socket) as engine:
        Supervisor(engine).run()
