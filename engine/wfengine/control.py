"""How other processes reach a daemon: they write to the store, and then knock.

The knock is a byte in a named pipe in the home. It carries nothing, so there is nothing to parse or to forge: it only
makes the daemon look at the store now instead of within its next poll.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from wfengine.errors import LockedError, StateError
from wfengine.home import FileLock, open_private, private_folder

#: Names in the home.
LOCK, PID, DOOR = "daemon.lock", "daemon.pid", "daemon.door"


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
                holder = daemon_pid(home) or "unknown"
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


def daemon_pid(home: Path) -> int | None:
    """Return the process id that the home's daemon wrote down, None when there is none to read."""
    try:
        return int((home / PID).read_text())
    except (OSError, ValueError):
        return None


def daemon_alive(home: Path) -> bool:
    """Whether a daemon holds the home now."""
    if not (home / LOCK).exists():
        return False
    lock = FileLock.take(home / LOCK)
    if lock is None:
        return True
    lock.release()
    return False


def knock(home: Path) -> bool:
    """Tell the daemon that there is something for it in the store; False when none listens."""
    try:
        descriptor = os.open(home / DOOR, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise StateError(f"cannot reach the daemon of {home}: {error.strerror}") from error
    try:
        os.write(descriptor, b"k")
    except BlockingIOError:
        # The pipe is full of knocks nobody has heard yet.
        return True
    finally:
        os.close(descriptor)
    return True


class Door:
    """Waits for knocks on a thread of its own and calls ``wake`` for each."""

    def __init__(self, home: Path, wake: Callable[[], None]) -> None:
        path = home / DOOR
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


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Tell the service manager (systemd's notify protocol) a ``state`` such as ``READY=1``; silent without one."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            raise StateError(f"NOTIFY_SOCKET {address} cannot be reached: {error.strerror}") from error


def watchdog_seconds(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return how often the service manager wants to hear ``WATCHDOG=1``; half of its limit, None without one."""
    try:
        return int(environ["WATCHDOG_USEC"]) / 2_000_000
    except (KeyError, ValueError):
        return None
