"""SQL cells: statements end where they end, and values stay values (docs/reliability.md, C13)."""

from __future__ import annotations

import pytest

from wfengine_layers.notebook.sqlcells import fill, is_query, statements
from wfengine_layers.notebook.widgets import InputWidgetNotDefined

PAYLOADS = [
    "'; DROP TABLE t; --",
    '"; DROP TABLE t; --',
    "\\'; DROP TABLE t; --",
    "`; DROP TABLE t; --",
    "1 OR 1=1",
    "x' OR 'a'='a",
    "*/ DROP TABLE t /*",
    "-- ",
    ";",
    "${other}",
    "$other",
    ":other",
    "\\",
    "a\nb",
    "",
]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT 1", [(0, "SELECT 1")]),
        ("SELECT 1;", [(0, "SELECT 1")]),
        ("\nSELECT 1;\n\n SELECT 2 ;", [(1, "SELECT 1"), (3, "SELECT 2")]),
        ("SELECT ';', \";\", `;` FROM t;SELECT 2", [(0, "SELECT ';', \";\", `;` FROM t"), (0, "SELECT 2")]),
        (r"SELECT 'it\'s;'; SELECT 2", [(0, r"SELECT 'it\'s;'"), (0, "SELECT 2")]),
        ("SELECT 'a'';b'; SELECT 2", [(0, "SELECT 'a'';b'"), (0, "SELECT 2")]),
        (r"SELECT r'\'; SELECT 2", [(0, r"SELECT r'\'"), (0, "SELECT 2")]),
        ("SELECT 1 -- ; no 'end\n; SELECT 2", [(0, "SELECT 1 -- ; no 'end"), (1, "SELECT 2")]),
        ("SELECT 1 /* ; /* ; */ ; */; SELECT 2", [(0, "SELECT 1 /* ; /* ; */ ; */"), (0, "SELECT 2")]),
        ("SELECT 1; /* open ; ' ", [(0, "SELECT 1")]),
        ("-- only words\n/* ; */", []),
        (";;\n;", []),
        ("", []),
        ("-- words\n'literal';", [(1, "'literal'")]),
    ],
)
def test_statements_end_at_semicolons_outside_strings_and_comments(text: str, found: list[tuple[int, str]]) -> None:
    assert statements(text) == found


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("select 1", True),
        ("(SELECT 1)", True),
        ("WITH a AS (SELECT 1) TABLE a", True),
        ("SHOW TABLES", True),
        ("CREATE TABLE t (a int)", False),
        ("selected", False),
        ("", False),
    ],
)
def test_only_queries_have_rows_to_show(statement: str, shown: bool) -> None:
    assert is_query(statement) is shown


@pytest.mark.parametrize(
    ("statement", "filled"),
    [
        ("WHERE a = :text", r"WHERE a = 'it\'s'"),
        ("FROM IDENTIFIER(:table)", "FROM `main`.`sales`"),
        ("FROM identifier ( :table )", "FROM `main`.`sales`"),
        ("WHERE a = '${text}'", r"WHERE a = 'it\'s'"),
        ('WHERE a = "${text}"', 'WHERE a = "it\'s"'),
        ("FROM ${table}", "FROM `main`.`sales`"),
        ("FROM $table", "FROM `main`.`sales`"),
        ("FROM ${ table }.x", "FROM `main`.`sales`.x"),
        ("FROM cat.${date}.t", "FROM cat.`2024-01-01`.t"),
        ("FROM `a ${date}`", "FROM `a 2024-01-01`"),
        ("FROM events_${env}", "FROM events_dev"),
        ("WHERE a > ${date}", "WHERE a > '2024-01-01'"),
        ("WHERE a = ${env}", "WHERE a = 'dev'"),
        ("WHERE a LIKE $env", "WHERE a LIKE 'dev'"),
        ("LIMIT ${number}", "LIMIT 10"),
        ("SELECT 1 -${minus}, 2", "SELECT 1 -(-5), 2"),
        ("SELECT r'${env}'", "SELECT r'dev'"),
        ("SELECT a:b, c::int, '$5', '^x$', ':text', $unknown", "SELECT a:b, c::int, '$5', '^x$', ':text', $unknown"),
        ("SELECT 1 -- :none ${none}", "SELECT 1 -- :none ${none}"),
        ("SELECT /* :none */ 1", "SELECT /* :none */ 1"),
    ],
)
def test_widgets_are_filled_for_the_place_they_stand_in(statement: str, filled: str) -> None:
    values = {"text": "it's", "table": "main.sales", "date": "2024-01-01", "env": "dev", "number": "10", "minus": "-5"}
    assert fill(statement, values) == filled


@pytest.mark.parametrize("statement", ["SELECT :nope", "SELECT ${nope}", "SELECT '${nope}'", "FROM IDENTIFIER(:nope)"])
def test_an_unknown_widget_is_named_with_those_there_are(statement: str) -> None:
    with pytest.raises(InputWidgetNotDefined, match="'nope' is defined; there are a, b"):
        fill(statement, {"b": "", "a": ""})


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize(
    "template", ["a = :v", "a = '${v}'", 'a = "${v}"', "a = ${v}", "FROM ${v}", "FROM `${v}`", "FROM s.${v}", "f(:v)"]
)
def test_no_value_ends_its_string_or_adds_a_statement(template: str, payload: str) -> None:
    """docs/reliability.md, C13."""
    statement = f"SELECT 1, {template} , 'tail'"
    filled = fill(statement, {"v": payload, "other": "filled twice"})
    assert [text for _, text in statements(filled)] == [filled]
    assert filled.endswith(" , 'tail'")
    assert "filled twice" not in filled
    # With every string and quoted name taken out, nothing of the payload is left.
    assert "DROP" not in _code(filled)
    assert "OR" not in _code(filled)


@pytest.mark.parametrize(
    ("template", "payload"), [("FROM e_${v}", "a b"), ("FROM e_${v}", "x;"), ("SELECT r'${v}'", "a'b")]
)
def test_a_value_that_cannot_stand_in_its_place_is_refused(template: str, payload: str) -> None:
    with pytest.raises(ValueError, match="cannot"):
        fill(template, {"v": payload})


def _code(sql: str) -> str:
    """Return the text outside quotes, by a reading independent of the product's."""
    left, quote, at = [], "", 0
    while at < len(sql):
        character = sql[at]
        if quote and character == "\\" and quote != "`":
            at += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"`":
            quote = character
        else:
            left.append(character)
        at += 1
    return "".join(left)
