"""The silver layer (docs/semantics.md, section 10)."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from medallion import Project, faults

from wfengine.errors import TaskFailed
from wfengine_layers import sqltext
from wfengine_layers.silver_config import SilverConfig, allowed
from wfengine_layers.silver_plan import plan

EVENTS = """id,user,amount,at
1,ann,2.50,2026-01-01 10:00:00
1,ann,2.50,2026-01-01 10:00:00
2,bob,oops,2026-01-01 11:00:00
3,,4.00,2026-01-02 09:00:00
4,cid,-1.00,2026-01-02 10:00:00
5,dan,9.00,not a time
6,eve,1.00,2026-01-03 12:00:00
"""
COLUMNS = {"id": "bigint", "user": "string", "amount": "decimal(8,2)", "at": "timestamp"}
POSITIVE = {"name": "positive", "where": "amount > 0"}


def planned(source: list[str], **config):
    return plan(msgspec.convert({"input": "i", "table": "t", **config}, SilverConfig), source)


# The SQL: no engine needed.


def test_without_columns_the_table_has_those_of_the_source():
    assert planned(["a", "b", "_source_file", "_batch_id", "_ingested_at"]).names == ["a", "b"]


def test_a_column_is_cast_or_taken_from_an_expression():
    made = planned(["a", "b"], columns={"a": "int", "c": {"from": "upper(b)"}, "d": {"from": "b", "type": "date"}})
    assert made.values() == ["try_cast(`a` AS int)", "(upper(b))", "try_cast((b) AS date)"]


def test_only_casts_that_can_fail_are_checked():
    made = planned(["a", "b"], columns={"a": "int", "b": "string"})
    assert [text for text in made.typed() if "__cast_" in text] == [
        "(((`a`) IS NOT NULL AND try_cast((`a`) AS int) IS NULL)) AS `__cast_0`"
    ]


def test_a_rule_that_is_null_is_broken():
    assert (
        planned(["a"], valid=[{"name": "r", "where": "a > 0"}]).flags()[1] == "coalesce((a > 0), false) AS `__rule_0`"
    )


def test_without_casts_and_rules_no_row_is_looked_at():
    made = planned(["a"])
    assert not made.can_fault
    assert (made.kept(), made.dropped()) == ("true", "false")


def test_keys_are_all_source_columns_and_then_a_distinct_does():
    made = planned(["a", "b", "_batch_id"])
    assert made.keys == ["a", "b"]
    assert made.compares_whole_rows


def test_keys_and_order_number_the_rows_and_all_columns_break_ties():
    made = planned(["a", "b", "c"], deduplicate={"keys": ["a"], "order_by": ["c DESC"]})
    assert made.nth_of_key() == "row_number() OVER (PARTITION BY `a` ORDER BY c DESC, `b`, `c`) AS `__nth`"
    assert not made.compares_whole_rows


@pytest.mark.parametrize(
    ("given", "read", "rows"),
    [(None, 10, None), (0, 10, 0), (3, 10, 3), ("3", 10, 3), ("5%", 30, 1), ("0.1%", 5000, 5), ("100 %", 7, 7)],
)
def test_the_limit_of_rejected_rows_is_a_number_or_a_share_rounded_down(given, read, rows):
    assert allowed(given, read) == rows


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"columns": {"a": "nope"}}, "columns.a", "'nope' is not a type"),
        ({"columns": {"a": ""}}, "columns.a", "'' is not a type"),
        ({"columns": {"__a": "int"}}, "columns.__a", "two underscores"),
        ({"valid": [{"name": "a", "where": "b"}] * 2}, "valid[0].name", "two rules are called 'a'"),
        ({"valid": [{"name": "a", "where": " "}]}, "valid[0].where", "empty"),
        ({"max_rejected": "some"}, "max_rejected", "neither a number of rows"),
        ({"max_rejected": -1}, "max_rejected", "neither a number of rows"),
        ({"deduplicate": False}, "mode", "use overwrite or append"),
        ({"columns": {"a": "int"}, "deduplicate": {"keys": ["b"]}}, "deduplicate.keys", "'b' is not one of"),
    ],
)
def test_a_wrong_config_is_refused_when_the_job_file_is_read(config, field, message):
    found = faults("silver", input="i", table="t", **config)
    assert found[0][0] == field
    assert message in found[0][1]


def test_references_are_left_for_the_run():
    assert faults("silver", input="i", table="t", max_rejected="{{job.parameters.limit}}") == []


@pytest.mark.parametrize(
    ("ddl", "columns"),
    [
        ("a int, b decimal(10,2)", [("a", "int"), ("b", "decimal(10,2)")]),
        (
            "`a b` map<string,int>, `c``d` struct<x:int,y:string>",
            [("a b", "map<string,int>"), ("c`d", "struct<x:int,y:string>")],
        ),
        ("a: bigint", [("a", "bigint")]),
    ],
)
def test_a_schema_is_split_at_its_own_commas(ddl, columns):
    assert sqltext.columns_of(ddl) == columns


def test_quotes_in_names_and_texts_are_escaped():
    assert sqltext.name("a`b") == "`a``b`"
    assert sqltext.literal("it's \\") == "'it\\'s \\\\'"


# The layer on the default engine.


@pytest.fixture
def events(project: Project) -> Project:
    project.write("in/events.csv", EVENTS)
    project.run("bronze", source="in", table="bronze.events")
    return project


def silver(project: Project, **config):
    return project.run("silver", **{"input": "bronze.events", "table": "silver.events", "columns": COLUMNS, **config})


@pytest.mark.spark
@pytest.mark.parametrize("mode", ["merge", "overwrite"])
def test_read_is_written_and_rejected_and_duplicates_and_twice_is_once(events: Project, mode):
    config = {"valid": [POSITIVE, {"name": "has_user", "where": "user IS NOT NULL"}], "mode": mode}
    first = silver(events, **config)
    assert events.counts(first) == (7, 2, 4, 1)
    assert first.message == "7 rows read = 2 written + 4 rejected + 1 duplicates"
    assert first.facts.metrics == {
        "uncastable.amount": 1,
        "uncastable.at": 1,
        "invalid.positive": 1,
        "invalid.has_user": 1,
    }
    rows, rejects = events.rows("silver.events"), events.rows("silver.events_quarantine")
    assert [(row["id"], row["amount"]) for row in rows] == [(1, Decimal("2.50")), (6, Decimal("1.00"))]
    assert events.counts(silver(events, **config)) == (7, 2, 4, 1)
    assert events.rows("silver.events") == rows
    assert events.rows("silver.events_quarantine") == rejects


@pytest.mark.spark
def test_rejects_keep_the_input_row_and_name_what_they_break(events: Project):
    silver(events, valid=[POSITIVE, {"name": "has_user", "where": "user IS NOT NULL"}])
    rejects = events.rows("silver.events_quarantine", "id", "amount", "at", "_reasons")
    assert rejects == [
        {"id": "2", "amount": "oops", "at": "2026-01-01 11:00:00", "_reasons": ["amount is not decimal(8,2)"]},
        {"id": "3", "amount": "4.00", "at": "2026-01-02 09:00:00", "_reasons": ["has_user"]},
        {"id": "4", "amount": "-1.00", "at": "2026-01-02 10:00:00", "_reasons": ["positive"]},
        {"id": "5", "amount": "9.00", "at": "not a time", "_reasons": ["at is not timestamp"]},
    ]
    assert {"_source_file", "_batch_id", "_ingested_at"} <= set(events.rows("silver.events_quarantine")[0])


@pytest.mark.spark
def test_without_rejects_no_quarantine_is_made_and_an_old_one_is_emptied(events: Project):
    silver(events, valid=[POSITIVE])
    assert len(events.rows("silver.events_quarantine")) == 3
    loose = {"columns": {"id": "bigint", "user": "string"}, "mode": "overwrite"}
    silver(events, **loose)
    assert events.rows("silver.events_quarantine") == []
    silver(events, **loose, table="silver.other")
    assert not events.exists("silver.other_quarantine")


@pytest.mark.spark
def test_dropped_rows_count_as_rejected_and_are_not_kept(events: Project):
    result = silver(events, valid=[{**POSITIVE, "on_fail": "drop"}])
    assert events.counts(result) == (7, 3, 3, 1)
    assert result.facts.metrics["dropped"] == 1
    assert events.rows("silver.events_quarantine", "id") == ["2", "5"]


@pytest.mark.spark
def test_a_warning_keeps_the_row_and_counts_it(events: Project):
    result = silver(events, valid=[{**POSITIVE, "on_fail": "warn"}])
    assert events.rows("silver.events", "id") == [1, 3, 4, 6]
    assert result.facts.warnings == ("1 rows do not fulfil positive (amount > 0) and were kept",)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"valid": [{**POSITIVE, "on_fail": "fail"}]}, r"valid\[0\]: 1 of 7 rows do not fulfil positive"),
        ({"max_rejected": 1}, "max_rejected: 2 of 7 rows are rejected, 1 are allowed"),
        ({"max_rejected": "28%"}, r"1 are allowed \(28%\); no table was touched; rows by reason: uncastable.amount 1"),
    ],
)
def test_too_much_broken_fails_before_any_table_is_touched(events: Project, config, message):
    silver(events)
    before = events.version("silver.events"), events.version("silver.events_quarantine")
    with pytest.raises(TaskFailed, match=message):
        silver(events, **config)
    assert (events.version("silver.events"), events.version("silver.events_quarantine")) == before
    assert events.counts(silver(events, max_rejected="29%"))[2] == 2


@pytest.mark.spark
def test_the_first_of_the_order_stays_and_a_later_run_updates_it(project: Project):
    project.write("in/1.csv", "id,state,at\n1,new,1\n1,paid,2\n,lost,1\n,found,2\n")
    config = {
        "columns": {"id": "int", "state": "string", "at": "int"},
        "deduplicate": {"keys": ["id"], "order_by": ["at DESC"]},
    }
    project.run("bronze", source="in", table="bronze.events")
    assert project.counts(silver(project, **config)) == (4, 2, 0, 2)
    assert project.rows("silver.events", "state") == ["found", "paid"]
    project.write("in/2.csv", "id,state,at\n1,sent,3\n2,new,3\n")
    project.run("bronze", source="in", table="bronze.events")
    result = silver(project, **config)
    assert project.counts(result) == (6, 3, 0, 3)
    assert project.rows("silver.events", "state") == ["found", "new", "sent"]
    output = next(fact for fact in result.facts.tables if fact.role == "output")
    assert output.rows == 2, "one row updated and one inserted"


@pytest.mark.spark
def test_where_a_row_came_from_may_order_and_may_be_kept(project: Project):
    """A lineage column is no source column: the same row of two files is a duplicate."""
    for number in (1, 2):
        project.write(f"in/{number}.csv", "id\n7\n")
    project.run("bronze", source="in", table="bronze.events")
    columns = {"id": "int", "file": {"from": "right(_source_file, 5)"}}
    silver(project, columns=columns, deduplicate={"keys": ["id"], "order_by": ["_source_file DESC"]}, mode="overwrite")
    assert project.rows("silver.events", "file") == ["2.csv"]
    result = silver(project, columns={"id": "int", "_source_file": "string"}, mode="overwrite")
    assert project.counts(result) == (2, 1, 0, 1)
    assert project.rows("silver.events", "_source_file")[0].endswith("1.csv")


@pytest.mark.spark
def test_all_rows_are_kept_when_nothing_is_the_same(events: Project):
    result = silver(events, deduplicate=False, mode="overwrite")
    assert events.counts(result) == (7, 5, 2, 0)


@pytest.mark.spark
def test_derived_columns_follow_each_other_and_may_replace(events: Project):
    silver(events, derive={"day": "CAST(at AS DATE)", "next": "date_add(day, 1)", "user": "upper(user)"})
    row = events.rows("silver.events", "id", "user", "day", "next")[0]
    assert (row["user"], str(row["day"]), str(row["next"])) == ("ANN", "2026-01-01", "2026-01-02")


@pytest.mark.spark
def test_append_adds_each_batch_of_the_input_once(events: Project):
    config = {"mode": "append", "valid": [POSITIVE]}
    assert events.counts(silver(events, **config)) == (7, 3, 3, 1)
    again = silver(events, **config)
    assert (events.counts(again), again.message) == ((0, 0, 0, 0), "no new batch in bronze.events")
    events.write("in/more.csv", "id,user,amount,at\n8,fay,1.50,2026-02-01 08:00:00\n9,gus,x,2026-02-01 08:00:00\n")
    events.run("bronze", source="in", table="bronze.events")
    assert events.counts(silver(events, **config)) == (2, 1, 1, 0)
    assert events.rows("silver.events", "id") == [1, 3, 6, 8]
    assert events.rows("silver.events_quarantine", "id") == ["2", "4", "5", "9"]


@pytest.mark.spark
def test_a_refused_batch_leaves_no_plan_behind(events: Project):
    with pytest.raises(TaskFailed, match="max_rejected"):
        silver(events, mode="append", max_rejected=0)
    assert not events.exists("silver.events")
    assert events.counts(silver(events, mode="append")) == (7, 4, 2, 1)


@pytest.mark.spark
def test_append_needs_batches(project: Project):
    import deltalake
    import pyarrow as pa

    project.warehouse.joinpath("bronze").mkdir(parents=True)
    deltalake.write_deltalake(str(project.path("bronze.events")), pa.table({"id": [1]}))
    with pytest.raises(TaskFailed, match=r"bronze\.events has no column _batch_id"):
        project.run("silver", input="bronze.events", table="silver.events", mode="append")


@pytest.mark.spark
def test_parquet_is_read_by_path(project: Project):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (project.root / "lake").mkdir()
    pq.write_table(pa.table({"id": [1, 1, None]}), project.root / "lake/a.parquet")
    result = project.run("silver", input="lake/", table="silver.lake")
    assert project.counts(result) == (3, 2, 0, 1)


@pytest.mark.spark
def test_a_new_column_of_the_input_reaches_the_table(project: Project):
    project.write("in/1.csv", "id\n1\n")
    config = {"input": "bronze.events", "table": "silver.events", "deduplicate": {"keys": ["id"]}}
    project.run("bronze", source="in", table="bronze.events")
    project.run("silver", **config)
    project.write("in/2.csv", "id,color\n2,red\n")
    project.run("bronze", source="in", table="bronze.events")
    project.run("silver", **config)
    assert project.rows("silver.events", "id", "color") == [{"id": "1", "color": None}, {"id": "2", "color": "red"}]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"input": "bronze.evnts"}, r"input: table bronze.evnts does not exist in .*; did you mean bronze.events$"),
        ({"input": "elsewhere/x"}, "input: .*/elsewhere/x does not exist"),
        (
            {"valid": [{"name": "r", "where": "amuont > 0"}]},
            r"valid\[0\].where: there is no column amuont; did you mean amount",
        ),
        ({"valid": [{"name": "r", "where": "amount >"}]}, r"valid\[0\].where: SQL not understood"),
        ({"valid": [{"name": "r", "where": "user"}]}, r"valid\[0\].where: 'user' is string, not a condition"),
        ({"columns": {"nix": "int"}}, "columns.nix: there is no column nix; the columns are id, user, amount, at, _"),
        ({"columns": {"n": {"from": "nofn(id)"}}}, "columns.n: unknown function: nofn; the columns are"),
        ({"derive": {"a": "1", "d": "amount * price"}}, "derive.d: there is no column price; "),
        ({"deduplicate": {"order_by": ["when DESC"]}}, r"deduplicate.order_by\[0\]: there is no column when"),
        (
            {"columns": {}, "deduplicate": {"keys": ["idd"]}},
            "deduplicate.keys: there is no column idd; did you mean id",
        ),
        ({"derive": {"d": "1 / (id - id)"}}, "table silver.events cannot be made: Division by zero"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_field(events: Project, config, message):
    with pytest.raises(TaskFailed, match=message) as raised:
        silver(events, **config)
    assert "\n" not in str(raised.value)
    assert not events.exists("silver.events")
