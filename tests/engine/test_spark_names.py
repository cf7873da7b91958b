"""Names of tables mean folders of the warehouse, for every process (docs/semantics.md, section 10)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wfengine.errors import TaskFailed
from wfengine.spark.warehouse import exists, version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
deltalake = pytest.importorskip("deltalake")
pyarrow = pytest.importorskip("pyarrow")


def write(path: Path, *values: int, mode: str = "overwrite") -> None:
    """Write a table as another process would, without the engine."""
    deltalake.write_deltalake(str(path), pyarrow.table({"x": list(values)}), mode=mode)


def total(spark: SparkSession, query: str) -> int:
    return int(spark.sql(query).collect()[0][0] or 0)


@pytest.mark.parametrize(
    "name", ["orders", "bronze.orders", "dev.bronze.orders", "main.bronze.orders", "Bronze.ORDERS"]
)
def test_a_table_of_another_process_is_found_by_its_name(spark: SparkSession, warehouse: Path, name: str) -> None:
    from wfengine.spark.warehouse import table_path

    write(table_path(warehouse, name), 1, 2)
    if "." in name:
        assert total(spark, f"SELECT sum(x) FROM {name}") == 3
    assert spark.table(name.lower()).count() == 2


def test_what_another_process_adds_later_is_seen(spark: SparkSession, warehouse: Path) -> None:
    write(warehouse / "s" / "t", 1)
    assert total(spark, "SELECT sum(x) FROM s.t") == 1
    write(warehouse / "s" / "t", 10, mode="append")
    assert total(spark, "SELECT sum(x) FROM s.t") == 11


def test_a_table_that_another_process_removed_is_not_found(spark: SparkSession, warehouse: Path) -> None:
    import shutil

    write(warehouse / "s" / "t", 1)
    assert spark.table("s.t").count() == 1
    shutil.rmtree(warehouse / "s" / "t")
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND"):
        spark.table("s.t").count()


@pytest.mark.parametrize(
    ("name", "folder"),
    [("t", "default/t"), ("s.t", "s/t"), ("S.T", "s/t"), ("dev.s.t", "dev/s/t"), ("spark_catalog.s.t", "s/t")],
)
def test_a_new_table_lands_in_the_warehouse(spark: SparkSession, warehouse: Path, name: str, folder: str) -> None:
    spark.range(3).write.saveAsTable(name)
    spark.range(3).write.mode("append").saveAsTable(name)
    assert version(warehouse / folder) == 1
    assert spark.table(name).count() == 6


def test_the_order_of_columns_is_the_same_in_the_session_that_made_the_table(
    spark: SparkSession, connect: Callable[..., SparkSession]
) -> None:
    """The engine moves partition columns to the end, but not in its own catalog: an INSERT would swap the columns."""
    spark.sql("SELECT 1 AS day, 2 AS n").write.partitionBy("day").saveAsTable("s.t")
    for session in (spark, connect()):
        session.sql("INSERT INTO s.t SELECT 2, 1")
    assert [tuple(row) for row in spark.sql("SELECT DISTINCT day, n FROM s.t").collect()] == [(1, 2)]


def test_a_column_added_by_another_process_is_seen_by_the_session_that_made_the_table(
    spark: SparkSession, warehouse: Path
) -> None:
    spark.range(1).write.saveAsTable("s.t")
    deltalake.DeltaTable(str(warehouse / "s" / "t")).alter.add_columns([deltalake.Field("more", "integer")])
    assert spark.table("s.t").columns == ["id", "more"]


def test_a_new_session_sees_the_tables_of_one_that_ended(connect: Callable[..., SparkSession]) -> None:
    connect().range(3).write.saveAsTable("s.t")
    later = connect()
    later.range(2).write.mode("append").saveAsTable("s.t")
    assert later.table("s.t").count() == 5


def test_saving_over_a_table_of_another_process_is_refused_unless_asked_for(
    spark: SparkSession, warehouse: Path
) -> None:
    write(warehouse / "s" / "t", 1)
    with pytest.raises(Exception, match="already exists"):
        spark.range(1).write.saveAsTable("s.t")
    assert version(warehouse / "s" / "t") == 0


def test_sql_writes_to_tables_of_the_warehouse(spark: SparkSession, warehouse: Path) -> None:
    spark.sql("CREATE TABLE main.s.t AS SELECT 1 AS x")
    spark.sql("INSERT INTO S.T VALUES (2)")
    spark.sql("UPDATE s.t SET x = 5 WHERE x = 2")
    spark.sql("MERGE INTO s.t USING (SELECT 9 AS x) n ON t.x = n.x WHEN NOT MATCHED THEN INSERT *")
    spark.sql("DELETE FROM s.t WHERE x = 1")
    assert sorted(deltalake.DeltaTable(str(warehouse / "s" / "t")).to_pyarrow_table()["x"].to_pylist()) == [5, 9]


def test_columns_can_be_qualified_with_the_full_name_of_their_table(spark: SparkSession, warehouse: Path) -> None:
    write(warehouse / "dev" / "s" / "t", 4)
    write(warehouse / "s" / "t", 5)
    assert total(spark, "SELECT dev.s.t.x + main.s.t.x FROM dev.s.t CROSS JOIN main.s.t") == 9


def test_text_in_strings_is_left_alone(spark: SparkSession, warehouse: Path) -> None:
    write(warehouse / "dev" / "s" / "t", 4)
    assert spark.sql("SELECT 'dev.s.t' AS name FROM dev.s.t -- dev.s.t").collect()[0]["name"] == "dev.s.t"


@pytest.mark.parametrize("drop", ["DROP TABLE s.t", "DROP TABLE IF EXISTS main.s.t", "drop table S.t"])
def test_a_dropped_table_does_not_rise_again(
    spark: SparkSession, connect: Callable[..., SparkSession], warehouse: Path, drop: str
) -> None:
    write(warehouse / "s" / "t", 1)
    spark.sql(drop)
    assert not (warehouse / "s" / "t").exists()
    assert not connect().catalog.tableExists("s.t")
    spark.range(2).write.saveAsTable("s.t")
    assert spark.table("s.t").count() == 2


def test_dropping_what_is_not_there_is_an_error_unless_asked_for(spark: SparkSession) -> None:
    spark.sql("DROP TABLE IF EXISTS s.t")
    with pytest.raises(Exception, match="not found"):
        spark.sql("DROP TABLE s.t")


def test_a_schema_is_a_folder_and_can_be_the_current_one(
    spark: SparkSession, connect: Callable[..., SparkSession], warehouse: Path
) -> None:
    spark.sql("CREATE SCHEMA IF NOT EXISTS silver COMMENT 'clean'")
    spark.sql("USE silver")
    spark.range(3).write.saveAsTable("t")
    assert exists(warehouse / "silver" / "t")
    other = connect()
    other.sql("CREATE SCHEMA IF NOT EXISTS silver")
    other.catalog.setCurrentDatabase("silver")
    assert other.table("t").count() == total(other, "SELECT count(*) FROM t") == 3


def test_the_catalog_lists_what_is_in_the_warehouse(spark: SparkSession, warehouse: Path) -> None:
    for name in ("a", "b"):
        write(warehouse / "s" / name, 1)
    (warehouse / "s" / "no_table").mkdir()
    assert sorted(table.name for table in spark.catalog.listTables("s")) == ["a", "b"]
    assert sorted(row["tableName"] for row in spark.sql("SHOW TABLES IN s").collect()) == ["a", "b"]
    assert spark.catalog.tableExists("s.a")
    assert spark.catalog.tableExists("main.s.b")
    assert not spark.catalog.tableExists("s.no_table")


def test_a_view_on_a_table_of_the_warehouse_can_be_used(spark: SparkSession, warehouse: Path) -> None:
    write(warehouse / "s" / "t", 1, 2)
    spark.table("s.t").createOrReplaceTempView("v")
    spark.sql("CREATE OR REPLACE TEMP VIEW w AS SELECT * FROM v")
    assert total(spark, "SELECT count(*) FROM w") == 2


@pytest.mark.parametrize("name", ["a-b", "a.b.c.d", "`../x`.t"])
def test_a_name_that_leaves_the_warehouse_or_is_none_is_refused(spark: SparkSession, name: str) -> None:
    with pytest.raises(TaskFailed, match="is not a table name"):
        spark.range(1).write.saveAsTable(name)
