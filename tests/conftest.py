"""What tests share that need the default Spark engine; one server serves them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import CapturingLogger

from wfengine.layer import TaskIdentity
from wfengine.sparkserver import SparkServer

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from wfengine.spark.tables import Tables


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--slow"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="a long proof; run it with --slow"))


@pytest.fixture(scope="session")
def spark_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server of the default engine."""
    pytest.importorskip("pysail", reason="needs the extra lakehouse")
    folder = tmp_path_factory.mktemp("spark")
    server = SparkServer.start(folder / "spark.log", folder / "warehouse")
    yield server.url
    server.stop()


@pytest.fixture
def identity() -> TaskIdentity:
    return TaskIdentity(
        job_id=1, job_name="job", run_id=7, task_key="load", task_run_id=9, trigger_time=1_700_000_000_000
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "warehouse"


@pytest.fixture
def warnings_logged() -> CapturingLogger:
    """The log of the session ``spark``; ``calls`` holds what was logged."""
    return CapturingLogger()


@pytest.fixture
def connect(
    spark_url: str, warehouse: Path, tmp_path: Path, identity: TaskIdentity, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., SparkSession]]:
    """Open further sessions as a worker does; they are closed after the test."""
    from wfengine.spark import session

    # Connecting sets these for user code; the next test must not see them.
    for name in ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    opened: list[SparkSession] = []

    def open_session(**changes: Any) -> SparkSession:
        settings = {"warehouse": warehouse, "base": tmp_path, "identity": identity, "log": CapturingLogger(), **changes}
        opened.append(session.connect(spark_url, **settings))
        return opened[-1]

    yield open_session
    for spark in opened:
        session.close(spark)


@pytest.fixture
def spark(connect: Callable[..., SparkSession], warnings_logged: CapturingLogger) -> SparkSession:
    """A session of an attempt on the warehouse of the test; relative paths start at ``tmp_path``."""
    return connect(log=warnings_logged)


@pytest.fixture
def tables(spark: SparkSession, warehouse: Path, identity: TaskIdentity) -> Tables:
    from wfengine.spark.tables import Tables

    return Tables(lambda: spark, warehouse, identity)
