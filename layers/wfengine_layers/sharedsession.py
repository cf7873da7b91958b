"""Make user code that asks pyspark for a session get the attempt's own, whichever way it asks."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wfengine.layer import TaskContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Builder options that say where Spark runs; the settings of the engine decide that.
_PLACE = ("spark.master", "spark.remote", "spark.app.name", "spark.api.mode")


@contextmanager
def shared_session(context: TaskContext[Any]) -> Iterator[Callable[[], SparkSession]]:
    """Give the function that opens the attempt's session on first use, and lend that session to pyspark.

    A session that user code made by itself would go round the guards of ``context.spark``. While the block runs,
    ``SparkSession.builder`` and ``SparkSession.active()`` therefore return the attempt's session, with the SQL options
    asked for, and ``spark.stop()`` leaves it open: the engine still needs it and ends it after the attempt.
    """
    opened: list[SparkSession] = []

    def open_session() -> SparkSession:
        if not opened:
            opened.append(context.spark)
            # Opening a session sets it again.
            os.environ.pop("SPARK_REMOTE", None)
            vars(opened[0])["stop"] = _keep_open
        return opened[0]

    with _environment(), _lookups(open_session):
        try:
            yield open_session
        finally:
            for session in opened:
                vars(session).pop("stop", None)


def _keep_open() -> None:
    sys.stderr.write("spark.stop() has no effect in a task: its session ends with it\n")


@contextmanager
def _environment() -> Iterator[None]:
    """Let pyspark's functions work before the session is open, and ``.master(...)`` of scripts written for a laptop.

    pyspark refuses ``.master(...)`` while SPARK_REMOTE is set; nothing here needs the variable.
    """
    before = dict(os.environ)
    os.environ.pop("SPARK_REMOTE", None)
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"
    try:
        yield
    finally:
        for name in ("SPARK_REMOTE", "SPARK_CONNECT_MODE_ENABLED"):
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)


@contextmanager
def _lookups(open_session: Callable[[], SparkSession]) -> Iterator[None]:
    """Replace pyspark's ways to find or make a session; without pyspark there is nothing to replace."""
    if importlib.util.find_spec("pyspark") is None:
        yield
        return
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    def active(_: type[ConnectSession]) -> SparkSession:
        return open_session()

    def get_or_create(builder: SparkSession.Builder) -> SparkSession:
        # pyspark has no public way to read a builder's options.
        options = {name: value for name, value in builder._options.items() if name not in _PLACE}
        session: SparkSession = ConnectSession.builder.config(map=options).getOrCreate()
        return session

    builder: Any = SparkSession.Builder
    before = builder.getOrCreate, builder.create, vars(ConnectSession)["getActiveSession"]
    builder.getOrCreate = builder.create = get_or_create
    ConnectSession.getActiveSession = classmethod(active)
    try:
        yield
    finally:
        builder.getOrCreate, builder.create, ConnectSession.getActiveSession = before
