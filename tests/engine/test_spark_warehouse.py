"""Names, folders, versions and logs of tables, without any engine (docs/semantics.md, section 10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfengine.errors import TaskFailed
from wfengine.spark import deltalog, sqltext
from wfengine.spark.warehouse import exists, table_path, version

deltalake = pytest.importorskip("deltalake")
pyarrow = pytest.importorskip("pyarrow")

WAREHOUSE = Path("/data/warehouse")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("orders", "default/orders"),
        ("bronze.orders", "bronze/orders"),
        ("Bronze.Orders", "bronze/orders"),
        ("`bronze`.`orders`", "bronze/orders"),
        ("dev.bronze.orders", "dev/bronze/orders"),
        ("`dev.bronze`.orders", "dev/bronze/orders"),
        ("main.bronze.orders", "bronze/orders"),
        ("hive_metastore.bronze.orders", "bronze/orders"),
        ("spark_catalog.default.orders", "default/orders"),
        ("workspace.s.2020_orders", "s/2020_orders"),
        ("sub/orders", "sub/orders"),
    ],
)
def test_a_name_is_a_folder_of_the_warehouse(name: str, folder: str) -> None:
    assert table_path(WAREHOUSE, name) == WAREHOUSE / folder


@pytest.mark.parametrize("path", ["/elsewhere/orders", "file:///elsewhere/orders"])
def test_an_absolute_path_is_itself(path: str) -> None:
    assert table_path(WAREHOUSE, path) == Path("/elsewhere/orders")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a.",
        "a.b.c.d",
        "a b",
        "a-b",
        "a;drop",
        "../a",
        "x/../../a",
        "/x/../a",
        "s3://b/a",
        "a\nb",
        "`a",
        "`../x`.y",
    ],
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    """docs/reliability.md, C12: no name leads out of the warehouse."""
    with pytest.raises(TaskFailed):
        table_path(WAREHOUSE, name)


def log_of(path: Path, *names: str) -> None:
    (path / "_delta_log").mkdir(parents=True)
    for name in names:
        (path / "_delta_log" / name).touch()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], -1),
        (["00000000000000000000.json", "00000000000000000011.json", "00000000000000000002.json"], 11),
        (["00000000000000000010.checkpoint.parquet"], 10),
        (["00000000000000000010.checkpoint.0000000001.0000000002.parquet"], 10),
        (["00000000000000000010.checkpoint.5d6f.json", "_last_checkpoint"], 10),
        (["00000000000000000000.00000000000000000007.compacted.json"], 7),
        (["00000000000000000003.crc", "_commits", "x.json", ".00000000000000000009.json.tmp"], -1),
    ],
)
def test_the_version_is_told_by_the_names_in_the_log(tmp_path: Path, names: list[str], expected: int) -> None:
    log_of(tmp_path / "t", *names)
    assert version(tmp_path / "t") == expected
    assert exists(tmp_path / "t") is (expected >= 0)


def test_a_folder_without_a_log_is_no_table(tmp_path: Path) -> None:
    assert version(tmp_path) == version(tmp_path / "missing") == -1
    assert deltalog.snapshot(tmp_path) is None
    assert deltalog.row_count(tmp_path) is None


def write(path: Path, rows: int, mode: str = "append", **options: object) -> None:
    table = pyarrow.table({"id": pyarrow.array(range(rows), pyarrow.int64()), "day": ["a"] * rows})
    deltalake.write_deltalake(str(path), table, mode=mode, **options)


def test_schema_partitions_and_rows_are_read_from_the_log(tmp_path: Path) -> None:
    write(tmp_path, 3, partition_by=["day"])
    write(tmp_path, 4)
    found = deltalog.snapshot(tmp_path)
    assert found is not None
    assert found.version == 1
    assert [(field["name"], field["type"]) for field in found.schema["fields"]] == [("id", "long"), ("day", "string")]
    assert found.partition_columns == ("day",)
    assert not found.column_mapping
    assert deltalog.row_count(tmp_path) == 7
    assert deltalog.rows_written(tmp_path, 0, 1) == 4


def test_a_checkpoint_stands_for_the_commits_before_it(tmp_path: Path) -> None:
    """The commit files before a checkpoint may be gone."""
    write(tmp_path, 3)
    write(tmp_path, 2, "overwrite")
    write(tmp_path, 5)
    deltalake.DeltaTable(str(tmp_path)).create_checkpoint()
    write(tmp_path, 1)
    for number in range(3):
        (tmp_path / "_delta_log" / f"{number:020d}.json").unlink()
    found = deltalog.snapshot(tmp_path)
    assert found is not None
    assert [field["name"] for field in found.schema["fields"]] == ["id", "day"]
    assert deltalog.row_count(tmp_path) == 8


def test_column_mapping_is_recognised(tmp_path: Path) -> None:
    """docs/reliability.md, E7: deltalake would read such a table as NULL."""
    write(tmp_path, 1)
    commit = tmp_path / "_delta_log" / f"{0:020d}.json"
    commit.write_text(
        commit.read_text().replace('"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}')
    )
    found = deltalog.snapshot(tmp_path)
    assert found is not None
    assert found.column_mapping


def names_in(text: str) -> list[str]:
    found: list[str] = []
    sqltext.replace_names(text, lambda chain, _: found.append(chain))
    return found


def test_names_are_found_outside_strings_and_comments() -> None:
    text = "SELECT 'bronze.no' -- silver.no\n, \"x.no\" /* gold.no */ FROM `dev`.s . t, a.b"
    assert [name for name in names_in(text) if "." in name] == ["`dev`.s . t", "a.b"]


@pytest.mark.parametrize(
    ("text", "verb", "name"),
    [
        ("insert into a.b values (1)", "INSERT INTO", "a.b"),
        ("INSERT OVERWRITE TABLE a.b SELECT 1", "INSERT OVERWRITE TABLE", "a.b"),
        ("-- why\nINSERT INTO a.b SELECT 1", "INSERT INTO", "a.b"),
        ("MERGE INTO `a`.b t USING s", "MERGE INTO", "`a`.b"),
        ("create or replace table x as select 1", "CREATE OR REPLACE TABLE", "x"),
        ("CREATE TABLE IF NOT EXISTS x (a int)", "CREATE TABLE IF NOT EXISTS", "x"),
        ("drop table if exists c.a.b", "DROP TABLE IF EXISTS", "c.a.b"),
        ("UPDATE a.b SET x = 1", "UPDATE", "a.b"),
        ("DELETE FROM a.b", "DELETE FROM", "a.b"),
    ],
)
def test_the_table_that_a_statement_changes_is_found(text: str, verb: str, name: str) -> None:
    found = sqltext.target(text)
    assert found is not None
    assert (found.verb, found.name) == (verb, name)


@pytest.mark.parametrize(
    "text", ["SELECT 1", "WITH a AS (SELECT 'delete from b') SELECT * FROM a", "CREATE VIEW v AS SELECT 1", ""]
)
def test_a_statement_that_changes_no_table_has_no_target(text: str) -> None:
    assert sqltext.target(text) is None
