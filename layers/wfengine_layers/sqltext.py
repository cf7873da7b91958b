"""SQL text that every Spark engine reads alike: names, literals, column lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: Columns that bronze adds; they tell where a row came from and are not part of the source.
LINEAGE = ("_source_file", "_batch_id", "_ingested_at")

#: First words of the types that Spark SQL knows.
TYPES = frozenset(
    {
        *("string", "varchar", "char", "boolean", "binary", "date", "timestamp", "timestamp_ntz", "timestamp_ltz"),
        *("tinyint", "byte", "smallint", "short", "int", "integer", "bigint", "long", "float", "real", "double"),
        *("decimal", "dec", "numeric", "array", "map", "struct", "variant", "interval"),
    }
)


def name(text: str) -> str:
    """Quote a column or view name."""
    return "`" + text.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Quote a string; a doubled quote would be read as two strings side by side, so it is escaped."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def aliased(expression: str, alias: str) -> str:
    """Write ``(expression) AS `alias```."""
    return f"({expression}) AS {name(alias)}"


def uncastable(expression: str, kind: str) -> str:
    """Write the condition that a value is there and does not cast to the type ``kind``."""
    return f"(({expression}) IS NOT NULL AND try_cast(({expression}) AS {kind}) IS NULL)"


def always_casts(kind: str) -> bool:
    """Tell whether every value of a text column casts to the type ``kind``."""
    return kind.strip().lower() in ("", "string")


def fault_of_type(kind: str) -> str:
    """Say what is wrong with a type, or nothing when its first word is a type of Spark SQL."""
    word = re.match(r"\w*", kind.strip().lower())
    if word and word[0] in TYPES:
        return ""
    return f"{kind!r} is not a type; write one such as string, int, bigint, double, decimal(10,2), date, timestamp"


def columns_of(ddl: str) -> list[tuple[str, str]]:
    """Split ``a int, `b c` decimal(10,2)`` into names and types.

    Raises ValueError with a sentence when a part is not a name and a type, or a name stands twice.
    """
    columns: list[tuple[str, str]] = []
    for part in _parts(ddl):
        found = re.fullmatch(r"(?:`((?:[^`]|``)+)`|([^\s`:]+))\s*[\s:]\s*(\S.*)", part.strip(), re.DOTALL)
        if found is None:
            raise ValueError(f"{part.strip()!r} is not a column; write a name and a type, as in 'amount double'")
        column, kind = (found[1] or found[2]).replace("``", "`"), found[3].strip()
        if fault := fault_of_type(kind):
            raise ValueError(f"column {column!r}: {fault}")
        if column.lower() in (known.lower() for known, _ in columns):
            raise ValueError(f"column {column!r} stands twice")
        columns.append((column, kind))
    return columns


def _parts(ddl: str) -> Iterator[str]:
    """Split at the commas that stand outside brackets and backquotes."""
    depth, quoted, start = 0, False, 0
    for at, character in enumerate(ddl):
        if character == "`":
            quoted = not quoted
        elif not quoted and character in "(<":
            depth += 1
        elif not quoted and character in ")>":
            depth -= 1
        elif not quoted and character == "," and depth == 0:
            yield ddl[start:at]
            start = at + 1
    yield ddl[start:]
