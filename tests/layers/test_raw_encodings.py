"""Text that is not plain UTF-8 is understood or rejected, never replaced (docs/semantics.md, section 10)."""

from __future__ import annotations

import pytest

from wfengine.errors import TaskFailed

TEXT = "name,city\nJürgen,Köln\n太郎,東京\n"
ROWS = [{"name": "Jürgen", "city": "Köln"}, {"name": "太郎", "city": "東京"}]
REASON = "holds bytes that the encoding does not allow"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("block_size", [1, 3, 1000])
def test_a_byte_order_mark_tells_the_encoding(read_raw, encoding, block_size):
    result = read_raw("a.csv", TEXT.encode(encoding), block_size=block_size)
    assert (result.rows, result.outcome.columns) == (ROWS, ("name", "city"))


@pytest.mark.parametrize(
    ("encoding", "text"), [("latin-1", TEXT[:22]), ("shift_jis", "a,b\n太郎,表\n"), ("utf-16-be", TEXT)]
)
def test_a_declared_encoding_is_used(read_raw, encoding, text):
    result = read_raw("a.csv", text.encode(encoding), encoding=encoding, block_size=5)
    assert [list(row.values()) for row in result.rows] == [line.split(",") for line in text.splitlines()[1:]]


def test_a_byte_order_mark_beats_the_declared_encoding_with_a_warning(read_raw):
    result = read_raw("a.csv", TEXT.encode("utf-8-sig"), encoding="latin-1")
    assert result.rows == ROWS
    assert "declared latin-1 but begins with the byte order mark of utf-8" in result.outcome.warnings[0]


@pytest.mark.parametrize("block_size", [1, 1000])
def test_invalid_utf8_rejects_its_record_and_shows_the_bytes(read_raw, block_size):
    """The default engine puts replacement characters in silence (docs/reliability.md, E7)."""
    content = "a,b\nMüller,1\n".encode() + b"M\xfcller,2\n" + b'"M\xfc,",3\n' + "é,4\n".encode()
    result = read_raw("a.csv", content, block_size=block_size)
    assert [row["b"] for row in result.rows] == ["1", "4"]
    assert result.rejects == [(3, "M\\xfcller,2", REASON), (4, '"M\\xfc,",3', REASON)]


def test_a_record_whose_second_line_is_invalid_is_rejected_line_by_line(read_raw):
    result = read_raw("a.csv", b'a,b\n"x\n\xff",1\n2,3\n')
    assert [(line, reason) for line, _, reason in result.rejects] == [(2, REASON), (3, REASON)]
    assert result.rows == [{"a": "2", "b": "3"}]


def test_bytes_that_a_declared_encoding_does_not_allow_are_shown_as_they_were(read_raw):
    result = read_raw("a.csv", b"a,b\n1,\x81\n2,\x80\n", encoding="cp1252")
    assert result.rows == [{"a": "2", "b": "€"}]
    assert result.rejects == [(2, "1,\\x81", REASON)]


def test_half_a_character_of_utf16_is_rejected(read_raw):
    content = "a,b\n1,2\n".encode("utf-16") + "3,".encode("utf-16-le") + b"\x00\xd8" + "\n4,5\n".encode("utf-16-le")
    for size in (1, 2, 3, 1000):
        result = read_raw("a.csv", content, block_size=size)
        assert result.rejects == [(3, "3,\\x00\\xd8", REASON)]
        assert [row["a"] for row in result.rows] == ["1", "4"]


def test_utf16_without_a_mark_fails_and_names_the_option(read_raw):
    with pytest.raises(TaskFailed, match="holds a NUL byte; check the options encoding"):
        read_raw("a.csv", TEXT.encode("utf-16-le"))


def test_line_ends_of_unicode_are_text(read_raw):
    result = read_raw("a.csv", "a,b\n1\u2028x,2\x0b\x85\n".encode())
    assert result.rows == [{"a": "1\u2028x", "b": "2\x0b\x85"}]
