"""``display``: values as plain text in the attempt's log."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wfengine.errors import shown

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A log is no place for data: rows, columns, characters of a value, characters of anything else shown.
ROWS, COLUMNS, WIDTH, TEXT = 20, 20, 40, 10_000


def display(value: Any, *more: Any, **options: Any) -> None:
    """Write a value to the log: the first 20 rows of a Spark data frame, anything else as it prints itself.

    Further arguments, such as Databricks' chart options, are accepted and have no effect.
    """
    if is_data_frame(value):
        sys.stdout.write(table(value) + "\n")
    elif value is not None:
        show(value if isinstance(value, str) else repr(value))


def display_html(html: Any) -> None:
    """Say that there was HTML; a log cannot show it."""
    sys.stdout.write(f"[HTML of {len(str(html))} characters is not shown in the log]\n")


def show(text: str) -> None:
    """Write text to the log, its middle left out when it is long."""
    if len(text) > TEXT:
        cut = len(text) - TEXT
        text = f"{text[: TEXT // 2]}\n[{cut} characters left out]\n{text[-TEXT // 2 :]}"
    sys.stdout.write(text + "\n")


def is_data_frame(value: Any) -> bool:
    """Whether ``value`` is a Spark data frame; pyspark is not imported to find out."""
    module = sys.modules.get("pyspark.sql.dataframe")
    return module is not None and isinstance(value, module.DataFrame)


def table(frame: DataFrame) -> str:
    """Return the first rows of a data frame as a text table; empty text when it has no columns."""
    names = list(frame.columns)
    if not names:
        return ""
    rows = frame.limit(ROWS + 1).collect()
    lines = draw(names[:COLUMNS], [[_text(value) for value in row[:COLUMNS]] for row in rows[:ROWS]])
    if len(rows) > ROWS:
        lines.append(f"only the first {ROWS} rows are shown")
    if len(names) > COLUMNS:
        lines.append(f"{len(names) - COLUMNS} more columns: {shown(', '.join(names[COLUMNS:]), 500)}")
    return "\n".join([*lines, "" if rows else "no rows"]).rstrip("\n")


def draw(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with a rule below its head."""
    heads = [shown(name, WIDTH) for name in names]
    widths = [max(len(head), *(len(row[at]) for row in rows)) if rows else len(head) for at, head in enumerate(heads)]
    body = [heads, ["-" * width for width in widths], *rows]
    return [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in body]


def _text(value: Any) -> str:
    return "null" if value is None else shown(str(value), WIDTH)


@contextmanager
def display_method() -> Iterator[None]:
    """Give Spark data frames the method ``display()`` while the block runs, as they have on Databricks."""
    module = sys.modules.get("pyspark.sql.dataframe")
    if module is None:
        yield
        return
    module.DataFrame.display = display
    try:
        yield
    finally:
        del module.DataFrame.display
