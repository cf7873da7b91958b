"""Turn what a Spark engine says about the user's SQL into one sentence that names the config field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING

from wfengine.errors import TaskFailed, shown

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

#: How the engines name a column that is not there: the first of these is the default engine's form.
_MISSING = (
    r'attribute ObjectName\(\[(?:.*, )?Identifier\("(?P<column>[^"]+)"\)\]\) is missing',
    r"name `(?P<column>[^`]+)` cannot be resolved",
)
#: The default engine lists every token it could have gone on with, which helps nobody.
_SYNTAX = re.compile(r"found (\S+)(?: of input| at \d+:\d+)? expected ")


def first_line(error: Exception, limit: int = 240) -> str:
    """Return the first line of what an engine said, printable and shortened."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if found := _SYNTAX.search(line):
        return "SQL that ends too early" if found[1] == "end" else f"SQL not understood at {shown(found[1])}"
    return shown(re.sub(r"\s+SQLSTATE: \w+$", "", line), limit)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean x`` for the nearest known word, or nothing."""
    near = get_close_matches(word.lower(), [other.lower() for other in known], n=1, cutoff=0.6)
    match = [other for other in known if near and other.lower() == near[0]]
    return f"; did you mean {match[0]}" if match else ""


def sentence(error: Exception, columns: Sequence[str]) -> str:
    """Say what is wrong with an expression over ``columns``."""
    text = str(error)
    for pattern in _MISSING:
        if found := re.search(pattern, text):
            column = found["column"]
            return f"there is no column {column}{did_you_mean(column, columns)}; the columns are {listed(columns)}"
    return f"{first_line(error)}; the columns are {listed(columns)}"


def listed(names: Sequence[str], limit: int = 30) -> str:
    """List names, the first ``limit`` of them."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def analysed(frame: DataFrame, fields: Mapping[str, str]) -> StructType:
    """Return the types of expressions over ``frame``, given by the config field that each comes from.

    Raises TaskFailed naming the first field whose expression the engine does not understand.
    """
    try:
        return frame.selectExpr(*(fields.values() or "*")).schema
    except Exception as error:
        if not mistake(error):
            raise
        for field, expression in fields.items():
            _analyse_alone(frame, field, expression)
        raise TaskFailed(f"{', '.join(fields)}: {first_line(error)}") from error


def _analyse_alone(frame: DataFrame, field: str, expression: str) -> None:
    try:
        _ = frame.selectExpr(expression).schema
    except Exception as error:
        if mistake(error):
            raise TaskFailed(f"{field}: {sentence(error, visible(frame.columns))}") from error
        raise


def conditions(frame: DataFrame, fields: Mapping[str, str]) -> None:
    """Check that each expression is a condition over ``frame``; TaskFailed names the field of the first that is not."""
    if not fields:
        return
    schema = analysed(frame, {field: f"({text})" for field, text in fields.items()})
    for (field, text), column in zip(fields.items(), schema.fields, strict=True):
        if column.dataType.typeName() not in ("boolean", "void"):
            raise TaskFailed(
                f"{field}: {text!r} is {column.dataType.simpleString()}, not a condition that is true or false"
            )


def visible(columns: Sequence[str]) -> list[str]:
    """Leave out the columns that the layers add for themselves while they work."""
    return [column for column in columns if not column.startswith("__")]


def mistake(error: Exception) -> bool:
    """Tell an engine's complaint about SQL or data from a failure of the engine or of the connection to it."""
    from pyspark.errors import PySparkException
    from pyspark.errors.exceptions.connect import SparkConnectGrpcException

    return isinstance(error, PySparkException) and type(error) is not SparkConnectGrpcException


@contextmanager
def speaking(doing: str) -> Iterator[None]:
    """Turn an engine's complaint about SQL or data inside the block into TaskFailed: ``<doing>: <its first line>``."""
    try:
        yield
    except Exception as error:
        if mistake(error):
            raise TaskFailed(f"{doing}: {first_line(error)}") from error
        raise
