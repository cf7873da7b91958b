"""JSON lines and documents (docs/semantics.md, section 10)."""

from __future__ import annotations

import json

import pytest

from wfengine.errors import TaskFailed


def test_lines_become_rows_of_texts_and_columns_the_union_of_keys(read_raw):
    result = read_raw("a.jsonl", b'{"a": 1, "b": true}\n{"b": null, "c": "x"}\n{}\n')
    assert result.rows == [
        {"a": "1", "b": "true", "c": None},
        {"a": None, "b": None, "c": "x"},
        {"a": None, "b": None, "c": None},
    ]
    assert (result.outcome.columns, result.numbers) == (("a", "b", "c"), [1, 2, 3])


def test_numbers_stay_as_they_were_written(read_raw):
    numbers = ["12345678901234567890123", "0.10", "1E400", "-0", "1.0000000000000000001", "1" * 5000]
    content = "".join(f'{{"n": {n}, "deep": [{n}, {{"m": {n}}}]}}\n' for n in numbers)
    rows = read_raw("a.jsonl", content.encode()).rows
    assert [row["n"] for row in rows] == numbers
    assert rows[1]["deep"] == '[0.10,{"m":0.10}]'


def test_nested_values_are_kept_as_json_text(read_raw):
    value = {"t": 'ü"\n', "f": [True, None, {}], "g": {"h": []}}
    [row] = read_raw("a.jsonl", json.dumps({"v": value}).encode()).rows
    assert json.loads(row["v"]) == value
    assert "ü" in row["v"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": 1', "is not JSON: Expecting ',' delimiter (character 8)"),
        (b"hello", "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b"3", "is not a JSON object"),
        (b'{"a": 1} {"a": 2}', "is not JSON: more text after its end (character 9)"),
        (b'{"a": 1, "a": 2}', "has the key a twice"),
        (b'{"x": {"a": 1, "a": 2}}', "has the key a twice"),
        (b'{"a": NaN}', "holds NaN, which is not JSON"),
        (b'{"a": [-Infinity]}', "holds -Infinity, which is not JSON"),
        (b'{"a": "\\ud800"}', "holds half of a surrogate pair, which is no text"),
        (b'{"a": "\xff"}', "holds bytes that the encoding does not allow"),
        (b'{"a": "x\0"}', "is not JSON: Invalid control character at (character 9)"),
        (b'{"": 1}', "has an empty key"),
        (b'{"b": 1, "B": 2}', "has two keys that are the same to a table: b and B"),
        (b'{"a": ' + b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_a_bad_line_is_a_reject_with_its_reason(read_raw, line, reason):
    result = read_raw("a.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert [row["a"] for row in result.rows] == ["1", "2"]
    assert [(number, why) for number, _, why in result.rejects] == [(2, reason)]
    assert result.outcome.columns == ("a",)


def test_blank_lines_and_a_missing_last_line_end_do_not_matter(read_raw):
    result = read_raw("a.ndjson", b'\xef\xbb\xbf\n{"a": 1}\r\n  \r\n{"a": 2}')
    assert (result.numbers, result.outcome.blank_lines, result.outcome.lines) == ([2, 4], 2, 4)


def test_a_key_that_differs_only_by_case_is_taken_with_a_warning(read_raw):
    result = read_raw("a.jsonl", b'{"id": 1}\n{"ID": 2}\n')
    assert result.rows == [{"id": "1"}, {"id": "2"}]
    assert "key ID is taken as id" in result.outcome.warnings[0]


def test_with_declared_columns_other_keys_are_kept_as_json(read_raw):
    result = read_raw(
        "a.jsonl", b'{"x": {"y": 1.50}, "ID": 7, "n": "5"}\n{"id": 8, "ID": 9}\n', columns=["id", "never"]
    )
    assert result.rows == [
        {"id": "7", "never": None, "_rescued": '{"x":{"y":1.50},"n":"5"}'},
        {"id": "8", "never": None, "_rescued": '{"ID":9}'},
    ]


def test_the_readers_own_column_names_are_refused(read_raw):
    with pytest.raises(TaskFailed, match="has the column _line, which the reader itself adds"):
        read_raw("a.jsonl", b'{"_line": 1}\n')


def test_too_many_different_keys_ask_for_a_schema(read_raw, monkeypatch):
    monkeypatch.setattr("wfengine_layers.raw.jsontext.COLUMN_LIMIT", 2)
    with pytest.raises(TaskFailed, match="has more than 2 different keys; declare a schema"):
        read_raw("a.jsonl", b'{"a": 1, "b": 2}\n{"c": 3}\n')


def test_a_column_that_comes_late_is_null_in_the_pieces_before(read_raw, monkeypatch):
    monkeypatch.setattr("wfengine_layers.raw.sink.GROUP_ROWS", 2)
    result = read_raw("a.jsonl", b"".join(b'{"k%d": 1}\n' % i for i in range(6)), block_size=9)
    assert len(result.outcome.rows_files) > 2
    assert all(list(row) == [f"k{i}" for i in range(6)] for row in result.rows)
    assert [[k for k, v in row.items() if v] for row in result.rows] == [[f"k{i}"] for i in range(6)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("block_size", [1, 7, 1 << 20])
def test_an_array_is_read_element_by_element(read_raw, indent, end, block_size):
    objects = [{"a": i, "t": "ü", "n": {"x": [i]}} for i in range(50)]
    text = json.dumps(objects, indent=indent, ensure_ascii=False).replace("\n", end)
    result = read_raw("a.json", text.encode(), block_size=block_size)
    assert [row["a"] for row in result.rows] == [str(i) for i in range(50)]
    assert result.outcome.lines == len(text.splitlines())
    starts = [1] * 50 if indent is None else [2 + 9 * i for i in range(50)]
    assert result.numbers == starts


def test_one_object_over_many_lines_and_objects_after_another_are_documents(read_raw):
    text = json.dumps({"a": 1}, indent=2) + "\n" + json.dumps({"a": 2}, indent=2) + "\n"
    assert [row["a"] for row in read_raw("a.json", text.encode()).rows] == ["1", "2"]


@pytest.mark.parametrize("content", [b"", b" \n", b"[]", b"[ \n]"])
def test_a_document_without_elements_is_no_row(read_raw, content):
    result = read_raw("a.json", content)
    assert (result.rows, result.rejects, result.outcome.columns) == ([], [], ())


def test_lines_in_a_json_file_are_lines(read_raw):
    result = read_raw("a.json", b'{"a": 1}\n{"a": \n{"a": 3}\n')
    assert [row["a"] for row in result.rows] == ["1", "3"]
    assert [line for line, *_ in result.rejects] == [2]


def test_multiline_decides_where_the_first_line_would_decide_otherwise(read_raw):
    content = b'{"a":\n1}\n'
    assert read_raw("a.json", content, multiline=True).rows == [{"a": "1"}]
    assert len(read_raw("a.json", content).rejects) == 2


@pytest.mark.parametrize("block_size", [1, 1000])
def test_an_element_that_is_not_fit_is_a_reject_as_a_whole(read_raw, block_size):
    content = b'[{"a": 1},\n {"a": NaN,\n  "b": {"a": 9}},\n 12,\n {"a": 1, "a": 2}, {"a": "\xff"},\n {"a": 3}]'
    result = read_raw("a.json", content, block_size=block_size)
    assert [row["a"] for row in result.rows] == ["1", "3"]
    assert result.rejects == [
        (2, '{"a": NaN,\n  "b": {"a": 9}}', "holds NaN, which is not JSON"),
        (4, "12", "is not a JSON object"),
        (5, '{"a": 1, "a": 2}', "has the key a twice"),
        (5, '{"a": "\\xff"}', "holds bytes that the encoding does not allow"),
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'[{"a": 1},\n{"a": 2', r"line 2: not JSON"),
        (b'[{"a": 1},\n', r"line 2: not JSON"),
        (b'[{"a": 1}\n', r"line 2: the array ends too early"),
        (b'[{"a": 1}\n{"a": 2}]', r"line 2: expected a comma"),
        (b'[{"a": 1},\n{"a" 2}, {"a": 3}]', r"line 2: not JSON: Expecting ':' delimiter"),
        (b'[{"a": 1}]\n[', r"line 2: text after the end"),
        (b"[" * 100_000, r"line 1: nested too deeply"),
    ],
)
@pytest.mark.parametrize("block_size", [1, 1000])
def test_a_document_that_is_not_json_fails_with_its_line(read_raw, content, what, block_size):
    """Nobody can tell where its next element begins, so no row may be guessed."""
    with pytest.raises(TaskFailed, match=rf"a\.json: {what}.*can only be read whole"):
        read_raw("a.json", content, block_size=block_size)


def test_the_search_for_the_end_of_a_broken_element_is_bounded(read_raw, monkeypatch):
    monkeypatch.setattr("wfengine_layers.raw.jsonfile.ELEMENT_LIMIT", 1000)
    with pytest.raises(TaskFailed, match="line 1: not JSON"):
        read_raw("a.json", b'[{"a": "' + b"x" * 100_000 + b'"}]', block_size=100)
