"""Keep out a write that a killed client left behind: the engine goes on with it, and would commit it later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from wfengine.spark.stamp import properties
from wfengine.spark.warehouse import PRIVATE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.session import SparkSession as ConnectSession

#: Table property that a fence sets; its value is what it was put up for.
PROPERTY = "wfengine.fence"


@contextmanager
def writing(spark: SparkSession, table: Path) -> Iterator[None]:
    """Say in the table's folder which session writes; a process that dies within leaves that behind.

    What an earlier one left is stopped first. Call it within the table's lock.
    """
    marker = table / PRIVATE / "writing"
    stop_left_behind(spark, table)
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(cast("ConnectSession", spark).session_id)
    try:
        yield
    finally:
        # The whole table may have been dropped meanwhile.
        marker.unlink(missing_ok=True)


def stop_left_behind(spark: SparkSession, table: Path) -> None:
    """Stop what the session of a killed writer still does; without such a writer do nothing."""
    marker = table / PRIVATE / "writing"
    try:
        session = marker.read_text().strip()
    except FileNotFoundError:
        return
    connect = cast("ConnectSession", spark)
    if session != connect.session_id:
        interrupt(connect, session)


def put_up(table: Path, what: str, stamp: str) -> None:
    """Change the table's metadata, so that an append that has begun to write by now fails when it commits.

    ``what`` names the reason, ``stamp`` goes on the commit.

    Delta refuses a commit when the table's metadata changed since the writer looked at it; appends never conflict
    otherwise.
    """
    import deltalake

    deltalake.DeltaTable(str(table)).alter.set_table_properties(
        {PROPERTY: what}, raise_if_not_exists=False, commit_properties=properties(stamp)
    )


def interrupt(spark: ConnectSession, session: str) -> None:
    """Stop whatever another session of the same server is doing."""
    import grpc
    from pyspark.sql.connect.proto import base_pb2 as proto

    client = spark.client
    request = proto.InterruptRequest(session_id=session, interrupt_type=proto.InterruptRequest.INTERRUPT_TYPE_ALL)
    request.user_context.user_id = client._user_id or ""
    try:
        client._stub.Interrupt(request, metadata=client._builder.metadata())
    except grpc.RpcError:
        # The server that the dead client used is gone, and what it did went with it.
        return
