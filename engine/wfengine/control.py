"""How other processes reach a daemon, or whoever executes a run: they write to the store, and then knock.

The knock is a byte in a named pipe in the home, or in the folder of the run. It carries nothing, so there is nothing to
parse or to forge: it only makes the other look at the store now.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from wfengine import log
from wfengine.errors import LockedError, StateError
from wfengine.home import FileLock, open_private, private_folder

#: Names in the home.
LOCK, PID, DOOR = "daemon.lock", "daemon.pid", "daemon.door"
#: Name in the folder of a run that a process executes itself.
RUN_DOOR = "door"


class Seat:
    """The one place for a daemon in a home; the kernel frees it when its holder dies."""

    def __init__(self, home: Path, lock: FileLock) -> None:
        self._home, self._lock = home, lock

    @classmethod
    def take(cls, home: Path) -> Seat:
        """Take the place; LockedError names the process that has it."""
        try:
            lock = FileLock.take(private_folder(home) / LOCK)
            if lock is None:
                holder = _holder(home) or "unknown"
                raise LockedError(f"the daemon with process id {holder} holds {home}: stop it, or name another home")
            with open(open_private(home / PID, os.O_WRONLY | os.O_TRUNC), "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as error:
            raise StateError(f"{home} cannot be used: {error.strerror or error}") from error
        return cls(home, lock)

    def leave(self) -> None:
        """Free the place."""
        (self._home / PID).unlink(missing_ok=True)
        self._lock.release()


def _holder(home: Path) -> int | None:
    """Return the process that has the lock; if it has only just taken it, wait until its id replaces an old one."""
    for _ in range(100):
        pid = daemon_pid(home)
        if pid is not None and _there(pid):
            return pid
        time.sleep(0.01)
    return None


def _there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def daemon_pid(home: Path) -> int | None:
    """Return the process id that the home's daemon wrote down, None when there is none to read."""
    try:
        return int((home / PID).read_text())
    except (OSError, ValueError):
        return None


def daemon_alive(home: Path) -> bool:
    """Whether a daemon listens in the home now; asks without its lock, which a starting daemon would miss."""
    return _knock(home, b"")


def knock(home: Path, door: str = DOOR) -> bool:
    """Tell the daemon that there is something for it in the store; False when none listens.

    With the folder of a run and RUN_DOOR it tells whoever executes that run.
    """
    return _knock(home, b"k", door)


def _knock(home: Path, knocks: bytes, door: str = DOOR) -> bool:
    """Open the pipe, which goes only when somebody listens, and write ``knocks``."""
    try:
        descriptor = os.open(home / door, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise StateError(f"cannot reach who listens at {home / door}: {error.strerror}") from error
    try:
        os.write(descriptor, knocks)
    except BlockingIOError:
        # The pipe is full of knocks nobody has heard yet.
        return True
    finally:
        os.close(descriptor)
    return True


class Door:
    """Waits for knocks on a thread of its own and calls ``wake`` for each."""

    def __init__(self, home: Path, wake: Callable[[], None], door: str = DOOR) -> None:
        path = home / door
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
        # Opened for writing as well, so that the last knocker's leaving is no end of file.
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._path, self._wake, self._open = path, wake, True
        self._thread = threading.Thread(target=self._listen, name="wfengine-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._open = False
        os.write(self._descriptor, b"q")
        self._thread.join()
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)

    def _listen(self) -> None:
        while self._open:
            os.read(self._descriptor, 4096)
            self._wake()


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager (systemd's notify protocol) a ``state`` such as ``READY=1``.

    Waits for nobody. False when there is a manager that cannot be reached; True when it heard, and without one.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return True
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
    except OSError:
        return False
    return True


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often the service manager wants to hear ``WATCHDOG=1``; half of its limit, None without one."""
    try:
        return int(environ["WATCHDOG_USEC"]) / 2_000_000
    except (KeyError, ValueError):
        return None


class ServiceManager:
    """Keeps the service manager told; one that does not hear is no reason to end, it ends whom it misses itself."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._every = watchdog_seconds(environ)
        self._due = 0.0
        self._deaf = False

    def tell(self, state: str) -> None:
        """Tell a state such as ``READY=1``; that nobody hears is logged once."""
        deaf = not notify(state, self._environ)
        if deaf and not self._deaf:
            log.get().warning("the service manager cannot be reached", NOTIFY_SOCKET=self._environ["NOTIFY_SOCKET"])
        self._deaf = deaf

    def keep_alive(self, now: float) -> list[float]:
        """Tell the watchdog that the loop turns, as often as it wants; return the seconds until it has to hear again.

        ``now`` is a monotonic time in seconds. Empty without a watchdog.
        """
        if self._every is None:
            return []
        if now >= self._due:
            self.tell("WATCHDOG=1")
            self._due = now + self._every
        return [self._due - now]
