"""The default Spark engine as a process of its own: a Spark Connect server on the loopback address.

``main`` is the server's side; the engine's process loads neither pysail nor pyspark.
"""

from __future__ import annotations

import importlib.util
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from wfengine.clock import SystemClock
from wfengine.errors import StateError, missing_extra
from wfengine.failpoints import failpoint

#: Seconds a server may take until its port answers.
START_LIMIT = 10.0
#: Seconds it may take to end when asked.
STOP_LIMIT = 2.0
#: Settings of pysail that the caller's own environment may override. By default a task that computes for 15 minutes
#: without a query loses its session, with all its views.
_SETTINGS = {"SAIL_SPARK__SESSION_TIMEOUT_SECS": "604800"}
#: Users' Python functions run in the server; their local time does not depend on where the machine stands.
_FORCED = {"TZ": "UTC"}
_LOG_LINES = 20
#: User functions run in the server, so it sees the modules the engine sees.
_BOOT = "import os, sys; sys.path[:] = sys.argv.pop().split(os.pathsep); from wfengine.sparkserver import main; main()"


class SparkServer:
    """A running server; it ends with its owner, whose end of its standard input closes then."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        #: Address for clients; with the address in numbers the client would behave differently.
        self.url = f"sc://localhost:{port}"

    @classmethod
    def start(
        cls, log: Path, warehouse: Path, *, env: Mapping[str, str] | None = None, modules: Sequence[Path] = ()
    ) -> SparkServer:
        """Start a server and return when its port answers.

        Its output goes to ``log``, its working directory is the folder of the warehouse, ``env`` is added to its
        environment, and ``modules`` are folders whose modules user functions may import. Raises MissingExtraError
        without pysail, and StateError with the last lines of the log when it does not start within 10 seconds.
        """
        if importlib.util.find_spec("pysail") is None:
            raise missing_extra("lakehouse", "the Spark engine 'sail'")
        process = _spawn(log, warehouse.parent, env or {}, modules)
        port = _port(process)
        if port is None:
            process.kill()
            process.communicate()
            raise StateError(f"the Spark server did not start: {_exit(process.returncode)}; {_last_lines(log)}")
        return cls(process, port)

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    def alive(self) -> bool:
        """Tell, without waiting, whether the process still runs."""
        return self._process.poll() is None

    def exit_cause(self) -> str:
        """Say how the server ended, as in ``Spark server ended by signal 9``; empty while it runs."""
        return "" if self.alive() else f"Spark server {_exit(self._process.returncode)}"

    def stop(self) -> None:
        """End the server; what its clients still run is lost."""
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()


def _spawn(log: Path, folder: Path, env: Mapping[str, str], modules: Sequence[Path]) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = [*map(str, modules), *sys.path]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    failpoint("sparkserver.before_spawn")
    try:
        return subprocess.Popen(
            [sys.executable, "-c", _BOOT, os.pathsep.join(os.path.abspath(entry) for entry in path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=descriptor,
            cwd=folder,
            env={**_SETTINGS, **os.environ, **_FORCED, **env},
            start_new_session=True,
        )
    finally:
        os.close(descriptor)


def _port(process: subprocess.Popen[bytes]) -> int | None:
    """Return the port that the server names and that answers; None when it names none in time."""
    clock = SystemClock()
    deadline = clock.monotonic() + START_LIMIT
    stdout = _pipe(process.stdout)
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([stdout], [], [], max(deadline - clock.monotonic(), 0))
        more = os.read(stdout.fileno(), 64) if ready else b""
        if not more:
            return None
        said += more
    try:
        socket.create_connection(("127.0.0.1", int(said)), max(deadline - clock.monotonic(), 0.1)).close()
    except (OSError, ValueError):
        return None
    return int(said)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without this pipe")
    return stream


def _exit(code: int) -> str:
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return f"the end of {log}:\n" + "\n".join(lines) if lines else f"{log} is empty"


def main() -> None:
    """Serve Spark Connect on a free port, say which on standard output, and end when standard input does."""
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    address = server.listening_address
    os.write(1, f"{address[1] if address else ''}\n".encode())
    # Whatever a user function prints goes to the log, since nobody reads the pipe any more.
    os.dup2(2, 1)
    while os.read(0, 4096):
        continue
    # An orderly stop would wait for every session.
    os._exit(0)
