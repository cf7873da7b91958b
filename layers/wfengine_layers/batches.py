"""Add a planned batch of rows to a table exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wfengine.runs import TableFact
from wfengine.spark import deltalog
from wfengine.spark.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def add(tables: Tables, table: str, rows: DataFrame, batch_id: str, *, replay: bool) -> TableFact:
    """Append the rows of a batch; new columns are added to the table, columns that the rows lack are null.

    With ``replay`` rows that an earlier attempt has committed are left as they are: they are one commit, so all of
    them are there, and they would come out the same. Call it within the table's lock.
    """
    known = deltalog.snapshot(tables.path(table))
    rows = padded(rows, known.schema) if known else rows
    return tables.append_once(table, rows, batch_id, replay=replay, evolve=True)


def padded(frame: DataFrame, table: Mapping[str, Any]) -> DataFrame:
    """Add the columns of a table's schema that a frame lacks, as nulls: the default engine appends no rows without."""
    from pyspark.sql import functions
    from pyspark.sql.types import StructType

    has = {column.lower() for column in frame.columns}
    missing = [field for field in StructType.fromJson(dict(table)).fields if field.name.lower() not in has]
    nulls = {field.name: functions.lit(None).cast(field.dataType) for field in missing}
    return frame.withColumns(nulls) if nulls else frame
