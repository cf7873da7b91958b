"""Spark sessions of attempts: opened on a server that answers, guarded, and closed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import grpc
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.session import SparkSession as ConnectSession

from wfengine.errors import TaskFailed
from wfengine.spark.guards import Guard

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from structlog.typing import FilteringBoundLogger

    from wfengine.runs import TaskIdentity
    from wfengine.spark.touched import Touched

#: Seconds for a server to take the connection.
CONNECT_SECONDS = 3
#: A server that hangs counts as dead 9 s after its last sign of life; a busy one answers pings at once.
_KEEPALIVE = [
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 7_000),
    ("grpc.http2.ping_timeout_ms", 7_000),
    ("grpc.http2.max_pings_without_data", 0),
]
_SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.sources.default": "delta",
    # A compressed plan could not be read by the guard.
    "spark.connect.session.planCompression.threshold": "-1",
}


class _Builder(DefaultChannelBuilder):  # type: ignore[misc]
    """Makes channels that are connected and pass the guard."""

    def __init__(self, url: str, guard: Guard) -> None:
        super().__init__(url, channelOptions=_KEEPALIVE)
        self._address = url
        self._guard = guard

    def toChannel(self) -> grpc.Channel:  # noqa: N802 - the name is PySpark's
        channel = super().toChannel()
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            channel.close()
            raise TaskFailed(f"no Spark server answers at {self._address}; see spark.log in the run's folder") from None
        return self._guard.attach(channel)


def connect(
    url: str,
    *,
    warehouse: Path,
    base: Path,
    identity: TaskIdentity,
    log: FilteringBoundLogger,
    touched: Touched | None = None,
) -> SparkSession:
    """Open a session of its own on the server at ``url``, as in ``sc://localhost:50051``.

    Tables live in ``warehouse``; relative paths start at ``base``; commits are stamped with ``identity``; warnings
    about what the engine does differently go to ``log``; what is read and written is noted in ``touched``.
    Raises TaskFailed within 3 s when nothing answers there.
    """
    warehouse.mkdir(parents=True, exist_ok=True)
    builder = _Builder(url, Guard(warehouse.resolve(), base.resolve(), identity, log, touched))
    session = ConnectSession.builder.channelBuilder(builder).create()
    if touched:
        touched.session(session.session_id)
    # Where pyspark.sql.functions and SparkSession.builder.getOrCreate() look for the session.
    os.environ.update({"SPARK_CONNECT_MODE_ENABLED": "1", "SPARK_REMOTE": url})
    # PySpark would try a dead server again for ten minutes, and a write that did arrive a second time.
    session.client.set_retry_policies([])
    for key, value in _SETTINGS.items():
        session.conf.set(key, value)
    return cast("SparkSession", session)


def close(spark: SparkSession) -> None:
    """End the session; a server that is gone is no error."""
    spark.stop()
