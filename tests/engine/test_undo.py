"""What a failed attempt wrote is undone exactly, or left alone with the reason (docs/engines.md, Undo)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wfengine import undo
from wfengine.executor import Launch, Report
from wfengine.failpoints import VARIABLE
from wfengine.layer import TaskIdentity
from wfengine.spark import fence, restore, stamp, touched
from wfengine.spark import warehouse as places
from wfengine.spark.ledger import Ledger
from wfengine.spark.tables import Tables
from wfengine.spark.touched import Touched
from wfengine.states import Result

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.faults]
deltalake = pytest.importorskip("deltalake")


class Attempt:
    """An attempt of a task, and what becomes of it."""

    def __init__(self, folder: Path, warehouse: Path, who: TaskIdentity, connect: Callable[..., SparkSession]):
        self.folder, self.warehouse, self.who = folder, warehouse, who
        self.notes = Touched(folder / touched.FILE, warehouse)
        self.spark = connect(identity=who, touched=self.notes)
        self.tables = Tables(lambda: self.spark, warehouse, who)
        self.stopped: list[str] = []

    def path(self, table: str) -> Path:
        return self.warehouse.joinpath(*table.split("."))

    def undo(self) -> str:
        return restore.undo(self.folder, stamp.text(self.who), self.warehouse, self.stopped.append, lock_seconds=0.1)

    def rows(self, table: str) -> list[dict[str, Any]]:
        found = deltalake.DeltaTable(str(self.path(table))).to_pyarrow_table().to_pylist()
        return sorted(found, key=repr)

    def version(self, table: str) -> int:
        return places.version(self.path(table))


@pytest.fixture
def start(tmp_path, warehouse, identity, connect) -> Callable[..., Attempt]:
    """Begin an attempt of the task, or of another one."""

    def begin(task: str = "load", number: int = 1) -> Attempt:
        who = msgspec.structs.replace(identity, task_key=task, attempt_number=number)
        return Attempt(tmp_path / "run" / task / str(number), warehouse, who, connect)

    return begin


@pytest.fixture
def attempt(start) -> Attempt:
    return start()


@pytest.fixture
def orders(spark) -> str:
    """A table that another attempt has made, at version 0."""
    spark.range(3).selectExpr("id", "id * 2 AS v").write.saveAsTable("s.orders")
    return "s.orders"


STATEMENTS = [
    "INSERT INTO s.orders SELECT 9L, 8L",
    "INSERT OVERWRITE s.orders SELECT 9L, 8L",
    "UPDATE s.orders SET v = 0",
    "DELETE FROM s.orders",
    "MERGE INTO s.orders t USING (SELECT 1L id, 7L v) x ON t.id = x.id WHEN MATCHED THEN UPDATE SET *",
    "CREATE OR REPLACE TABLE s.orders USING delta AS SELECT 9L AS id, 8L AS v",
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=[text.split()[0] for text in STATEMENTS])
def test_every_statement_is_undone(attempt, orders, statement):
    before = attempt.rows(orders)
    attempt.spark.sql(statement)
    assert attempt.rows(orders) != before
    assert attempt.undo() == "undone: s.orders is again as in version 0"
    assert attempt.rows(orders) == before
    assert attempt.spark.table(orders).count() == 3


def test_several_tables_and_new_columns_are_undone_together(attempt, orders, spark):
    spark.range(1).write.saveAsTable("s.more")
    rows = attempt.spark.range(2).selectExpr("id", "id AS v", "'x' AS note")
    rows.write.mode("append").option("mergeSchema", "true").saveAsTable(orders)
    attempt.spark.range(7).write.mode("overwrite").saveAsTable("s.more")
    assert attempt.undo() == "undone: s.orders is again as in version 0, s.more is again as in version 0"
    assert attempt.rows(orders) == [{"id": number, "v": number * 2} for number in range(3)]
    assert attempt.rows("s.more") == [{"id": 0}]


def test_a_table_that_the_attempt_made_is_removed_and_nothing_else(attempt, start):
    attempt.spark.range(3).selectExpr("id", "id % 2 AS part").write.partitionBy("part").saveAsTable("s.made")
    keepsake = attempt.path("s.made") / "part=0" / "notes.txt"
    keepsake.write_text("mine")
    assert attempt.undo() == "undone: s.made is removed, as it did not exist before"
    assert [path for path in attempt.path("s.made").rglob("*") if path.is_file()] == [keepsake]
    assert not start("load", 2).spark.catalog.tableExists("s.made")


@pytest.mark.parametrize("foreign", ["INSERT INTO s.orders SELECT 10L, 8L", "DELETE FROM s.orders WHERE id = 0"])
def test_a_commit_of_another_in_between_leaves_everything_with_the_reason(attempt, orders, spark, foreign):
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    attempt.spark.range(1).write.saveAsTable("s.made")
    spark.sql(foreign)
    after = attempt.rows(orders)
    told = attempt.undo()
    assert told.startswith("not undone: version 2 of s.orders (")
    assert told.endswith("by sail-delta-lake:0.7.2) is not proved to be this attempt's own")
    assert attempt.rows(orders) == after
    # All or nothing: the other table would contradict the first one.
    assert attempt.rows("s.made") == [{"id": 0}]


def test_a_commit_of_another_before_the_attempts_first_stays(attempt, orders, spark):
    write = attempt.notes.write(orders, str(attempt.path(orders)), "WRITE", stamp.text(attempt.who))
    spark.sql("INSERT INTO s.orders SELECT 10L, 8L")
    attempt.notes.answered(write, failed=True)
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    assert attempt.undo() == "undone: s.orders is again as in version 1"
    assert {"id": 10, "v": 8} in attempt.rows(orders)


def test_a_dropped_table_cannot_come_back(attempt, orders):
    attempt.spark.sql("DROP TABLE s.orders")
    assert attempt.undo() == "not undone: table s.orders was dropped"


def test_a_commit_with_metadata_of_the_users_own_is_left_alone(attempt, orders):
    rows = attempt.spark.range(1).selectExpr("id", "id AS v")
    rows.write.mode("append").option("userMetadata", "mine").saveAsTable(orders)
    assert attempt.undo().startswith("not undone: version 1 of s.orders (WRITE by sail")


def test_a_table_made_and_dropped_again_needs_no_undo(attempt):
    attempt.spark.range(1).write.saveAsTable("s.made")
    attempt.spark.sql("DROP TABLE s.made")
    assert attempt.undo() == ""


@pytest.mark.parametrize("feature", ["deletionVectors", "columnMapping"])
def test_a_table_with_features_that_cannot_be_restored_is_left_alone(attempt, orders, feature):
    """docs/engines.md: the library would read a column-mapped table as nulls."""
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    commit = attempt.path(orders) / "_delta_log" / f"{0:020d}.json"
    text = commit.read_text()
    if feature == "columnMapping":
        commit.write_text(text.replace('"configuration":{}', '"configuration":{"delta.columnMapping.mode":"name"}', 1))
    else:
        features = (
            f'"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["{feature}"],"writerFeatures":["{feature}"]'
        )
        commit.write_text(
            text.replace('{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}', '{"protocol":{' + features + "}}")
        )
    told = attempt.undo()
    assert told.startswith("not undone: table s.orders uses ")
    assert told.endswith("which cannot be restored here")
    assert attempt.version(orders) == 1


def test_nothing_written_needs_no_undo(attempt, orders):
    attempt.spark.table(orders).collect()
    assert attempt.undo() == ""
    attempt.notes.closed()
    assert attempt.stopped == []


def test_a_session_that_was_not_closed_is_stopped_first(attempt, orders):
    """docs/reliability.md, E1: the engine goes on with what a killed client began."""
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    attempt.undo()
    assert attempt.stopped == [attempt.spark.session_id]


def test_a_write_still_under_way_cannot_commit_any_more(attempt, orders):
    """docs/reliability.md, E1: an append conflicts with nothing but a change of the table's metadata."""
    import pyarrow as pa

    begun = deltalake.DeltaTable(str(attempt.path(orders)))
    attempt.notes.write(orders, str(attempt.path(orders)), "WRITE", stamp.text(attempt.who))
    assert attempt.undo() == "undone: s.orders is again as in version 0"
    with pytest.raises(deltalake.exceptions.CommitFailedError, match=r"[Mm]etadata"):
        deltalake.write_deltalake(begun, pa.table({"id": [1], "v": [1]}), mode="append")
    assert len(attempt.rows(orders)) == 3


def test_an_undo_is_decided_once(attempt, orders, spark):
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    told = attempt.undo()
    spark.sql("INSERT INTO s.orders SELECT 10L, 8L")
    version = attempt.version(orders)
    assert attempt.undo() == told
    assert attempt.version(orders) == version
    assert not touched.pending(attempt.folder)


def test_a_table_that_another_writes_to_is_left_alone(attempt, orders):
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    code = (
        "import sys, pathlib; from wfengine.spark.locks import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), 1): print(1, flush=True); sys.stdin.read()\n"
    )
    lock = attempt.path(orders) / "_wfengine" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdin=-1, stdout=-1)
    try:
        holder.stdout.readline()
        assert attempt.undo().startswith(f"not undone: process {holder.pid} has been writing")
    finally:
        holder.communicate()
    assert attempt.version(orders) == 1


def test_the_librarys_commits_count_with_the_stamp_from_the_environment(attempt, orders):
    """docs/engines.md: code without Spark stamps its commits with WFENGINE_STAMP."""
    import pyarrow as pa

    path = attempt.path(orders)
    attempt.notes.declared(orders, str(path), stamp.text(attempt.who))
    deltalake.write_deltalake(
        str(path),
        pa.table({"id": [1], "v": [1]}),
        mode="append",
        commit_properties=stamp.properties(stamp.text(attempt.who)),
    )
    assert attempt.undo() == "undone: s.orders is again as in version 0"
    assert len(attempt.rows(orders)) == 3


def test_a_declared_table_that_somebody_changed_without_a_stamp_is_left_alone(attempt, orders):
    import pyarrow as pa

    attempt.notes.declared(orders, str(attempt.path(orders)), stamp.text(attempt.who))
    deltalake.write_deltalake(str(attempt.path(orders)), pa.table({"id": [1], "v": [1]}), mode="append")
    assert attempt.undo().startswith("not undone: version 1 of s.orders (WRITE by delta-rs")


@pytest.mark.parametrize("writes", range(1, 8))
def test_an_attempt_killed_at_any_write_leaves_nothing(orders, spark, spark_url, warehouse, tmp_path, writes):
    """docs/reliability.md, E1, E2: whatever the engine still does for the dead client."""
    seeded = spark.table(orders).collect()
    folder = tmp_path / "run" / "load" / "0"
    task = Path(__file__).with_name("undo_writes.py")
    arguments = [sys.executable, str(task), spark_url, str(warehouse), str(folder), "0"]
    with subprocess.Popen(arguments, stdin=-1, stdout=-1) as process:
        for _ in range(writes):
            process.stdout.readline()
        process.kill()
    who = TaskIdentity(job_id=1, job_name="job", run_id=7, task_key="load", task_run_id=3, trigger_time=5)
    told = restore.undo(folder, stamp.text(who), warehouse, lambda session: fence.interrupt(spark, session))
    assert told == "" or told.startswith("undone: ")
    assert sorted(spark.table(orders).collect()) == sorted(seeded)
    assert not places.exists(warehouse / "s" / "made")


# -- ledgers --------------------------------------------------------------------------------------------------------


def frame(attempt: Attempt, first: int) -> Any:
    return attempt.spark.range(first, first + 3).selectExpr("id")


def test_an_append_that_was_undone_is_written_once_by_the_next_attempt(start):
    """A batch that the ledger calls done and that is not in the table would be lost."""
    first, second, other = start("load", 1), start("load", 2), start("other")
    other.tables.append("s.t", frame(other, 100))
    first.tables.append("s.t", frame(first, 0))
    ledger = Ledger(first.path("s.t") / "_wfengine" / "ledger.jsonl")
    assert ledger.open_plans() == []
    assert first.undo() == "undone: s.t is again as in version 0"
    assert [batch.key for batch in ledger.open_plans()] == [f"run 7 of {1_700_000_000_000} task load append 1"]
    second.tables.append("s.t", frame(second, 0))
    assert [row["id"] for row in second.rows("s.t")] == [0, 1, 100, 101, 102, 2]
    assert ledger.open_plans() == []


def test_batches_of_others_stay_confirmed(start):
    first, other = start("load"), start("other")
    other.tables.append("s.t", frame(other, 100))
    first.tables.append("s.t", frame(first, 0))
    first.undo()
    done = [batch.key for batch in first.tables.ledger("s.t").batches().values() if batch.done]
    assert done == [f"run 7 of {1_700_000_000_000} task other append 1"]


def test_the_ledger_of_a_removed_table_goes_with_it(start):
    first, second = start("load", 1), start("load", 2)
    first.tables.append("s.t", frame(first, 0))
    assert first.undo() == "undone: s.t is removed, as it did not exist before"
    assert not first.path("s.t").exists()
    second.tables.append("s.t", frame(second, 0))
    assert [row["id"] for row in second.rows("s.t")] == [0, 1, 2]


@pytest.mark.parametrize("place", ["undo.after_reopen", "undo.after_restore"])
def test_an_undo_that_is_killed_is_finished_by_the_next(start, place):
    """docs/reliability.md, E1, E2: nothing is lost or doubled wherever the undo dies."""
    first, second, other = start("load", 1), start("load", 2), start("other")
    other.tables.append("s.t", frame(other, 100))
    first.tables.append("s.t", frame(first, 0))
    code = (
        "import sys; from pathlib import Path; from wfengine.spark import restore\n"
        "restore.undo(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), lambda session: None)\n"
    )
    arguments = [str(first.folder), stamp.text(first.who), str(first.warehouse)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env={**os.environ, VARIABLE: place}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert touched.pending(first.folder)
    assert first.undo().startswith("undone: s.t is again as in version 0")
    second.tables.append("s.t", frame(second, 0))
    assert [row["id"] for row in second.rows("s.t")] == [0, 1, 100, 101, 102, 2]


@pytest.mark.parametrize("place", ["undo.after_reopen", "undo.after_restore"])
def test_an_undo_that_is_killed_and_never_finished_loses_nothing(start, place):
    """The next attempt replays the open batch, whether its rows are there or not."""
    first, second, other = start("load", 1), start("load", 2), start("other")
    other.tables.append("s.t", frame(other, 100))
    first.tables.append("s.t", frame(first, 0))
    code = (
        "import sys; from pathlib import Path; from wfengine.spark import restore\n"
        "restore.undo(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), lambda session: None)\n"
    )
    arguments = [str(first.folder), stamp.text(first.who), str(first.warehouse)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], env={**os.environ, VARIABLE: place}, check=False)
    assert done.returncode == -signal.SIGKILL
    second.tables.append("s.t", frame(second, 0))
    assert [row["id"] for row in second.rows("s.t")] == [0, 1, 100, 101, 102, 2]


def test_reopening_takes_back_what_came_after_and_nothing_before(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    early, late = ledger.plan("early"), ledger.plan("late")
    ledger.done(early.batch_id)
    length = ledger.path.stat().st_size
    ledger.done(late.batch_id, rows=3)
    assert ledger.reopen(length) == [late.batch_id]
    assert ledger.reopen(length) == []
    assert [batch.batch_id for batch in ledger.open_plans()] == [late.batch_id]
    ledger.done(late.batch_id)
    assert ledger.open_plans() == []


def test_fencing_leaves_the_attempts_stamp(attempt, orders):
    fence.put_up(attempt.path(orders), "test", stamp.text(attempt.who))
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    assert attempt.undo() == "undone: s.orders is again as in version 0"


def test_only_what_wrote_and_failed_is_followed_by_an_undo(attempt, orders):
    launch = Launch(id=1, payload={"folder": str(attempt.folder)}, log=attempt.folder / "log", cwd=attempt.folder)
    good, bad = Report(id=1, kind="ended", record={"status": "success"}), Report(id=1, kind="ended")
    attempt.spark.table(orders).collect()
    assert undo.launch(launch, Result.FAILED, bad, restore=True) is None
    attempt.spark.sql("INSERT INTO s.orders SELECT 9L, 8L")
    assert undo.launch(launch, Result.SUCCESS, good, restore=True) is None
    assert undo.launch(launch, Result.FAILED, good, restore=False) is None
    followed = [undo.launch(launch, Result.TIMEDOUT, bad, restore=restored) for restored in (True, False)]
    assert [after.payload["restore"] for after in followed if after] == [True, False]
    attempt.undo()
    assert undo.launch(launch, Result.FAILED, bad, restore=True) is None


def test_an_undo_that_came_to_no_end_is_told():
    record = {"status": "failed", "facts": {"rows_read": 3}}
    lost = Report(id=1, kind="lost")
    assert undo.told(record, lost, restore=True)["facts"] == {"rows_read": 3, "undo": undo.UNFINISHED}
    assert undo.told({}, lost, restore=False) == {"facts": {}}
    found = Report(id=1, kind="ended", record={"facts": {"rows_written": 2, "undo": "undone: s.t"}})
    assert undo.told({}, found, restore=True)["facts"] == {"rows_written": 2, "undo": "undone: s.t"}
    assert undo.told(record, found, restore=True)["facts"] == {"rows_read": 3, "undo": "undone: s.t"}
