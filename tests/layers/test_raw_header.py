"""Columns are matched by name (docs/semantics.md, section 10)."""

from __future__ import annotations

import pytest

from wfengine.errors import TaskFailed
from wfengine_layers.raw import raw_source


def test_reordered_columns_are_matched_by_name(read_raw):
    result = read_raw("a.csv", b"b,a\n2,1\n", columns=["a", "b"])
    assert result.rows == [{"a": "1", "b": "2", "_rescued": None}]
    assert result.outcome.columns == ("a", "b")


def test_a_missing_declared_column_fails_and_names_file_and_columns(read_raw):
    with pytest.raises(TaskFailed, match=r"a\.csv: column price is missing; its columns are id, name"):
        read_raw("a.csv", b"id,name\n1,x\n", columns=["id", "price"])


def test_a_missing_declared_column_is_null_when_allowed(read_raw):
    result = read_raw("a.csv", b"id\n1\n", columns=["id", "price"], missing="null")
    assert result.rows == [{"id": "1", "price": None, "_rescued": None}]
    assert "price is missing" in result.outcome.warnings[0]


def test_extra_columns_are_kept_as_json(read_raw):
    result = read_raw("a.csv", 'id,new,more\n1,"ü""",\n2,,\n'.encode(), columns=["id"])
    assert [row["_rescued"] for row in result.rows] == ['{"new": "ü\\""}', None]
    assert "new, more are kept in _rescued" in result.outcome.warnings[0]


def test_a_name_that_differs_only_by_case_is_taken_with_a_warning(read_raw):
    result = read_raw("a.csv", b"ID, Name\n1,x\n", columns=["id", "name"])
    assert result.rows[0] == {"id": "1", "name": "x", "_rescued": None}
    assert "column ID is taken as id" in result.outcome.warnings[0]


def test_the_exact_name_beats_one_that_differs_by_case(read_raw):
    result = read_raw("a.csv", b"ID,id\n1,2\n", columns=["id"])
    assert result.rows == [{"id": "2", "_rescued": '{"ID": "1"}'}]


def test_two_names_that_could_both_be_the_column_are_refused(read_raw):
    with pytest.raises(TaskFailed, match="columns ID, iD could all be id"):
        read_raw("a.csv", b"ID,iD\n1,2\n", columns=["id"])


@pytest.mark.parametrize("header", [b"a,b,a", b"a,b,A"])
def test_doubled_names_are_refused_with_file_and_names(read_raw, header):
    with pytest.raises(TaskFailed, match=r"a\.csv: its header has these names more than once: a"):
        read_raw("a.csv", header + b"\n1,2,3\n")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_wrong_separator_is_suspected_and_the_option_named(read_raw, separator):
    with pytest.raises(TaskFailed, match="set option sep"):
        read_raw("a.csv", f"a{separator}b\n1{separator}2\n".encode())


def test_a_header_alone_is_no_row(read_raw):
    result = read_raw("a.csv", b"a,b\n")
    assert (result.rows, result.outcome.lines, result.outcome.columns) == ([], 1, ("a", "b"))
    assert result.outcome.rows_files == []


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_no_row(read_raw, content):
    result = read_raw("a.csv", content)
    assert (result.rows, result.rejects, result.outcome.columns) == ([], [], ())
    assert result.outcome.blank_lines == result.outcome.lines == content.count(b"\n")


def test_a_header_over_two_lines_is_one_header(read_raw):
    result = read_raw("a.csv", b'"a\nb",c\n1,2\n', block_size=2)
    assert result.rows == [{"a\nb": "1", "c": "2"}]
    assert (result.outcome.header_lines, result.numbers) == (2, [3])


@pytest.mark.parametrize("header", [b'"a,b', b'"a"x,b', b"a\0,b", b"\xff,b"])
def test_a_header_that_cannot_be_read_fails_the_file(read_raw, header):
    with pytest.raises(TaskFailed, match=r"a\.csv: line 1, the header, "):
        read_raw("a.csv", header + b"\n1,2\n")


def test_a_column_without_name_is_called_by_its_position(read_raw):
    result = read_raw("a.csv", b",a\n0,1\n")
    assert result.rows == [{"_c0": "0", "a": "1"}]
    assert "column 1 has no name" in result.outcome.warnings[0]


def test_without_header_the_declared_names_count_in_order(read_raw):
    result = read_raw("a.csv", b"1,2\n3\n", columns=["a", "b"], header="false")
    assert result.rows == [{"a": "1", "b": "2", "_rescued": None}]
    assert result.rejects == [(2, "3", "has 1 fields, expected 2")]


def test_without_header_and_schema_the_first_good_record_tells_the_width(read_raw):
    for size in (1, 5, 1000):
        result = read_raw("a.csv", b'\n"bad"x\n1,2\n3\n4,5\n', header=False, block_size=size)
        assert result.rows == [{"_c0": "1", "_c1": "2"}, {"_c0": "4", "_c1": "5"}]
        assert [line for line, *_ in result.rejects] == [2, 4]
        assert result.outcome.blank_lines == 1


@pytest.mark.parametrize("block_size", [1, 1000])
def test_lines_before_the_first_good_record_have_reasons_that_do_not_speak_of_its_width(read_raw, block_size):
    result = read_raw("a.csv", b'"\n\xff"\n1,2\n', header=False, block_size=block_size)
    assert {reason for *_, reason in result.rejects} == {"holds bytes that the encoding does not allow"}
    assert result.rows == [{"_c0": "1", "_c1": "2"}]


@pytest.mark.parametrize("name", ["_line", "_Source_File", "_rescued"])
def test_the_names_of_the_readers_own_columns_are_refused(read_raw, name):
    with pytest.raises(TaskFailed, match=rf"has the column {name}, which the reader itself adds"):
        read_raw("a.csv", f"a,{name}\n1,2\n".encode())
    with pytest.raises(TaskFailed, match="the schema has the column"):
        raw_source({}, ["a", name])


def test_an_unknown_option_is_refused_with_the_nearest_name():
    with pytest.raises(TaskFailed, match=r"option delimeter is not known.*did you mean 'delimiter'"):
        raw_source({"delimeter": ";"})


@pytest.mark.parametrize(
    "options",
    [
        {"sep": "||"},
        {"sep": ""},
        {"sep": "§"},
        {"quote": "\n"},
        {"sep": '"'},
        {"encoding": "klingon"},
        {"encoding": "base64"},
        {"header": "perhaps"},
        {"missing": "maybe"},
        {"sep": ",", "delimiter": ";"},
    ],
)
def test_option_values_are_checked(options):
    with pytest.raises(TaskFailed, match="option"):
        raw_source(options)


def test_a_schema_with_names_that_differ_by_case_is_refused():
    with pytest.raises(TaskFailed, match="id and ID are the same to a table"):
        raw_source({}, ["id", "ID"])
