"""Parquet files keep their types; schemas that do not go together are refused (docs/semantics.md, section 10)."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wfengine.errors import TaskFailed
from wfengine_layers.raw import RawSource, check_files, discover, read_file


@pytest.fixture
def write(tmp_path):
    def write(file, /, **columns):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), folder / file)
        return folder

    return write


def read(folder, sink):
    outcomes = [read_file(file, RawSource(), sink=sink) for file in discover(folder, None)]
    return outcomes, [row for outcome in outcomes for row in pq.read_table(outcome.rows_files).to_pylist()]


def test_rows_are_passed_as_they_are_with_file_and_number(write, tmp_path):
    day = datetime.date(2026, 1, 2)
    folder = write("a.parquet", id=[1, 2], day=[day, None], tags=[["x"], []])
    [outcome], rows = read(folder, tmp_path)
    assert rows[0] == {"id": 1, "day": day, "tags": ["x"], "_source_file": str(folder / "a.parquet"), "_line": 1}
    assert (rows[1]["_line"], outcome.rows, outcome.lines, outcome.columns) == (2, 2, 2, ("id", "day", "tags"))


def test_a_new_column_goes_together_with_files_that_lack_it(write):
    write("a.parquet", id=[1])
    folder = write("b.parquet", id=[2], extra=["x"])
    check_files(discover(folder, None))
    assert [file.format for file in discover(folder, None)] == ["parquet", "parquet"]


def test_one_column_of_two_types_is_refused_with_files_and_types(write):
    write("a.parquet", id=[1])
    folder = write("b.parquet", id=["x"])
    with pytest.raises(TaskFailed, match=r"column id is string in .*b\.parquet but int64 in .*a\.parquet"):
        check_files(discover(folder, None))


def test_names_that_differ_only_by_case_are_refused(write, tmp_path):
    """They would become two half-empty columns."""
    write("a.parquet", id=[1])
    folder = write("b.parquet", ID=[2])
    with pytest.raises(TaskFailed, match=r"column ID of .*b\.parquet and id of .*a\.parquet differ only by case"):
        check_files(discover(folder, None))
    write("a.parquet", id=[1], Id=[2])
    with pytest.raises(TaskFailed, match="differ only by case"):
        read(folder, tmp_path)


def test_a_column_of_nulls_without_type_goes_with_any_and_is_left_out_alone(write, tmp_path):
    write("a.parquet", id=[1], note=pa.nulls(1))
    folder = write("b.parquet", id=[2], note=["x"])
    check_files(discover(folder, None))
    outcomes, _ = read(folder, tmp_path)
    assert [outcome.columns for outcome in outcomes] == [("id",), ("id", "note")]
    assert "left out note" in outcomes[0].warnings[0]


def test_a_damaged_file_fails_with_its_name(write, tmp_path):
    folder = write("a.parquet", id=list(range(1000)))
    content = (folder / "a.parquet").read_bytes()
    for bad in (content[:-10], b"", b"id\n1\n"):
        (folder / "a.parquet").write_bytes(bad)
        with pytest.raises(TaskFailed, match=r"a\.parquet is damaged or not Parquet"):
            read(folder, tmp_path)


def test_the_readers_own_column_names_are_refused(write, tmp_path):
    folder = write("a.parquet", _line=[1])
    with pytest.raises(TaskFailed, match="has the column _line, which the reader itself adds"):
        read(folder, tmp_path)


def test_no_rows_keep_the_columns(write, tmp_path):
    folder = write("a.parquet", id=pa.array([], pa.int64()))
    outcome = read_file(discover(folder, None)[0], RawSource(), sink=tmp_path)
    assert (outcome.rows, outcome.columns, outcome.rows_files) == (0, ("id",), [])


def test_how_a_type_is_held_in_memory_does_not_matter(write, tmp_path):
    """Files of several writers differ in dictionaries and large strings only on paper."""
    write("a.parquet", name=pa.array(["x"]), at=pa.array([1_000], pa.timestamp("us")))
    write("b.parquet", name=pa.array(["y"], pa.large_string()), at=pa.array([2_000_000], pa.timestamp("ns")))
    folder = write("c.parquet", name=pa.array(["z"]).dictionary_encode(), at=pa.array([3], pa.timestamp("ms")))
    check_files(discover(folder, None))
    outcomes, rows = read(folder, tmp_path)
    assert [(row["name"], row["at"].microsecond) for row in rows] == [("x", 1000), ("y", 2000), ("z", 3000)]
    assert len({str(pq.read_schema(outcome.rows_files[0]).types) for outcome in outcomes}) == 1


def test_nanoseconds_that_would_be_lost_fail_the_file(write, tmp_path):
    folder = write("a.parquet", at=pa.array([1], pa.timestamp("ns")))
    with pytest.raises(TaskFailed, match=r"a\.parquet: .* tables keep times to the microsecond"):
        read(folder, tmp_path)
