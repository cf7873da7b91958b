"""Whatever the bytes and the size of the blocks, nothing is lost or doubled (docs/semantics.md, section 10)."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from wfengine.errors import TaskFailed
from wfengine_layers.raw import RawFile, RawSource, read_file

BLOCKS = st.integers(1, 64)
#: Dense in what matters to a parser.
SOUP = st.lists(
    st.sampled_from([b",", b'"', b"\n", b"\r", b"a", b"1", b"\xc3\xa9", b"\xff", b"\0", b"\\", b" "]), max_size=40
)
JSON_SOUP = st.lists(
    st.sampled_from(
        [b'{"a":1}', b'{"a":[{}],"b":null}', b"{", b"}", b"[", b"]", b",", b"\n", b"\r", b'"', b"1", b"\xff", b" "]
    ),
    max_size=25,
)
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8) | st.sampled_from(
    ["", '"', ",", "\n", "\r\n", "\r", '",', '"\n', "\ufeff"]
)


def read(content: bytes, kind: str, source: RawSource, block_size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(content)
        file = RawFile(path=path, format=kind, size=len(content))
        try:
            outcome = read_file(file, source, sink=Path(folder), block_size=block_size)
        except TaskFailed as error:
            return {"error": str(error).replace(folder, "")}
        rows = [row for piece in outcome.rows_files for row in pq.read_table(piece).to_pylist()]
        rejects = [row for piece in outcome.rejects_files for row in pq.read_table(piece).to_pylist()]
    for row in rows + rejects:
        del row["_source_file"]
    return {
        "numbers": [row.pop("_line") for row in rows],
        "rows": rows,
        "rejects": rejects,
        "lines": outcome.lines,
        "header": outcome.header_lines,
        "blank": outcome.blank_lines,
        "columns": outcome.columns,
    }


def reads(content: bytes, kind: str, source: RawSource, block_size: int) -> dict[str, Any]:
    """Read in small blocks and in one; both must be the same."""
    result = read(content, kind, source, block_size)
    assert result == read(content, kind, source, 1 << 20)
    return result


@settings(max_examples=250, deadline=None)
@given(SOUP, BLOCKS, st.sampled_from(['"', ""]), st.sampled_from(["", "\\"]), st.booleans(), st.integers(1, 3))
def test_every_line_of_any_bytes_is_in_one_place(soup, block_size, quote, escape, multiline, width):
    """Rows (with the lines that they span), rejects, header and blank lines make up the file."""
    content = b",".join([b"h1", b"h2", b"h3"][:width]) + b"\n" + b"".join(soup)
    result = reads(content, "csv", RawSource(quote=quote, escape=escape, multiline=multiline), block_size)
    lines = content.splitlines()
    assert result["lines"] == len(lines)
    assert result["header"] == 1
    rejected = [row["_line"] for row in result["rejects"]]
    taken = set(result["numbers"]) | set(rejected)
    assert len(taken) == len(result["numbers"]) + len(rejected)
    dialect = {"quotechar": quote or None, "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE}
    for number, row in zip(result["numbers"], result["rows"], strict=True):
        values = [value or "" for value in row.values()]
        last = number + sum(len(f"{value}.".splitlines()) - 1 for value in values)
        record = content.decode("latin-1").splitlines(keepends=True)[number - 1 : last]
        [fields] = csv.reader(record, strict=True, escapechar=escape or None, **dialect)
        assert [field.encode("latin-1").decode() for field in fields] == values
        assert taken.isdisjoint(range(number + 1, last + 1))
        taken.update(range(number, last + 1))
    unseen = [number for number in range(2, len(lines) + 1) if number not in taken]
    assert len(unseen) == result["blank"]
    assert all(not lines[number - 1] for number in unseen)


@settings(max_examples=100, deadline=None)
@given(SOUP, BLOCKS, st.booleans(), st.sampled_from(['"', ""]))
def test_any_bytes_without_a_header_are_read_the_same_in_all_blocks(soup, block_size, declared, quote):
    content = b"".join(soup)
    columns = ("a", "b") if declared else None
    result = reads(content, "csv", RawSource(header=False, columns=columns, quote=quote), block_size)
    lines = content.splitlines()
    assert result["lines"] == len(lines)
    if not quote:
        assert result["blank"] == lines.count(b"")
        assert len(result["rows"]) + len(result["rejects"]) + result["blank"] == len(lines)


@settings(max_examples=100, deadline=None)
@given(SOUP, BLOCKS, st.sampled_from(["utf-16-le", "latin-1", "shift_jis"]))
def test_any_bytes_in_another_encoding_are_read_the_same_in_all_blocks(soup, block_size, encoding):
    content = "h1,h2\n".encode(encoding) + b"".join(soup)
    result = reads(content, "csv", RawSource(encoding=encoding), block_size)
    assert "error" in result or result["header"] == 1


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=8), BLOCKS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_well_formed_csv_has_the_rows_that_were_written(rows, block_size, end):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b", "c"), *rows])
    result = reads(stream.getvalue().encode(), "csv", RawSource(), block_size)
    assert [tuple(row.values()) for row in result["rows"]] == rows
    assert result["rejects"] == []


@settings(max_examples=150, deadline=None)
@given(JSON_SOUP, BLOCKS)
def test_every_line_of_any_json_lines_is_in_one_place(soup, block_size):
    content = b"".join(soup)
    result = reads(content, "jsonl", RawSource(), block_size)
    numbers = result["numbers"] + [row["_line"] for row in result["rejects"]]
    blank = [i for i, line in enumerate(content.splitlines(), 1) if not line.strip()]
    assert sorted(numbers + blank) == list(range(1, result["lines"] + 1))
    assert (result["lines"], result["blank"]) == (len(content.splitlines()), len(blank))


@settings(max_examples=150, deadline=None)
@given(JSON_SOUP, BLOCKS)
def test_any_json_document_is_read_whole_or_refused_the_same_in_all_blocks(soup, block_size):
    content = b"[" + b"".join(soup)
    result = reads(content, "json", RawSource(), block_size)
    try:
        expected = json.loads(content)
    except ValueError:
        expected = None
    if expected is not None:
        assert len(result["rows"]) + len(result["rejects"]) == len(expected)
        assert len(result["rows"]) == sum(isinstance(value, dict) for value in expected)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "c", "ü"]), VALUES | st.lists(VALUES, max_size=3), max_size=4)


@settings(max_examples=150, deadline=None)
@given(st.lists(OBJECTS, max_size=6), BLOCKS, st.booleans(), st.sampled_from([None, 1]))
def test_json_values_come_out_as_they_were_written(objects, block_size, lines, indent):
    if lines:
        text = "\n".join(json.dumps(value) for value in objects)
    else:
        text = json.dumps(objects, indent=indent, ensure_ascii=False)
    result = reads(text.encode(), "jsonl" if lines else "json", RawSource(), block_size)
    assert result["rejects"] == []
    columns = dict.fromkeys(key for value in objects for key in value)
    assert result["columns"] == tuple(columns)
    for row, value in zip(result["rows"], objects, strict=True):
        for name in columns:
            field = value.get(name)
            same = row[name] == field if field is None or isinstance(field, str) else json.loads(row[name]) == field
            assert same
