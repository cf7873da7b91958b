"""What an attempt reads and writes is seen at the choke point, and told from the tables' logs (docs/engines.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wfengine.layer import TaskIdentity
from wfengine.runs import Facts, TableFact
from wfengine.spark import commits, datafacts, register, stamp, touched
from wfengine.spark.touched import Touched

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


class Attempt:
    """An attempt whose notes lie in a folder of its own."""

    def __init__(self, folder: Path, warehouse: Path, identity: TaskIdentity, connect: Callable[..., SparkSession]):
        self.folder, self.warehouse = folder, warehouse
        self.stamp = stamp.text(identity)
        self.spark = connect(identity=identity, touched=Touched(folder / touched.FILE, warehouse))

    def notes(self) -> list[touched.Note]:
        return touched.notes(self.folder)

    def tables(self) -> dict[tuple[str, str], TableFact]:
        found = datafacts.tables(self.notes(), self.stamp, self.warehouse)
        return {(fact.role, fact.table): fact for fact in found}

    def change(self, table: str) -> commits.Change:
        return next(c for c in commits.changes(self.notes(), self.stamp, self.warehouse) if c.table == table)


@pytest.fixture
def start(tmp_path, warehouse, identity, connect) -> Callable[..., Attempt]:
    """Begin an attempt of the task, or of another one."""

    def begin(task: str = "load", number: int = 1) -> Attempt:
        import msgspec

        who = msgspec.structs.replace(identity, task_key=task, attempt_number=number)
        return Attempt(tmp_path / "run" / task / str(number), warehouse, who, connect)

    return begin


@pytest.fixture
def attempt(start) -> Attempt:
    return start()


@pytest.fixture
def orders(spark) -> str:
    """A table that another attempt has made, at version 0."""
    spark.range(5).selectExpr("id", "id * 2 AS v").write.saveAsTable("s.orders")
    return "s.orders"


def test_reads_are_told_with_the_version_that_was_there(attempt, orders, spark):
    attempt.spark.table(orders).collect()
    spark.range(1).selectExpr("id", "id AS v").write.mode("append").saveAsTable(orders)
    attempt.spark.sql("SELECT count(*) FROM s.orders").collect()
    fact = attempt.tables()["input", "s.orders"]
    assert (fact.version_before, fact.version_after) == (0, 0)
    assert fact.path == str(attempt.warehouse / "s" / "orders")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM s.orders",
        "SELECT a.id FROM range(3) a JOIN `s`.`orders` b ON a.id = b.id",
        "SELECT * FROM delta.`{path}`",
        "SELECT * FROM main.s.orders VERSION AS OF 0",
    ],
)
def test_every_way_to_name_a_table_is_a_read(attempt, orders, text):
    path = attempt.warehouse / "s" / "orders"
    attempt.spark.sql(text.format(path=path)).collect()
    assert [fact.path for key, fact in attempt.tables().items() if key[0] == "input"] == [str(path)]


def test_a_column_with_the_name_of_a_table_is_no_read(attempt, orders, spark):
    spark.range(1).write.saveAsTable("v")
    attempt.spark.sql("SELECT v FROM s.orders").collect()
    assert [table for _, table in attempt.tables()] == ["s.orders"]


def test_time_travel_is_told_with_its_version(attempt, orders, spark):
    spark.range(1).selectExpr("id", "id AS v").write.mode("append").saveAsTable(orders)
    path = attempt.warehouse / "s" / "orders"
    attempt.spark.read.format("delta").option("versionAsOf", 0).load(str(path)).collect()
    assert attempt.tables()["input", "s.orders"].version_before == 0


def test_files_are_told_by_path(attempt, tmp_path):
    attempt.spark.range(3).write.parquet(str(tmp_path / "out"))
    attempt.spark.read.parquet(str(tmp_path / "out")).collect()
    (fact,) = attempt.tables().values()
    assert (fact.role, fact.path, fact.version_after) == ("output", str(tmp_path / "out"), None)


def test_the_attempts_own_scratch_files_are_not_told(attempt):
    file = str(attempt.folder / "scratch" / "x")
    attempt.spark.range(3).write.parquet(file)
    attempt.spark.read.parquet(file).collect()
    assert attempt.tables() == {}


def test_writes_are_told_with_versions_rows_bytes_and_operations(attempt):
    spark = attempt.spark
    spark.sql("CREATE SCHEMA s")
    spark.range(5).selectExpr("id", "id v").write.saveAsTable("s.t")
    spark.sql("INSERT INTO s.t SELECT 9L, 8L")
    spark.sql("UPDATE s.t SET v = 1 WHERE id < 2")
    spark.sql("DELETE FROM s.t WHERE id = 4")
    fact = attempt.tables()["output", "s.t"]
    assert (fact.version_before, fact.version_after) == (-1, 3)
    assert fact.rows == 5 + 1 + 2
    assert fact.bytes is not None
    assert fact.bytes > 0
    assert fact.operation == "CREATE TABLE, WRITE, UPDATE, DELETE"


def test_schema_changes_are_told_in_sentences(attempt, orders):
    rows = attempt.spark.range(1).selectExpr("id", "id AS v", "'x' AS note")
    rows.write.mode("append").option("mergeSchema", "true").saveAsTable(orders)
    attempt.spark.range(1).selectExpr("string(id) AS id", "'y' AS note").write.mode("overwrite").option(
        "overwriteSchema", "true"
    ).saveAsTable(orders)
    fact = attempt.tables()["output", orders]
    assert fact.version_before == 0
    assert fact.schema_changes == (
        "column note was added (string)",
        "column v was removed (long)",
        "column id was long and is string",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO s.orders SELECT 9L, 8L",
        "INSERT OVERWRITE s.orders SELECT 9L, 8L",
        "UPDATE s.orders SET v = 0",
        "DELETE FROM s.orders WHERE id = 1",
        "MERGE INTO s.orders t USING (SELECT 1L id, 7L v) x ON t.id = x.id WHEN MATCHED THEN UPDATE SET *",
        "MERGE INTO delta.`{path}` t USING (SELECT 1L id, 7L v) x ON t.id = x.id WHEN MATCHED THEN UPDATE SET *",
        "CREATE OR REPLACE TABLE s.orders USING delta AS SELECT 1L AS id, 2L AS v",
    ],
)
def test_the_commit_of_a_statement_that_cannot_carry_the_stamp_is_the_attempts_own(attempt, orders, statement):
    attempt.spark.sql(statement.format(path=attempt.warehouse / "s" / "orders"))
    (change,) = commits.changes(attempt.notes(), attempt.stamp, attempt.warehouse)
    assert (change.before, change.own, change.others, change.doubt) == (0, (1,), (), False)


def test_a_merge_of_a_data_frame_with_another_is_the_attempts_own(attempt, orders):
    rows = attempt.spark.range(9).selectExpr("id", "id AS v")
    attempt.spark.sql(
        "MERGE INTO s.orders t USING {rows} x ON t.id = x.id WHEN NOT MATCHED THEN INSERT *", rows=rows
    ).collect()
    assert attempt.change(orders).own == (1,)
    assert attempt.tables()["output", orders].rows == 4


@pytest.mark.parametrize("mode", ["append", "createOrReplace"])
def test_the_second_writer_interface_is_seen_too(attempt, orders, mode):
    getattr(attempt.spark.range(9).selectExpr("id", "id AS v").writeTo(orders).using("delta"), mode)()
    change = attempt.change(orders)
    assert change.own == (1,)


def test_commits_of_others_are_neither_counted_nor_taken_for_own(attempt, orders, spark):
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    spark.sql("INSERT INTO s.orders SELECT 10L, 8L")
    attempt.spark.range(3).selectExpr("id", "id AS v").write.mode("append").saveAsTable(orders)
    change = attempt.change(orders)
    assert (change.own, change.others) == ((1, 3), (2,))
    assert attempt.tables()["output", orders].rows == 4


def test_a_statement_that_failed_leaves_no_commit_and_no_doubt(attempt, orders, spark):
    with pytest.raises(Exception, match="cast"):
        attempt.spark.sql("INSERT INTO s.orders SELECT CAST('a' AS BIGINT), 1L")
    spark.sql("INSERT INTO s.orders SELECT 10L, 8L")
    change = attempt.change(orders)
    assert (change.own, change.others, change.doubt, change.unanswered) == ((), (1,), False, False)


def test_two_statements_at_once_leave_doubt(attempt, orders, warehouse, spark):
    """docs/engines.md: an unstamped commit counts as own only when nobody else can have made it."""
    path = warehouse / "s" / "orders"
    other = register.enter(warehouse, path)
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    other.leave()
    change = attempt.change(orders)
    assert (change.own, change.others, change.doubt) == ((), (1,), True)


def test_a_statement_without_an_answer_owns_nothing_that_came_after_the_next_began(start, orders):
    """docs/reliability.md, E1: the attempt was killed, and the engine may have dropped or finished what it was at."""
    dead, other = start(), start("other")
    path = str(dead.warehouse / "s" / "orders")
    notes = Touched(dead.folder / touched.FILE, dead.warehouse)
    write = notes.write("s.orders", path, "INSERT INTO", "")
    assert write is not None
    assert write.entry is not None
    write.entry.leave()
    other.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    assert dead.change("s.orders").own == ()
    assert other.change("s.orders").own == (1,)


def test_what_a_layer_reports_is_completed_and_never_replaced():
    found = (
        TableFact(table="s.in", role="input", path="/w/s/in", version_before=3, version_after=3),
        TableFact(table="s.t", role="input", path="/w/s/t", version_before=1, version_after=1),
        TableFact(table="s.t", role="output", path="/w/s/t", rows=99, bytes=10, operation="MERGE"),
        TableFact(table="s.more", role="output", path="/w/s/more", rows=4),
    )
    told = Facts(tables=(TableFact(table="t", role="output", path="/w/s/t", rows=5),))
    facts = datafacts.complete(told, found)
    assert facts.tables[0] == TableFact(table="t", role="output", path="/w/s/t", rows=5, bytes=10, operation="MERGE")
    assert [(fact.role, fact.table) for fact in facts.tables[1:]] == [("input", "s.in"), ("output", "s.more")]
    assert facts.rows_written == 9


def test_a_quarantine_is_no_second_output():
    found = (TableFact(table="s.q", role="output", path="/w/s/q", rows=2, bytes=7),)
    facts = datafacts.complete(Facts(tables=(TableFact(table="s.q", role="quarantine", path="/w/s/q", rows=2),)), found)
    assert [(fact.role, fact.bytes) for fact in facts.tables] == [("quarantine", 7)]
    assert facts.rows_written is None


def test_a_note_that_a_kill_cut_off_is_passed_over(tmp_path):
    notes = Touched(tmp_path / "run" / touched.FILE, tmp_path)
    notes.read("s.t", str(tmp_path / "t"), 3)
    with (tmp_path / "run" / touched.FILE).open("ab") as file:
        file.write(b'{"what":"wri')
    assert [note.what for note in touched.notes(tmp_path / "run")] == ["read"]


def test_a_register_begun_anew_proves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(register, "_LIMIT", 3)
    entries = []
    for _ in range(3):
        entries.append(register.enter(tmp_path, tmp_path / "t"))
        entries[-1].leave()
    assert [entry.alone for entry in entries] == [True, True, True]
    assert register.next_began_at(tmp_path, tmp_path / "t", 100) == register.UNKNOWN
    assert register.next_began_at(tmp_path, tmp_path / "t", entries[-1].place) is None
