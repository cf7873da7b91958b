"""The bronze layer (docs/semantics.md, section 10; docs/reliability.md, E1, E2, E3, E8)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from medallion import Project, faults

from wfengine.errors import TaskFailed
from wfengine_layers.bronze_files import Print, fresh, ingested, planned
from wfengine_layers.drift import compare
from wfengine_layers.raw import RawFile

CSV = "id,price\n1,2.50\n2,3.75\n"


def a_print(path: str, sha256: str = "f00", size: int = 3) -> tuple[RawFile, Print]:
    return RawFile(path=Path("/p") / path, format="csv", size=size), Print(path, size, sha256, "csv")


# What is new, and what fits: no engine needed.


def test_a_file_known_by_path_size_and_content_is_not_new():
    """E3: the same file delivered again is ingested once."""
    one = a_print("a.csv")
    assert fresh([one], [one[1]]) == ([], [])


def test_other_content_under_a_known_path_is_new():
    known, changed = a_print("a.csv"), a_print("a.csv", "beef")
    assert fresh([changed], [known[1]]) == ([changed], [])


def test_known_content_under_another_name_is_ingested_with_a_warning():
    """Two deliveries may well be equal, and nothing may be lost."""
    known, copy = a_print("a.csv"), a_print("b.csv")
    found, warnings = fresh([copy], [known[1]])
    assert found == [copy]
    assert warnings == ["b.csv has the same content as a.csv; both are ingested"]


def test_empty_files_are_no_copies_of_each_other():
    assert fresh([a_print("a.csv", size=0), a_print("b.csv", size=0)], [])[1] == []


def test_a_full_load_forgets_the_files_before_it():
    def batch(mode: str, path: str, **more: Any) -> Any:
        return SimpleNamespace(done=True, data={"mode": mode}, result={"files": [a_print(path)[1]], **more})

    batches = {"1": batch("append", "a.csv"), "2": batch("full", "b.csv"), "3": batch("append", "c.csv")}
    assert [one.path for one in ingested(batches)] == ["b.csv", "c.csv"]


def test_files_of_an_open_batch_that_changed_are_lost(tmp_path):
    (tmp_path / "a.csv").write_text("new")
    batch = SimpleNamespace(data={"files": [{"path": "a.csv", "size": 3, "sha256": "f00", "format": "csv"}]})
    assert planned(batch, tmp_path) == ([], [a_print("a.csv")[1]])


def test_a_new_column_is_harmless_and_a_missing_one_is_told():
    files = [("a.csv", {"id": "string", "price": "string"}), ("b.csv", {"id": "string"})]
    assert compare(files, ["id"]) == ["b.csv has no column price; its rows have null there"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ID": "string", "price": "string"}, "has the column ID, and the table has id"),
        ({"sku": "string"}, "has no column in common with the table"),
        ({"a;b": "string"}, "has no column in common with the table"),
    ],
)
def test_dangerous_drift_is_refused(columns, message):
    with pytest.raises(TaskFailed, match=message):
        compare([("b.csv", columns)], ["id", "price"])


def test_types_that_do_not_convert_without_loss_are_refused():
    with pytest.raises(TaskFailed, match=r"column id is string in b\.parquet and int64 in a\.parquet"):
        compare([("a.parquet", {"id": "int64"}), ("b.parquet", {"id": "string"})], [])
    assert compare([("a.parquet", {"id": "int32"}), ("b.parquet", {"id": "int64"})], []) == []


@pytest.mark.parametrize(
    ("config", "field", "message"),
    [
        ({"schema": "id bigint, price"}, "schema", "'price' is not a column"),
        ({"schema": "id biging"}, "schema", "column 'id': 'biging' is not a type"),
        ({"schema": "id int, ID int"}, "schema", "'ID' stands twice"),
        ({"schema": "_batch_id string"}, "schema", "added by the layer itself"),
        ({"options": {"seperator": ";"}}, "options", "did you mean 'separator'"),
        ({"format": "delta"}, "mode", "use mode: full"),
    ],
)
def test_a_wrong_config_is_refused_when_the_job_file_is_read(config, field, message):
    found = faults("bronze", source="in", table="t", **config)
    assert [name for name, _ in found] == [field]
    assert message in found[0][1]


# The layer on the default engine.


@pytest.mark.spark
def test_every_record_is_a_row_or_in_quarantine(project: Project):
    project.write("in/a.csv", "id,price\n1,2.50\nbroken\n2,3.75\n")
    result = project.run("bronze", source="in", table="bronze.sales")
    assert project.counts(result) == (3, 2, 1, None)
    assert project.rows("bronze.sales", "id", "price") == [{"id": "1", "price": "2.50"}, {"id": "2", "price": "3.75"}]
    (reject,) = project.rows("bronze.sales_quarantine")
    assert (reject["_record"], reject["_line"]) == ("broken", 3)
    assert "expected 2" in reject["_reason"]
    rows = project.rows("bronze.sales")
    assert {row["_source_file"] for row in rows} == {str(project.root / "in/a.csv"), reject["_source_file"]}
    assert len({(row["_batch_id"], row["_ingested_at"]) for row in [*rows, reject]}) == 1
    assert result.output == {"table": "bronze.sales", "rows": 2}
    assert [(fact.role, fact.version_before, fact.version_after) for fact in result.facts.tables] == [
        ("output", -1, 0),
        ("quarantine", -1, 0),
    ]


@pytest.mark.spark
def test_a_file_is_ingested_once_and_new_content_is_added(project: Project):
    """E3."""
    config = {"source": "in/*.csv", "table": "bronze.sales"}
    project.write("in/a.csv", CSV)
    project.run("bronze", **config)
    again = project.run("bronze", **config)
    assert project.counts(again) == (0, 0, 0, None)
    assert again.message == "no new file in in/*.csv"
    assert project.version("bronze.sales") == 0
    project.write("in/a.csv", "id,price\n9,9.99\n")
    project.write("in/b.csv", CSV)
    third = project.run("bronze", **config)
    assert project.counts(third) == (3, 3, 0, None)
    assert project.rows("bronze.sales", "id") == ["1", "1", "2", "2", "9"]


@pytest.mark.spark
def test_the_project_may_be_moved_without_ingesting_again(project: Project, tmp_path):
    project.write("in/a.csv", CSV)
    project.run("bronze", source="in", table="bronze.sales")
    moved = tmp_path / "moved"
    moved.mkdir()
    for part in ("in", "warehouse"):
        (tmp_path / part).rename(moved / part)
    other = Project(moved, project._session)
    assert project.counts(other.run("bronze", source="in", table="bronze.sales")) == (0, 0, 0, None)


@pytest.mark.spark
@pytest.mark.parametrize("mode", ["append", "full"])
def test_nothing_to_read_is_success_and_makes_nothing(project: Project, mode):
    (project.root / "in").mkdir()
    result = project.run("bronze", source="in", table="bronze.sales", mode=mode)
    assert result.message == "no new file in in"
    assert not project.path("bronze.sales").exists()


@pytest.mark.spark
def test_a_missing_source_is_named(project: Project):
    """E8."""
    with pytest.raises(TaskFailed, match=f"source {project.root}/nowhere does not exist"):
        project.run("bronze", source="nowhere", table="bronze.sales")
    with pytest.raises(TaskFailed, match="lies outside the project"):
        project.run("bronze", source="../other", table="bronze.sales")


@pytest.mark.spark
def test_a_new_column_in_a_later_file_is_null_before(project: Project):
    project.write("in/1.csv", "id\n1\n")
    project.run("bronze", source="in", table="bronze.sales")
    project.write("in/2.csv", "color,id\nred,2\n")
    project.run("bronze", source="in", table="bronze.sales")
    project.write("in/3.csv", "id\n3\n")
    third = project.run("bronze", source="in", table="bronze.sales")
    assert project.rows("bronze.sales", "id", "color") == [
        {"id": "1", "color": None},
        {"id": "2", "color": "red"},
        {"id": "3", "color": None},
    ]
    assert third.facts.warnings == ("in/3.csv has no column color; its rows have null there",)


@pytest.mark.spark
def test_dangerous_drift_leaves_the_table_and_the_ledger_untouched(project: Project):
    project.write("in/1.csv", "id\n1\n")
    project.run("bronze", source="in", table="bronze.sales")
    ledger = project.path("bronze.sales") / "_wfengine" / "ledger.jsonl"
    before = ledger.read_bytes()
    project.write("in/2.csv", "ID\n2\n")
    with pytest.raises(TaskFailed, match=r"in/2\.csv has the column ID"):
        project.run("bronze", source="in", table="bronze.sales")
    assert ledger.read_bytes() == before
    assert project.version("bronze.sales") == 0
    project.write("in/2.csv", "id\n2\n")
    project.run("bronze", source="in", table="bronze.sales")
    assert project.rows("bronze.sales", "id") == ["1", "2"]


@pytest.mark.spark
def test_a_schema_casts_and_rejects_with_column_and_value(project: Project):
    project.write("in/a.csv", "price,id,when\n2.50,1,2026-01-31\ncheap,2,2026-01-31\n1,x,2026-02-31\n,4,\n")
    result = project.run("bronze", source="in", table="bronze.sales", schema="id bigint, price decimal(8,2), when date")
    assert project.counts(result) == (4, 2, 2, None)
    assert [(row["id"], str(row["price"]), str(row["when"])) for row in project.rows("bronze.sales")] == [
        (1, "2.50", "2026-01-31"),
        (4, "None", "None"),
    ]
    rejects = project.rows("bronze.sales_quarantine")
    assert [(row["_line"], row["_reason"]) for row in rejects] == [
        (3, "column price: cheap is not decimal(8,2)"),
        (4, "column id: x is not bigint; column when: 2026-02-31 is not date"),
    ]
    assert json.loads(rejects[0]["_record"]) == {"id": "2", "price": "cheap", "when": "2026-01-31"}


@pytest.mark.spark
def test_columns_beyond_the_schema_are_rescued(project: Project):
    project.write("in/a.csv", "id,extra\n1,kept\n")
    result = project.run("bronze", source="in", table="bronze.sales", schema="id int")
    assert project.rows("bronze.sales", "id", "_rescued") == [{"id": 1, "_rescued": '{"extra": "kept"}'}]
    assert "_rescued" in result.facts.warnings[0]


@pytest.mark.spark
def test_a_full_load_replaces_table_and_quarantine(project: Project):
    config = {"source": "in", "table": "bronze.sales", "mode": "full"}
    project.write("in/a.csv", "id,price\n1,2\nbroken\n")
    project.run("bronze", **config)
    project.run("bronze", **config)
    assert project.rows("bronze.sales", "id") == ["1"]
    assert project.rows("bronze.sales_quarantine", "_record") == ["broken"]
    project.write("in/a.csv", "id,other\n5,6\n")
    project.run("bronze", **config)
    assert project.rows("bronze.sales", "id", "other") == [{"id": "5", "other": "6"}]
    assert project.rows("bronze.sales_quarantine") == []
    # What a full load holds is not appended again.
    assert project.counts(project.run("bronze", **{**config, "mode": "append"})) == (0, 0, 0, None)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("name", "content", "values"),
    [
        ("a.jsonl", '{"id": 1}\n{"id": 2,\n', ["1"]),
        ("a.json", '[{"id": 1}, {"id": "x"}]', ["1", "x"]),
        ("a.tsv", "id\tb\n1\t2\n", ["1"]),
        ("a.txt", "first\n\nthird\n", None),
    ],
)
def test_the_format_goes_by_the_extension(project: Project, name, content, values):
    path = project.write(f"in/{name}", content)
    result = project.run("bronze", source=str(path.relative_to(project.root)), table="bronze.any")
    read, written, rejected, _ = project.counts(result)
    assert read == written + rejected
    if values is not None:
        assert project.rows("bronze.any", "id") == values


@pytest.mark.spark
def test_parquet_keeps_its_types_and_refuses_another(project: Project):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (project.root / "in").mkdir()
    pq.write_table(pa.table({"id": pa.array([1, 2], pa.int64())}), project.root / "in/1.parquet")
    project.run("bronze", source="in", table="bronze.p")
    assert project.rows("bronze.p", "id") == [1, 2]
    pq.write_table(pa.table({"id": pa.array(["x"])}), project.root / "in/2.parquet")
    with pytest.raises(TaskFailed, match=r"bronze\.p has the type long, the rows to write have string"):
        project.run("bronze", source="in", table="bronze.p")
    assert project.rows("bronze.p", "id") == [1, 2]


@pytest.mark.spark
def test_a_delta_source_is_copied(project: Project):
    project.write("in/a.csv", CSV)
    project.run("bronze", source="in", table="bronze.sales")
    result = project.run("bronze", source="warehouse/bronze/sales", format="delta", table="bronze.copy", mode="full")
    assert project.counts(result) == (2, 2, 0, None)
    assert project.rows("bronze.copy", "id") == ["1", "2"]
