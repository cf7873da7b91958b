"""The Spark server that attempts share: started on first need, replaced when it died, ended when nobody needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from wfengine.errors import UsageError
from wfengine.executor import MARKER
from wfengine.settings import Settings
from wfengine.sparkserver import SparkServer


class SparkServers:
    """Keeps at most one server.

    Its output goes to ``log_file``, its process carries the marker ``mark``, and ``bases`` gives the folders whose
    modules the functions of users import.
    """

    def __init__(self, log_file: Path, found: Settings, mark: str, bases: Callable[[], Sequence[Path]]) -> None:
        self._log_file, self._settings, self._mark, self._bases = log_file, found, mark, bases
        self._server: SparkServer | None = None

    def acquire(self) -> SparkServer:
        """Return a live server; raises WfengineError when none can be had."""
        if self._settings.spark.master != "sail":
            raise UsageError(f"spark.master is {self._settings.spark.master!r}; only 'sail' is supported yet")
        if self._server is None or not self._server.alive():
            self.close()
            self._server = SparkServer.start(
                self._log_file, self._settings.warehouse, env={MARKER: self._mark}, modules=self._bases()
            )
        return self._server

    def close(self) -> None:
        """End the server if there is one."""
        if self._server is not None:
            self._server.stop()
            self._server = None
