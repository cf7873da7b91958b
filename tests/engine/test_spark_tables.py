"""Idempotent writers of tables (docs/reliability.md, E1, E2, E4; docs/semantics.md, section 10).

Rows are counted through deltalake, not only through the engine that wrote them.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wfengine.errors import TaskFailed
from wfengine.jobs import Expectation
from wfengine.layer import TaskIdentity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from wfengine.spark.tables import Tables

pytestmark = pytest.mark.spark
deltalake = pytest.importorskip("deltalake")

Rows = Callable[..., "DataFrame"]


@pytest.fixture
def rows(spark: SparkSession) -> Rows:
    """Build a frame from rows and a DDL schema."""
    return lambda schema, *values: spark.createDataFrame(list(values), schema)


def content(tables: Tables, table: str, *columns: str) -> list[tuple[Any, ...]]:
    found = deltalake.DeltaTable(str(tables.path(table))).to_pyarrow_table().to_pylist()
    return sorted((tuple(row[column] for column in columns) for row in found), key=repr)


def again(tables: Tables, spark: SparkSession, warehouse: Path, identity: TaskIdentity, **changes: Any) -> Tables:
    """What a later attempt of the same task is given."""
    return type(tables)(lambda: spark, warehouse, msgspec.structs.replace(identity, attempt_number=1, **changes))


# Overwrite


def test_an_overwrite_reports_versions_and_rows(tables: Tables, rows: Rows) -> None:
    first = tables.overwrite("s.t", rows("k int", (1,), (2,)))
    second = tables.overwrite("s.t", rows("k int", (3,)))
    assert (first.role, first.version_before, first.version_after, first.rows) == ("output", -1, 0, 2)
    assert (second.version_before, second.version_after, second.rows) == (0, 1, 1)
    assert content(tables, "s.t", "k") == [(3,)]


def test_an_overwrite_may_change_columns_and_partitions(tables: Tables, rows: Rows) -> None:
    tables.overwrite("s.t", rows("k int, day string", (1, "a")))
    tables.overwrite("s.t", rows("k string, day string, more int", ("x", "a", 1)), partition_by=["day"])
    assert content(tables, "s.t", "day", "k", "more") == [("a", "x", 1)]
    assert deltalake.DeltaTable(str(tables.path("s.t"))).metadata().partition_columns == ["day"]


def test_an_overwrite_with_its_own_rows_is_possible(tables: Tables, rows: Rows) -> None:
    tables.overwrite("s.t", rows("k int", (1,), (2,)))
    tables.overwrite("s.t", tables.read("s.t").where("k > 1"))
    assert content(tables, "s.t", "k") == [(2,)]


def test_reading_what_does_not_exist_names_the_folder(tables: Tables, warehouse: Path) -> None:
    with pytest.raises(TaskFailed, match=f"table s.t does not exist: there is no Delta table in {warehouse}/s/t"):
        tables.read("s.t")
    assert not tables.exists("s.t")
    assert tables.version("s.t") == -1


# Merge


def test_a_merge_creates_updates_and_inserts(tables: Tables, rows: Rows) -> None:
    tables.merge("s.t", rows("k int, v string", (1, "a"), (2, "b")), ["k"])
    fact = tables.merge("s.t", rows("k int, v string", (2, "B"), (3, "c")), ["k"])
    assert content(tables, "s.t", "k", "v") == [(1, "a"), (2, "B"), (3, "c")]
    assert fact.rows == 2


def test_a_merge_of_what_is_there_already_commits_nothing(tables: Tables, rows: Rows) -> None:
    same = rows("k int, v string, w double", (1, None, 1.5), (None, "b", None))
    tables.merge("s.t", same, ["k"])
    fact = tables.merge("s.t", same, ["k"])
    assert (fact.version_before, fact.version_after, fact.rows) == (0, 0, 0)


def test_null_is_a_key_like_any_other_in_a_merge(tables: Tables, rows: Rows) -> None:
    tables.merge("s.t", rows("a int, b string, v int", (1, None, 1), (None, None, 2)), ["a", "b"])
    tables.merge("s.t", rows("a int, b string, v int", (1, None, 10), (None, None, 20)), ["a", "b"])
    assert content(tables, "s.t", "v") == [(10,), (20,)]


def test_a_value_that_becomes_null_is_updated(tables: Tables, rows: Rows) -> None:
    tables.merge("s.t", rows("k int, v string", (1, "a")), ["k"])
    tables.merge("s.t", rows("k int, v string", (1, None)), ["k"])
    assert content(tables, "s.t", "k", "v") == [(1, None)]


def test_a_merge_on_keys_alone_inserts_what_is_missing(tables: Tables, rows: Rows) -> None:
    tables.merge("s.t", rows("k int", (1,)), ["k"])
    tables.merge("s.t", rows("k int", (1,), (2,)), ["k"])
    assert content(tables, "s.t", "k") == [(1,), (2,)]


def test_a_key_twice_in_the_rows_is_refused_with_up_to_three_keys(tables: Tables, rows: Rows) -> None:
    frame = rows("k int, `odd name` string", *[(number // 2, "x") for number in range(12)])
    with pytest.raises(TaskFailed, match=r"more than one row for the key k = .*odd name = 'x' \(2 rows\)") as caught:
        tables.merge("s.t", frame, ["k", "odd name"])
    assert str(caught.value).count("(2 rows)") == 3
    assert not tables.exists("s.t")


def test_a_merge_needs_keys_that_the_rows_have(tables: Tables, rows: Rows) -> None:
    with pytest.raises(TaskFailed, match="no column nope"):
        tables.merge("s.t", rows("k int", (1,)), ["nope"])
    with pytest.raises(TaskFailed, match="at least one key"):
        tables.merge("s.t", rows("k int", (1,)), [])


def test_a_merge_adds_columns_only_when_asked(tables: Tables, rows: Rows) -> None:
    tables.merge("s.t", rows("k int, v string", (1, "a")), ["k"])
    wider = rows("k int, v string, more int", (1, "a", 5))
    with pytest.raises(TaskFailed, match="no column more"):
        tables.merge("s.t", wider, ["k"])
    tables.merge("s.t", wider, ["k"], evolve=True)
    assert content(tables, "s.t", "k", "v", "more") == [(1, "a", 5)]


# Append


def test_the_appends_of_a_task_add_up(tables: Tables, rows: Rows) -> None:
    tables.append("s.t", rows("k int", (1,)))
    fact = tables.append("s.t", rows("k int", (2,), (3,)))
    assert content(tables, "s.t", "k") == [(1,), (2,), (3,)]
    assert (fact.rows, fact.version_after) == (2, 1)
    assert tables.ledger("s.t").open_plans() == []


def test_an_append_of_a_later_attempt_replaces_that_of_the_earlier(
    tables: Tables, rows: Rows, spark: SparkSession, warehouse: Path, identity: TaskIdentity
) -> None:
    """docs/reliability.md, E2."""
    tables.append("s.t", rows("k int", (1,), (2,)))
    tables.append("s.t", rows("k int", (9,)))
    fact = again(tables, spark, warehouse, identity).append("s.t", rows("k int", (1,), (3,), (4,)))
    assert content(tables, "s.t", "k") == [(1,), (3,), (4,), (9,)]
    assert fact.rows == 3


@pytest.mark.parametrize("other", [{"run_id": 8}, {"task_key": "other"}, {"trigger_time": 1}])
def test_another_run_or_task_adds_rows_of_its_own(
    tables: Tables, rows: Rows, spark: SparkSession, warehouse: Path, identity: TaskIdentity, other: dict[str, Any]
) -> None:
    """A home made anew counts its runs from one again; the time of the run keeps them apart."""
    tables.append("s.t", rows("k int", (1,)))
    again(tables, spark, warehouse, identity, **other).append("s.t", rows("k int", (1,)))
    assert content(tables, "s.t", "k") == [(1,), (1,)]


def test_a_replay_keeps_rows_that_have_no_batch_id(
    tables: Tables, rows: Rows, spark: SparkSession, warehouse: Path, identity: TaskIdentity
) -> None:
    """The engine alone would delete them (docs/reliability.md, E7)."""
    tables.append("s.t", rows("k int", (1,)))
    rows("k int, _batch_id string", (5, None)).write.mode("append").save(str(tables.path("s.t")))
    again(tables, spark, warehouse, identity).append("s.t", rows("k int", (2,)))
    assert content(tables, "s.t", "k") == [(2,), (5,)]


def test_a_replay_of_rows_with_arrays_replaces_them(
    tables: Tables, rows: Rows, spark: SparkSession, warehouse: Path, identity: TaskIdentity
) -> None:
    """The engine's own replaceWhere fails on a table with arrays."""
    tables.append("s.t", rows("k int, r array<string>", (1, ["a"])))
    rows("k int, r array<string>, _batch_id string", (5, ["z"], None)).write.mode("append").save(
        str(tables.path("s.t"))
    )
    fact = again(tables, spark, warehouse, identity).append("s.t", rows("k int, r array<string>", (2, ["b"]), (3, [])))
    assert content(tables, "s.t", "k", "r") == [(2, ["b"]), (3, []), (5, ["z"])]
    assert fact.rows == 2


def test_an_append_to_a_table_without_batch_ids_asks_for_evolution(tables: Tables, rows: Rows) -> None:
    tables.overwrite("s.t", rows("k int", (1,)))
    with pytest.raises(TaskFailed, match="no column _batch_id"):
        tables.append("s.t", rows("k int", (2,)))
    tables.append("s.t", rows("k int", (2,)), evolve=True)
    assert content(tables, "s.t", "k") == [(1,), (2,)]


def test_an_append_of_no_rows_is_a_batch(tables: Tables, rows: Rows) -> None:
    fact = tables.append("s.t", rows("k int"))
    assert (fact.rows, content(tables, "s.t", "k")) == (0, [])


def test_the_private_folder_survives_a_vacuum_and_disturbs_no_reader(
    tables: Tables, rows: Rows, spark: SparkSession
) -> None:
    tables.append("s.t", rows("k int", (1,)))
    table = deltalake.DeltaTable(str(tables.path("s.t")))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert len(tables.ledger("s.t").batches()) == 1
    assert spark.table("s.t").count() == len(content(tables, "s.t", "k")) == 1


# Several writers


def test_a_lock_that_is_not_free_in_time_is_an_error_that_names_the_holder(
    tables: Tables, spark: SparkSession, warehouse: Path, identity: TaskIdentity, rows: Rows
) -> None:
    impatient = type(tables)(lambda: spark, warehouse, identity, lock_seconds=0)
    with tables.lock("s.t"):
        with pytest.raises(TaskFailed, match=r"process \d+ has been writing to the table .*s/t for 0 s"):
            impatient.overwrite("s.t", rows("k int", (1,)))
        tables.overwrite("s.t", rows("k int", (2,)))
    impatient.overwrite("s.t", rows("k int", (3,)))
    assert content(tables, "s.t", "k") == [(3,)]


def test_the_same_batch_appended_by_several_writers_at_once_is_there_once(
    tables: Tables, connect: Callable[..., SparkSession], warehouse: Path, identity: TaskIdentity
) -> None:
    """docs/reliability.md, E2: check-then-append without the lock doubled four of four."""
    errors: list[BaseException] = []

    def write(session: SparkSession) -> None:
        try:
            type(tables)(lambda: session, warehouse, identity).append("s.t", session.range(50).selectExpr("id AS k"))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=write, args=(connect(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert content(tables, "s.t", "k") == sorted([(number,) for number in range(50)], key=repr)


def test_a_commit_that_lost_against_another_writer_is_tried_again(
    tables: Tables, rows: Rows, connect: Callable[..., SparkSession], warehouse: Path
) -> None:
    """docs/reliability.md, E4: writers that do not know the lock come in between."""
    from wfengine.spark.tables import retry_conflicts

    tables.overwrite("s.t", rows("k int, n int", *[(number, 0) for number in range(6)]))
    errors: list[BaseException] = []

    def count(session: SparkSession, key: int) -> None:
        frame = session.createDataFrame([(key, 1)], "k int, n int").write.format("delta").mode("overwrite")
        try:
            for _ in range(4):
                retry_conflicts(lambda: frame.option("replaceWhere", f"k = {key}").save(str(tables.path("s.t"))))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            errors.append(error)

    threads = [threading.Thread(target=count, args=(connect(), key)) for key in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert content(tables, "s.t", "k", "n") == [(0, 1), (1, 1), (2, 1), (3, 0), (4, 0), (5, 0)]


def test_only_a_lost_commit_is_tried_again_and_not_for_ever() -> None:
    from wfengine.spark.tables import retry_conflicts

    tries: Counter[str] = Counter()
    waits: list[float] = []

    def fail(message: str) -> None:
        tries[message] += 1
        raise RuntimeError(message)

    for message in ("Failed to commit transaction: 12", "no such column"):
        with pytest.raises(RuntimeError, match=message):
            retry_conflicts(lambda message=message: fail(message), sleep=waits.append)  # type: ignore[misc]
    assert list(tries.values()) == [10, 1]
    assert len(waits) == 9
    assert max(waits) <= 2


# Expectations


def test_expectations_count_the_rows_that_break_them(tables: Tables, rows: Rows, spark: SparkSession) -> None:
    from wfengine.spark import expectations

    tables.overwrite("s.t", rows("k int", (1,), (-2,), (None,)))
    wanted = [
        Expectation(name="positive", table="s.t", where="k > 0"),
        Expectation(name="known", table="s.t", where="k IS NOT NULL OR true"),
        Expectation(name="unique", query="SELECT k FROM s.t GROUP BY k HAVING count(*) > 1"),
        Expectation(name="none", query="SELECT * FROM s.t WHERE k = -2", on_fail="warn"),
    ]
    facts = expectations.check(spark, tables, wanted)
    assert [(fact.name, fact.passed, fact.failed_rows, fact.on_fail) for fact in facts] == [
        ("positive", False, 2, "fail"),
        ("known", True, 0, "fail"),
        ("unique", True, 0, "fail"),
        ("none", False, 1, "warn"),
    ]
    assert facts[0].message == "2 rows of s.t break: k > 0"


def test_an_expectation_that_cannot_be_checked_is_not_met(tables: Tables, rows: Rows, spark: SparkSession) -> None:
    from wfengine.spark import expectations

    tables.overwrite("s.t", rows("k int", (1,)))
    wanted = [
        Expectation(name="missing", table="s.nope", where="true"),
        Expectation(name="column", table="s.t", where="nope > 0"),
        Expectation(name="syntax", query="SELEC"),
        Expectation(name="name", table="a-b", where="true"),
    ]
    facts = expectations.check(spark, tables, wanted)
    assert [fact.passed for fact in facts] == [False] * 4
    assert all(fact.message.startswith("could not be checked: ") for fact in facts)
    assert "s.nope does not exist" in facts[0].message


def test_a_commit_of_ours_is_stamped(tables: Tables, rows: Rows) -> None:
    tables.overwrite("s.t", rows("k int", (1,)))
    log = tables.path("s.t") / "_delta_log" / f"{0:020d}.json"
    info = json.loads(log.read_text().splitlines()[0])["commitInfo"]
    assert json.loads(info["userMetadata"]) == {"run": 7, "task": "load", "attempt": 0, "at": 1_700_000_000_000}
