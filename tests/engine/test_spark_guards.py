"""The default engine's silent traps are errors or done right (docs/reliability.md, E6, E7, E8; docs/engines.md).

Every table is checked through its Delta log or deltalake, not only through the engine that wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from wfengine.errors import TaskFailed
from wfengine.spark import deltalog
from wfengine.spark.warehouse import version

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from structlog.testing import CapturingLogger

pytestmark = [pytest.mark.spark, pytest.mark.faults]
deltalake = pytest.importorskip("deltalake")

Rows = Callable[..., "DataFrame"]


@pytest.fixture
def rows(spark: SparkSession) -> Rows:
    """Build a frame from rows and a DDL schema."""
    return lambda schema, *values: spark.createDataFrame(list(values), schema)


def content(path: Path) -> list[tuple[Any, ...]]:
    """Read a table without the engine, columns in the order of their names."""
    table = deltalake.DeltaTable(str(path)).to_pyarrow_table()
    return sorted((tuple(row[name] for name in sorted(row)) for row in table.to_pylist()), key=repr)


@pytest.fixture
def table(rows: Rows, warehouse: Path) -> Path:
    """``s.t`` with the columns k and v, one row of which has no key."""
    rows("k int, v string", (1, "a"), (2, "b"), (None, "c")).write.partitionBy("k").saveAsTable("s.t")
    return warehouse / "s" / "t"


# Readers


@pytest.mark.parametrize("kind", ["csv", "json", "parquet", "text", "delta"])
def test_a_missing_path_is_an_error_that_names_it(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    """docs/reliability.md, E8: the engine answers with an empty frame."""
    with pytest.raises(TaskFailed, match=rf"\[PATH_NOT_FOUND\] Path does not exist: {tmp_path}/none/x"):
        spark.read.format(kind).load("none/x").collect()


def test_a_missing_path_is_an_error_when_only_the_schema_is_asked_for(spark: SparkSession) -> None:
    with pytest.raises(TaskFailed, match="PATH_NOT_FOUND"):
        spark.read.csv("none.csv").printSchema()


def test_a_missing_path_deep_in_a_plan_is_an_error(spark: SparkSession) -> None:
    other = spark.read.schema("id long").parquet("none")
    with pytest.raises(TaskFailed, match="PATH_NOT_FOUND"):
        spark.range(3).join(other, "id", "left").groupBy("id").count().collect()


def test_portable_code_can_catch_the_error_as_spark_raises_it(spark: SparkSession) -> None:
    from pyspark.errors import AnalysisException

    with pytest.raises(AnalysisException) as caught:
        spark.read.parquet("none").collect()
    assert caught.value.getCondition() == "PATH_NOT_FOUND"


def test_a_pattern_that_matches_nothing_is_an_error(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert spark.read.csv("*.csv", header=True).count() == 1
    with pytest.raises(TaskFailed, match="PATH_NOT_FOUND"):
        spark.read.csv("*.tsv").collect()


def test_an_empty_folder_has_no_schema(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TaskFailed, match=r"\[UNABLE_TO_INFER_SCHEMA\].*empty holds no file"):
        spark.read.parquet("empty").collect()


def test_a_folder_without_a_log_is_no_delta_table(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match=f"{tmp_path} is not a Delta table"):
        spark.read.format("delta").load(".").collect()


def test_a_relative_path_starts_at_the_folder_of_the_job_file(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(3).write.parquet("out/p")
    spark.range(2).write.save("out/d")
    assert list((tmp_path / "out" / "p").glob("*.parquet"))
    assert version(tmp_path / "out" / "d") == 0
    assert spark.read.parquet("out/p").count() == 3
    assert spark.read.load("out/d").count() == 2
    assert spark.sql("SELECT count(*) AS n FROM delta.`out/d`").head()["n"] == 2


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [("text", "wholetext", "true"), ("csv", "encoding", "latin-1"), ("json", "charset", "utf-16")],
)
def test_an_option_of_a_reader_that_would_be_ignored_is_refused(
    spark: SparkSession, tmp_path: Path, kind: str, option: str, value: str
) -> None:
    (tmp_path / "a").write_text("x\n")
    with pytest.raises(TaskFailed, match="this engine ignores the option"):
        spark.read.format(kind).option(option, value).load("a").collect()


def test_a_large_binary_file_is_refused_because_it_is_read_twice(spark: SparkSession, tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(16 * 1024 * 1024 + 1)
    with pytest.raises(TaskFailed, match=r"large\.bin, which has more than 16 MiB, twice"):
        spark.read.format("binaryFile").load("large.bin").count()


def test_reading_raw_text_through_the_engine_is_warned_of_once(
    spark: SparkSession, tmp_path: Path, warnings_logged: CapturingLogger
) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    for _ in range(2):
        spark.read.csv("a.csv").collect()
    assert [call.args[0].split(" ")[0] for call in warnings_logged.calls] == ["spark.read.csv"]


# Columns and types


def write_path(frame: DataFrame, path: Path, mode: str) -> None:
    frame.write.format("delta").mode(mode).save(str(path))


def write_name(frame: DataFrame, path: Path, mode: str) -> None:
    frame.write.mode(mode).saveAsTable("s.t")


WRITERS = [pytest.param(write_path, id="path"), pytest.param(write_name, id="name")]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("write", WRITERS)
def test_a_new_column_is_refused_by_name(rows: Rows, table: Path, write: Callable[..., None], mode: str) -> None:
    with pytest.raises(TaskFailed, match=r"\[DELTA_METADATA_MISMATCH\].*no column extra, more"):
        write(rows("k int, extra int, v string, more int", (9, 9, "z", 9)), table, mode)
    assert content(table) == [(1, "a"), (2, "b"), (None, "c")]


@pytest.mark.parametrize("write", WRITERS)
def test_a_new_column_is_added_with_merge_schema(
    rows: Rows, table: Path, warehouse: Path, write: Callable[..., None]
) -> None:
    frame = rows("k int, extra int, v string", (9, 8, "z"))
    frame.write.mode("append").option("mergeSchema", "true").saveAsTable("s.t")
    assert content(table) == [(8, 9, "z"), (None, 1, "a"), (None, 2, "b"), (None, None, "c")]


def test_the_setting_of_automatic_evolution_adds_columns_too(spark: SparkSession, rows: Rows, table: Path) -> None:
    spark.conf.set("spark.databricks.delta.schema.autoMerge.enabled", "true")
    rows("k int, extra int, v string", (9, 8, "z")).write.mode("append").saveAsTable("s.t")
    assert (8, 9, "z") in content(table)


def test_an_overwrite_of_the_schema_may_change_everything(rows: Rows, table: Path) -> None:
    rows("other double", (1.5,)).write.mode("overwrite").option("overwriteSchema", "true").save(str(table))
    assert content(table) == [(1.5,)]


@pytest.mark.parametrize(
    ("kind", "value"), [("double", 1.9), ("string", "7"), ("bigint", 5_000_000_000), ("date", None)]
)
def test_an_append_by_path_of_another_type_is_refused(rows: Rows, table: Path, kind: str, value: object) -> None:
    with pytest.raises(TaskFailed, match=r"\[DELTA_FAILED_TO_MERGE_FIELDS\].*column k .* has the type integer"):
        write_path(rows(f"k {kind}, v string", (value, "z")), table, "append")
    assert version(table) == 0


@pytest.mark.parametrize(("kind", "value"), [("string", "7"), ("date", None), ("boolean", True)])
def test_an_append_by_name_of_a_type_that_cannot_be_stored_is_refused(
    rows: Rows, table: Path, kind: str, value: object
) -> None:
    with pytest.raises(TaskFailed, match="DELTA_FAILED_TO_MERGE_FIELDS"):
        write_name(rows(f"k {kind}, v string", (value, "z")), table, "append")
    assert version(table) == 0


def test_a_type_that_fits_without_loss_is_converted(rows: Rows, table: Path) -> None:
    write_path(rows("k tinyint, v string", (9, "z")), table, "append")
    assert (9, "z") in content(table)


def test_a_field_within_a_struct_is_compared_too(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "nested"
    write_path(rows("s struct<a: int>", ((1,),)), path, "append")
    with pytest.raises(
        TaskFailed, match=r"column s .* struct<a: integer>, the rows to write have struct<a: integer, b: integer>"
    ):
        write_path(rows("s struct<a: int, b: int>", ((1, 2),)), path, "append")


def test_insert_by_position_compares_column_by_column(rows: Rows, table: Path) -> None:
    with pytest.raises(TaskFailed, match="INSERT_COLUMN_ARITY_MISMATCH"):
        rows("v string, k int, extra int", ("z", 9, 9)).write.insertInto("s.t")
    with pytest.raises(TaskFailed, match="DELTA_FAILED_TO_MERGE_FIELDS"):
        rows("v string, k string", ("z", "9")).write.insertInto("s.t")
    rows("a string, b int", ("z", 9)).write.insertInto("s.t")
    assert (9, "z") in content(table)


def test_an_insert_by_name_in_sql_does_not_drop_a_column(spark: SparkSession, table: Path) -> None:
    with pytest.raises(TaskFailed, match="no column extra"):
        spark.sql("INSERT INTO s.t BY NAME SELECT 9 AS k, 'z' AS v, 1 AS extra")
    spark.sql("INSERT INTO s.t  by  name SELECT 'z' AS v, 9 AS k")
    assert (9, "z") in content(table)


def test_write_to_does_not_drop_a_column(rows: Rows, table: Path) -> None:
    with pytest.raises(TaskFailed, match="no column extra"):
        rows("k int, v string, extra int", (9, "z", 1)).writeTo("s.t").append()
    rows("k int, v string", (9, "z")).writeTo("s.t").append()
    assert (9, "z") in content(table)


def test_columns_that_differ_in_case_alone_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match=r"\[DELTA_DUPLICATE_COLUMNS_FOUND\].*: ID, id"):
        spark.sql("SELECT 1 AS id, 2 AS ID").write.save("twice")
    assert version(tmp_path / "twice") == -1


def test_columns_of_a_new_table_may_be_null_as_delta_makes_them(spark: SparkSession, warehouse: Path) -> None:
    spark.sql("SELECT 1 AS id, 'x' AS name").write.saveAsTable("s.fresh")
    spark.sql("SELECT CAST(NULL AS INT) AS id, CAST(NULL AS STRING) AS name").write.mode("append").saveAsTable(
        "s.fresh"
    )
    assert content(warehouse / "s" / "fresh") == [(1, "x"), (None, None)]


def test_a_table_with_column_mapping_is_not_touched_by_deltalake(rows: Rows, table: Path) -> None:
    """docs/reliability.md, E7: deltalake would write NULL."""
    commit = table / "_delta_log" / f"{0:020d}.json"
    lines = [json.loads(line) for line in commit.read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"] = {"delta.columnMapping.mode": "name"}
    commit.write_text("\n".join(json.dumps(line) for line in lines))
    with pytest.raises(TaskFailed, match="column mapping"):
        rows("k int, v string, extra int", (9, "z", 1)).write.mode("append").option("mergeSchema", "true").save(
            str(table)
        )


# Partial overwrites


def by_path(frame: DataFrame, path: Path, **options: str) -> None:
    frame.write.format("delta").mode("overwrite").options(**options).save(str(path))


def by_name(frame: DataFrame, path: Path, **options: str) -> None:
    frame.write.mode("overwrite").options(**options).saveAsTable("s.t")


def by_insert(frame: DataFrame, path: Path, **options: str) -> None:
    frame.select("v", "k").write.mode("overwrite").options(**options).insertInto("s.t")


PARTIAL = [pytest.param(by_path, id="path"), pytest.param(by_name, id="name"), pytest.param(by_insert, id="insert")]


@pytest.mark.parametrize("write", PARTIAL)
def test_a_dynamic_overwrite_keeps_the_other_partitions(rows: Rows, table: Path, write: Callable[..., None]) -> None:
    write(rows("k int, v string", (1, "new"), (7, "more")), table, partitionOverwriteMode="dynamic")
    assert content(table) == [(1, "new"), (2, "b"), (7, "more"), (None, "c")]


def test_the_session_setting_of_a_dynamic_overwrite_counts_too(spark: SparkSession, rows: Rows, table: Path) -> None:
    spark.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")
    by_name(rows("k int, v string", (None, "new")), table)
    assert content(table) == [(1, "a"), (2, "b"), (None, "new")]
    with pytest.raises(TaskFailed, match=r"would overwrite the whole table s\.t"):
        spark.sql("INSERT OVERWRITE s.t SELECT 'z', 1")
    assert version(table) == 1
    spark.conf.unset("spark.sql.sources.partitionOverwriteMode")
    spark.sql("INSERT OVERWRITE s.t SELECT 'z', 1")
    assert content(table) == [(1, "z")]


def test_a_dynamic_overwrite_with_no_rows_changes_nothing(rows: Rows, table: Path) -> None:
    by_path(rows("k int, v string"), table, partitionOverwriteMode="dynamic")
    assert content(table) == [(1, "a"), (2, "b"), (None, "c")]


@pytest.mark.parametrize("write", PARTIAL)
def test_replace_where_keeps_rows_outside_and_those_with_no_key(
    rows: Rows, table: Path, write: Callable[..., None]
) -> None:
    write(rows("k int, v string", (1, "new")), table, replaceWhere="k = 1")
    assert content(table) == [(1, "new"), (2, "b"), (None, "c")]


def test_replace_where_keeps_rows_with_no_key_that_share_a_file(rows: Rows, tmp_path: Path) -> None:
    path = tmp_path / "plain"
    rows("k int, v string", (1, "a"), (None, "c")).coalesce(1).write.save(str(path))
    by_path(rows("k int, v string", (1, "new")), path, replaceWhere="k = 1")
    assert content(path) == [(1, "new"), (None, "c")]


@pytest.mark.parametrize("key", [2, None])
def test_replace_where_refuses_rows_outside_its_predicate(rows: Rows, table: Path, key: int | None) -> None:
    with pytest.raises(TaskFailed, match=r"\[DELTA_REPLACE_WHERE_MISMATCH\].*'k = 1'"):
        by_path(rows("k int, v string", (1, "new"), (key, "other")), table, replaceWhere="k = 1")
    assert version(table) == 0


def test_replace_where_needs_a_table(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(TaskFailed, match="does not exist"):
        by_path(rows("k int", (1,)), tmp_path / "none", replaceWhere="k = 1")


def test_a_partial_overwrite_through_write_to_is_refused(rows: Rows, table: Path) -> None:
    with pytest.raises(TaskFailed, match=r"this engine cannot overwrite a part of s\.t"):
        rows("k int, v string", (1, "new")).writeTo("s.t").overwritePartitions()
    assert version(table) == 0


# Commits


def test_transaction_options_that_do_nothing_are_warned_of_once(
    rows: Rows, table: Path, warnings_logged: CapturingLogger
) -> None:
    """docs/reliability.md, E6."""
    for number in range(2):
        frame = rows("k int, v string", (1, "new")).write.mode("append")
        frame.option("txnAppId", "app").option("txnVersion", str(number)).save(str(table))
    assert [call.method_name for call in warnings_logged.calls] == ["warning"]
    assert "txnAppId" in warnings_logged.calls[0].args[0]


def test_a_commit_says_which_attempt_made_it(rows: Rows, table: Path) -> None:
    rows("k int, v string", (1, "new")).write.mode("append").option("userMetadata", "mine").save(str(table))
    stamps = [deltalog.commit(table, number)[0]["commitInfo"]["userMetadata"] for number in range(2)]
    assert json.loads(stamps[0]) == {"run": 7, "task": "load", "attempt": 0, "at": 1_700_000_000_000}
    assert stamps[1] == "mine"
