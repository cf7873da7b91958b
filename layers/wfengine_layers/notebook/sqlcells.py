"""The text of SQL cells: where statements end, and how widgets become values without becoming SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from wfengine_layers import sqltext
from wfengine_layers.notebook.widgets import InputWidgetNotDefined

#: The parts of SQL text that matter here; what lies between them is passed on as it is.
_PART = re.compile(
    r"""
      (?P<line_comment> --[^\n]* )
    | (?P<comment>      /\* )
    | (?P<raw>          (?<!\w)[rR](?: '[^']*'? | "[^"]*"? ) )
    | (?P<string>       '(?:[^'\\]|\\.)*'? | "(?:[^"\\]|\\.)*"? )
    | (?P<quoted>       `[^`]*`? )
    | (?P<end>          ; )
    | (?P<identifier>   \bIDENTIFIER\s*\(\s*:(?P<identifier_name>[A-Za-z_]\w*)\s*\) )
    | (?P<bound>        (?<![\w:)\]`'"]):(?P<bound_name>[A-Za-z_]\w*) )
    | (?P<braced>       \$\{\s*(?P<braced_name>[\w.-]+)\s*\} )
    | (?P<dollar>       \$(?P<dollar_name>[A-Za-z_]\w*) )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_BRACED = re.compile(r"\$\{\s*([\w.-]+)\s*\}|\$([A-Za-z_]\w*)")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_QUERY = re.compile(r"\(|(SELECT|WITH|FROM|VALUES|TABLE|SHOW|DESC|DESCRIBE|EXPLAIN)\b", re.IGNORECASE)
#: After these a text is a value, never a name.
_COMPARED = re.compile(r"(?:[=<>]|\b(?:R?LIKE|ILIKE))\s*$", re.IGNORECASE)


def statements(text: str) -> list[tuple[int, str]]:
    """Split a cell at the semicolons outside strings and comments.

    Returns each statement from its first word on, with the number of lines before that; comments alone are none.
    """
    found: list[tuple[int, str]] = []
    first: int | None = None
    last = 0
    for kind, begin, end, _ in [*_parts(text), ("end", len(text), len(text), "")]:
        # What lies between two parts is code, and so is every part but a comment.
        gap = re.search(r"\S", text[last:begin])
        if first is None and (gap or kind not in ("comment", "line_comment", "end")):
            first = last + gap.start() if gap else begin
        if kind == "end":
            if first is not None:
                found.append((text.count("\n", 0, first), text[first:begin].strip()))
            first = None
        last = end
    return found


def is_query(statement: str) -> bool:
    """Whether a statement has rows to show; a command's result says only that it was done."""
    return _QUERY.match(statement) is not None


def fill(statement: str, values: Mapping[str, str]) -> str:
    """Put widget values into a statement: ``:name`` and ``IDENTIFIER(:name)``, ``${name}`` and the old ``$name``.

    Values are quoted for the place they stand in, so that none of them ends a string or starts another statement.
    Raises InputWidgetNotDefined for an unknown name (an unknown ``$name`` is left alone: it may be plain text), and
    ValueError for a value that cannot stand where it is asked for.
    """
    pieces: list[str] = []
    last = 0
    for kind, begin, end, name in _parts(statement):
        pieces.append(statement[last:begin])
        part = statement[begin:end]
        if kind in ("string", "raw", "quoted"):
            part = _fill_quoted(part, kind, values)
        elif kind == "bound":
            part = sqltext.literal(_value(name, values))
        elif kind == "identifier":
            part = _path(_value(name, values))
        elif kind == "braced" or (kind == "dollar" and name in values):
            part = _bare(_value(name, values), statement[:begin], statement[end:])
        pieces.append(part)
        last = end
    return "".join([*pieces, statement[last:]])


def _parts(text: str) -> Iterator[tuple[str, int, int, str]]:
    """Give kind, begin, end and widget name of each part."""
    at = 0
    while found := _PART.search(text, at):
        kind = next(name for name in found.groupdict() if found[name] is not None)
        at = _comment_end(text, found.end()) if kind == "comment" else found.end()
        yield kind, found.start(), at, found.groupdict().get(f"{kind}_name") or ""


def _comment_end(text: str, at: int) -> int:
    """Return where a bracketed comment ends; comments nest in Spark SQL."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, at)):
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return len(text) if depth else at


def _value(name: str, values: Mapping[str, str]) -> str:
    if name not in values:
        raise InputWidgetNotDefined(name, list(values))
    return values[name]


def _path(value: str) -> str:
    """Quote each part of a dotted name."""
    return ".".join(sqltext.name(part.strip().strip("`")) for part in value.split("."))


def _fill_quoted(part: str, kind: str, values: Mapping[str, str]) -> str:
    """Fill references inside quotes, so that the value stays inside them."""
    quote = "`" if kind == "quoted" else part.lstrip("rR")[0]

    def replaced(found: re.Match[str]) -> str:
        if found[2] and found[2] not in values:
            return found[0]
        value = _value(found[1] or found[2], values)
        if kind == "quoted":
            return value.replace("`", "``")
        if kind == "string":
            return value.replace("\\", "\\\\").replace(quote, "\\" + quote)
        if quote in value:
            raise ValueError(f"the value of {found[0]} has a {quote} and cannot stand in a raw string; use :name")
        return value

    return _BRACED.sub(replaced, part)


def _bare(value: str, before: str, after: str) -> str:
    """Write a value outside quotes: a number or a name as such, part of a name where one is, else a string."""
    if re.search(r"\w$", before) or re.match(r"\w", after):
        if not re.fullmatch(r"\w+", value):
            raise ValueError(f"{value!r} cannot be part of a name; it has other characters than letters, digits and _")
        return value
    if before.endswith(".") or after.startswith("."):
        return _path(value)
    if _NUMBER.fullmatch(value):
        # Two minus signs in a row would start a comment.
        return f"({value})" if value.startswith("-") else value
    if _NAME.fullmatch(value) and not _COMPARED.search(before):
        return _path(value)
    return sqltext.literal(value)
