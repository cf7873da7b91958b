"""The engine's side of the supervisors: starts them, talks to them, and cleans up when one dies."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import subprocess
import sys
from collections.abc import Sequence

from wfengine.errors import StateError
from wfengine.executor import tree
from wfengine.executor.messages import Command, Launch, Report, decode_report, encode
from wfengine.failpoints import failpoint

#: Environment variable that tells the processes of one supervisor from those of others.
_SUPERVISOR = "WFENGINE_SUPERVISOR"
#: What Spark tasks need; loading it takes a second or two, a fork of a process that has it a few milliseconds.
HEAVY = (
    "pyarrow",
    "pyspark.sql",
    "pyspark.sql.connect.session",
    "wfengine.spark.session",
    "wfengine.spark.tables",
    "wfengine.spark.expectations",
)
_CHUNK = 64 * 1024
#: The supervisor sees the modules the engine sees, and no file of the current folder shadows one.
_BOOT = (
    "import os, sys; sys.path[:] = sys.argv.pop().split(os.pathsep); "
    "from wfengine.executor.supervisor import main; main()"
)


class _Supervisor:
    """A running supervisor, its socket, and the attempts it was given."""

    def __init__(self, marker: str, preload: Sequence[str]) -> None:
        self.token = secrets.token_hex(16)
        self.socket, theirs = socket.socketpair()
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        command = [sys.executable, "-c", _BOOT, "--socket", str(theirs.fileno()), "--preload", ",".join(preload), path]
        failpoint("executor.before_spawn")
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, tree.MARKER: marker, _SUPERVISOR: self.token},
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            self.socket.close()
            raise StateError(f"no process for the attempts can be started: {error}") from error
        finally:
            theirs.close()
        failpoint("executor.after_spawn")
        self.socket.setblocking(False)
        self.live: set[int] = set()
        self._inbox = b""
        self._outbox = bytearray()

    def send(self, command: Command) -> None:
        """Queue a command and send what the socket takes now; a dead supervisor shows when it is read."""
        self._outbox += encode(command)
        self.flush()

    def flush(self) -> bool:
        """Send what the socket takes; return whether more is waiting."""
        try:
            while self._outbox:
                del self._outbox[: self.socket.send(self._outbox)]
        except BlockingIOError:
            return True
        except ConnectionError:
            self._outbox.clear()
        return False

    def receive(self) -> list[Report] | None:
        """Return the reports that have arrived; None when the supervisor is gone."""
        reports: list[Report] = []
        try:
            while data := self.socket.recv(_CHUNK):
                *lines, self._inbox = (self._inbox + data).split(b"\n")
                reports += [decode_report(line) for line in lines]
        except BlockingIOError:
            return reports
        except ConnectionError:
            return reports or None
        return reports or None

    def close(self) -> None:
        """Close the socket, which ends the supervisor and all below it, and leave no process behind."""
        self.socket.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        tree.sweep_variable(_SUPERVISOR, self.token)


class ProcessExecutor:
    """Runs attempts below two supervisors that are started when first needed: a light and a heavy one.

    ``marker`` goes into the environment of every process; ``preload_heavy`` names the modules that the heavy
    supervisor loads once for all its children, ``preload`` those that both load.
    """

    def __init__(self, marker: str, preload_heavy: Sequence[str] = HEAVY, preload: Sequence[str] = ()) -> None:
        self._marker = marker
        both = ("wfengine.worker", "wfengine.jobfile.config", "wfengine.spark.datafacts", *preload)
        self._preload = {False: both, True: (*both, *preload_heavy)}
        self._supervisors: dict[bool, _Supervisor] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._wake_end = os.pipe()
        for descriptor in (self._wake, self._wake_end):
            os.set_blocking(descriptor, False)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def warm(self, heavy: bool) -> None:
        """Let a supervisor load its libraries now, before there is anything to start."""
        self._supervisor(heavy)

    def start(self, launch: Launch) -> None:
        """Start an attempt without waiting for it."""
        supervisor = self._supervisor(launch.heavy)
        supervisor.live.add(launch.id)
        supervisor.send(Command(start=launch))

    def stop(self, id: int, grace: float) -> None:  # noqa: A002
        """Ask the attempt's whole process tree to end, and kill what is left after ``grace`` seconds."""
        for supervisor in self._supervisors.values():
            if id in supervisor.live:
                supervisor.send(Command(stop=(id, grace)))

    def kill(self, id: int) -> None:  # noqa: A002
        """Kill the attempt's whole process tree now."""
        self.stop(id, 0)

    def poll(self, timeout: float | None) -> list[Report]:
        """Wait up to ``timeout`` seconds (None: without limit) and return what became known, possibly nothing."""
        for supervisor in self._supervisors.values():
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if supervisor.flush() else 0)
            key = self._selector.get_key(supervisor.socket)
            if key.events != events:
                self._selector.modify(supervisor.socket, events, key.data)
        reports: list[Report] = []
        for key, _ in self._selector.select(timeout):
            if key.fileobj == self._wake:
                os.read(self._wake, _CHUNK)
            else:
                reports += self._receive(key.data)
        return reports

    def rest(self) -> None:
        """End the supervisors that have nothing to do and give their memory back; they come again when needed."""
        for heavy, supervisor in list(self._supervisors.items()):
            if not supervisor.live:
                del self._supervisors[heavy]
                self._selector.unregister(supervisor.socket)
                supervisor.close()

    def wake(self) -> None:
        """Make a waiting ``poll`` return; safe from other threads and from signal handlers."""
        # A full pipe wakes as well, and after close there is nobody to wake.
        with contextlib.suppress(OSError):
            os.write(self._wake_end, b"w")

    def close(self) -> None:
        """Kill everything that still runs and free all resources."""
        for supervisor in self._supervisors.values():
            supervisor.close()
        self._supervisors.clear()
        self._selector.close()
        os.close(self._wake)
        os.close(self._wake_end)
        self._wake_end = -1

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _supervisor(self, heavy: bool) -> _Supervisor:
        supervisor = self._supervisors.get(heavy)
        if supervisor is None:
            supervisor = self._supervisors[heavy] = _Supervisor(self._marker, self._preload[heavy])
            self._selector.register(supervisor.socket, selectors.EVENT_READ, heavy)
        return supervisor

    def _receive(self, heavy: bool) -> list[Report]:
        supervisor = self._supervisors[heavy]
        reports = supervisor.receive()
        if reports is None:
            return self._lost(heavy)
        supervisor.live.difference_update(report.id for report in reports if report.kind == "ended")
        return reports

    def _lost(self, heavy: bool) -> list[Report]:
        """Clean up after a dead supervisor; the next start gets a new one."""
        supervisor = self._supervisors.pop(heavy)
        self._selector.unregister(supervisor.socket)
        supervisor.close()
        return [Report(id=id_, kind="lost", cause="supervisor died") for id_ in sorted(supervisor.live)]
