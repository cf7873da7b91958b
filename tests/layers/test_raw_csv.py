"""Dirty CSV: each case accounts for every physical line (docs/semantics.md, section 10)."""

from __future__ import annotations

import pytest

from wfengine.errors import TaskFailed

OPEN = "opens a quoted value that is not closed"


def test_clean_rows_come_out_as_strings_with_their_line_numbers(read_raw):
    """A header line, then one row a line."""
    result = read_raw("a.csv", b"id,name\n1,Ann\n2,Bob\n")
    assert result.rows == [{"id": "1", "name": "Ann"}, {"id": "2", "name": "Bob"}]
    assert result.numbers == [2, 3]
    assert (result.outcome.lines, result.outcome.header_lines, result.outcome.columns) == (3, 1, ("id", "name"))
    assert result.outcome.warnings == ()


def test_an_empty_field_is_null_and_an_empty_quoted_field_is_the_empty_string(read_raw):
    result = read_raw("a.csv", b'id,name\n1,\n2,""\n,x\n')
    assert [row["name"] for row in result.rows] == [None, "", "x"]
    assert result.rows[2]["id"] is None


def test_short_and_long_lines_are_rejected_with_reason_and_line(read_raw):
    result = read_raw("a.csv", b"a,b,c\n1,2,3\n1,2\n1,2,3,4\n4,5,6\n")
    assert result.rejects == [(3, "1,2", "has 2 fields, expected 3"), (4, "1,2,3,4", "has 4 fields, expected 3")]
    assert result.numbers == [2, 5]


def test_quoted_separators_quotes_and_line_ends_are_values(read_raw):
    result = read_raw("a.csv", b'a,b\n"x,y","say ""hi"""\n"two\r\nlines",z\n')
    assert result.rows == [{"a": "x,y", "b": 'say "hi"'}, {"a": "two\r\nlines", "b": "z"}]
    assert result.numbers == [2, 3]
    assert result.outcome.lines == 4


def test_quoted_line_ends_are_rejects_when_multiline_is_false(read_raw):
    result = read_raw("a.csv", b'a,b\n"two\nlines",z\n1,2\n', multiLine=False)
    assert result.rejects == [(2, '"two', OPEN)]
    assert result.numbers == [3, 4]  # the rest of the value stands alone then, and happens to have two fields


def test_text_after_a_closing_quote_is_rejected_and_not_joined(read_raw):
    """The default engine makes ``AnnZ`` of it (docs/reliability.md, E7)."""
    result = read_raw("a.csv", b'a,b\n"Ann"Z,1\n"Bob",2\n')
    assert result.rejects == [(2, '"Ann"Z,1', "has text after a closing quote")]
    assert result.rows == [{"a": "Bob", "b": "2"}]


def test_a_quote_never_closed_costs_only_its_own_line(read_raw):
    result = read_raw("a.csv", b'a,b\n1,"open\n2,x\n3,y\n')
    assert result.rejects == [(2, '1,"open', OPEN)]
    assert result.numbers == [3, 4]


def test_two_unpaired_quotes_do_not_swallow_the_rows_between_them(read_raw):
    """The default engine loses the rows between (docs/reliability.md, E7)."""
    result = read_raw("a.csv", b'a,b\n1,"open\n2,x\n3,"more\n4,z\n')
    assert result.rejects == [(2, '1,"open', "has text after a closing quote"), (4, '3,"more', OPEN)]
    assert result.rows == [{"a": "2", "b": "x"}, {"a": "4", "b": "z"}]


def test_a_quote_inside_a_bare_field_is_text(read_raw):
    result = read_raw("a.csv", b'a,b\n5" pipe,x\n')
    assert result.rows == [{"a": '5" pipe', "b": "x"}]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_kind_of_line_end_is_understood(read_raw, end):
    result = read_raw("a.csv", end.join([b"a,b", b"1,2", b"", b"3,4", b'"5",6', b""]))
    assert [row["a"] for row in result.rows] == ["1", "3", "5"]
    assert result.numbers == [2, 4, 5]
    assert (result.outcome.blank_lines, result.outcome.lines) == (1, 5)


def test_blank_lines_are_counted_wherever_they_stand(read_raw):
    result = read_raw("a.csv", b"\n\na,b\n\n1,2\n\n\n")
    assert (result.outcome.blank_lines, result.outcome.lines, result.numbers) == (5, 7, [5])


def test_a_blank_line_in_a_file_of_one_column_is_blank_and_a_quoted_one_is_a_value(read_raw):
    result = read_raw("a.csv", b'a\nx\n\n""\n')
    assert [row["a"] for row in result.rows] == ["x", ""]
    assert result.outcome.blank_lines == 1


def test_a_nul_byte_rejects_its_line(read_raw):
    result = read_raw("a.csv", b"a,b\n1,x\0y\n2,z\n")
    assert result.rejects == [(2, "1,x\0y", "holds a NUL byte")]
    assert result.numbers == [3]


def test_a_missing_last_line_end_is_a_warning(read_raw):
    result = read_raw("a.csv", b"a,b\n1,2\n3,4")
    assert [row["a"] for row in result.rows] == ["1", "3"]
    assert "the last line has no line end" in result.outcome.warnings[0]


def test_a_last_row_cut_short_is_a_reject(read_raw):
    result = read_raw("a.csv", b"a,b\n1,2\n3")
    assert result.rejects == [(3, "3", "has 1 fields, expected 2")]
    assert len(result.outcome.warnings) == 1


def test_a_value_longer_than_the_usual_limit_of_128_kib_is_kept(read_raw):
    value = "x" * 300_000
    result = read_raw("a.csv", f'a,b\n"{value}",1\n'.encode())
    assert result.rows[0]["a"] == value


def test_a_quote_open_for_more_than_the_record_limit_is_given_up(read_raw, monkeypatch):
    """Bounds memory whatever the file."""
    monkeypatch.setattr("wfengine_layers.raw.certify.RECORD_LIMIT", 20)
    content = b'a,b\n1,"open\n' + b"2,xxxxxxxx\n" * 5 + b'3,"closed"\n4,"two\nlines"\n'
    results = [read_raw("a.csv", content, block_size=size) for size in (1, 7, 1000)]
    assert all(result == results[0] for result in results)
    assert results[0].rejects == [(2, '1,"open', OPEN)]
    assert results[0].rows[-1] == {"a": "4", "b": "two\nlines"}


def test_a_line_without_end_is_refused_before_memory_is_full(read_raw, monkeypatch):
    monkeypatch.setattr("wfengine_layers.raw.lines.LINE_LIMIT", 1 << 20)
    with pytest.raises(TaskFailed, match=r"a\.csv has a line of more than 1 MiB"):
        read_raw("a.csv", b"a,b\n" + b"x" * (2 << 20), block_size=1 << 16)


def test_an_escape_character_is_understood_when_declared(read_raw):
    result = read_raw("a.csv", b'a,b\n"say \\"hi\\"",x\\,y\n1,ends\\\n2,z\n', escape="\\")
    assert result.rows == [{"a": 'say "hi"', "b": "x,y"}, {"a": "2", "b": "z"}]
    assert result.rejects == [(3, "1,ends\\", "ends with an escape character")]


def test_without_a_quote_character_quotes_are_text(read_raw):
    result = read_raw("a.csv", b'a,b\n"x,y\n', quote="")
    assert result.rows == [{"a": '"x', "b": "y"}]


def test_the_separator_is_an_option_and_a_tab_for_tsv(read_raw):
    assert read_raw("a.csv", b"a;b\n1;2\n", sep=";").rows == [{"a": "1", "b": "2"}]
    assert read_raw("a.tsv", b"a\tb\n1,0\t2\n").rows == [{"a": "1,0", "b": "2"}]


def test_a_byte_order_mark_at_the_start_of_a_value_is_text(read_raw):
    result = read_raw("a.csv", "a,b\n1,2\n\ufeff3,4\n".encode(), block_size=8)
    assert [row["a"] for row in result.rows] == ["1", "\ufeff3"]


def test_many_rejects_and_rows_come_out_in_bounded_pieces(read_raw, monkeypatch):
    monkeypatch.setattr("wfengine_layers.raw.sink.PIECE_ROWS", 100)
    monkeypatch.setattr("wfengine_layers.raw.sink.GROUP_ROWS", 50)
    content = b"a,b\n" + b"".join(b"%d,x\nbad\n" % i for i in range(1000))
    result = read_raw("a.csv", content, block_size=500)
    assert [row["a"] for row in result.rows] == [str(i) for i in range(1000)]
    assert [line for line, *_ in result.rejects] == list(range(3, 2003, 2))
    assert len(result.outcome.rows_files) > 5
