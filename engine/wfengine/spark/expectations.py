"""Statements about tables, checked after an attempt's writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wfengine.jobs import Expectation
from wfengine.runs import ExpectationFact

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from wfengine.spark.tables import Tables


def check(spark: SparkSession, tables: Tables, expectations: Iterable[Expectation]) -> list[ExpectationFact]:
    """Return how each expectation came out, in order.

    Rows for which ``where`` is false or null break it, as do the rows that ``query`` returns. What cannot be checked
    (a missing table, SQL that does not parse) is not met; the message says why.
    """
    return [_check(spark, tables, expectation) for expectation in expectations]


def _check(spark: SparkSession, tables: Tables, expectation: Expectation) -> ExpectationFact:
    try:
        failed = _failures(spark, tables, expectation)
    except Exception as error:  # noqa: BLE001 - whatever the engine raises is the answer
        return _fact(expectation, passed=False, message=f"could not be checked: {_first_line(error)}")
    if failed:
        what = "rows returned" if expectation.query else f"rows of {expectation.table} break: {expectation.where}"
        return _fact(expectation, passed=False, failed_rows=failed, message=f"{failed} {what}")
    return _fact(expectation, passed=True)


def _failures(spark: SparkSession, tables: Tables, expectation: Expectation) -> int:
    if expectation.query:
        return int(spark.sql(expectation.query).count())
    rows = tables.read(expectation.table)
    return int(rows.where(f"NOT coalesce(({expectation.where}), false)").count())


def _fact(expectation: Expectation, *, passed: bool, failed_rows: int = 0, message: str = "") -> ExpectationFact:
    return ExpectationFact(
        name=expectation.name, passed=passed, failed_rows=failed_rows, on_fail=expectation.on_fail, message=message
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
