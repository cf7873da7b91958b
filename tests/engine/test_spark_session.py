"""Sessions on a server that answers, that never did, and that dies (docs/reliability.md, T16)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import CapturingLogger

from wfengine.errors import TaskFailed
from wfengine.layer import TaskIdentity
from wfengine.sparkserver import SparkServer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def open_session(url: str, folder: Path, identity: TaskIdentity) -> SparkSession:
    from wfengine.spark import session

    return session.connect(url, warehouse=folder / "warehouse", base=folder, identity=identity, log=CapturingLogger())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SparkServer]:
    """A server of this test alone."""
    started = SparkServer.start(tmp_path / "spark.log", tmp_path / "warehouse")
    yield started
    started.stop()


def test_a_session_speaks_utc_and_delta(spark: SparkSession) -> None:
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.sources.default") == "delta"


def test_functions_and_get_or_create_find_the_session(spark: SparkSession) -> None:
    from pyspark.sql import SparkSession as Face
    from pyspark.sql import functions

    assert spark.range(2).select(functions.col("id") + functions.lit(1)).count() == 2
    assert Face.builder.getOrCreate() is spark


def test_sessions_do_not_share_views(connect: Callable[..., SparkSession]) -> None:
    connect().range(1).createOrReplaceTempView("mine")
    assert not connect().catalog.tableExists("mine")


def test_an_unreachable_server_is_named_at_once(tmp_path: Path, identity: TaskIdentity) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"sc://localhost:{free.getsockname()[1]}"
        with pytest.raises(TaskFailed, match=f"no Spark server answers at {url}"):
            open_session(url, tmp_path, identity)


def test_a_server_that_dies_fails_the_running_query_soon(
    server: SparkServer, tmp_path: Path, identity: TaskIdentity
) -> None:
    """docs/reliability.md, T16: within ten seconds, where the client alone would try for ten minutes."""
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException

    from wfengine.spark import session

    spark = open_session(server.url, tmp_path, identity)
    endless = spark.range(10**12).selectExpr("sum(hash(id))")
    threading.Timer(0.5, server.stop).start()
    with pytest.raises(SparkConnectGrpcException):
        endless.collect()
    with pytest.raises(SparkConnectGrpcException):
        spark.range(1).collect()
    session.close(spark)
    assert spark.client.get_retry_policies() == []


@pytest.mark.slow
def test_a_server_that_hangs_fails_the_running_query_soon(
    server: SparkServer, tmp_path: Path, identity: TaskIdentity
) -> None:
    """docs/reliability.md, T16: its process lives and its port takes connections, but nothing answers."""
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException

    from wfengine.spark import session

    spark = open_session(server.url, tmp_path, identity)
    endless = spark.range(10**12).selectExpr("sum(hash(id))")
    threading.Timer(0.5, os.kill, (server.pid, signal.SIGSTOP)).start()
    try:
        with pytest.raises(SparkConnectGrpcException):
            endless.collect()
    finally:
        os.kill(server.pid, signal.SIGCONT)
    session.close(spark)


def test_every_relation_of_a_deep_plan_is_looked_at(spark: SparkSession) -> None:
    from wfengine.spark.plans import relations_in

    frame = spark.range(3)
    for number in range(300):
        frame = frame.withColumn(f"c{number}", frame["id"] + number)
    plan = frame._plan.to_proto(spark.client)
    assert [relation.WhichOneof("rel_type") for relation in relations_in(plan)] == ["with_columns"] * 300 + ["range"]
