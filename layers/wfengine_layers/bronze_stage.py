"""Raw files as frames: parsed by the certified reader into the scratch folder, then read, cast and checked by Spark."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wfengine.errors import TaskFailed, relative
from wfengine.layer import TaskContext
from wfengine_layers import sqltext
from wfengine_layers.bronze_config import BronzeConfig
from wfengine_layers.drift import compare
from wfengine_layers.raw import FileOutcome, RawFile, raw_source, read_file

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_LOCATION = ("_source_file", "_line")


class Staged(NamedTuple):
    """What is to be written, and the counts that are known by then."""

    #: None when there is no row.
    rows: DataFrame | None
    #: None when there is no reject.
    rejects: DataFrame | None
    read: int
    rejected: int
    warnings: tuple[str, ...]


def stage(
    context: TaskContext[BronzeConfig], files: Sequence[RawFile], ingested_at: str, table: Sequence[str]
) -> Staged:
    """Read files into frames of rows and of rejects.

    ``ingested_at`` is the time that goes into both, ``table`` the columns that the table has by now. Raises TaskFailed
    when a file is damaged or its columns do not fit the table or the other files.
    """
    outcomes = _parse(context, files)
    declared = context.config.declared
    warnings = [warning for outcome in outcomes for warning in outcome.warnings]
    warnings += _compared(context, files, outcomes, table)
    rows = _united(context, [piece for outcome in outcomes for piece in outcome.rows_files])
    rejects = _united(context, [piece for outcome in outcomes for piece in outcome.rejects_files])
    read, refused = sum(one.rows + one.rejects for one in outcomes), sum(one.rejects for one in outcomes)
    if rows is not None and declared:
        rows, bad, uncastable = _cast(rows, declared)
        refused += uncastable
        if uncastable:
            rejects = bad if rejects is None else rejects.unionByName(bad)
    stamp = f"cast({sqltext.literal(ingested_at)} AS timestamp) AS `_ingested_at`"
    return Staged(
        rows=rows.drop("_line").selectExpr("*", stamp) if rows is not None and read > refused else None,
        rejects=rejects.selectExpr("_record", "_reason", "_source_file", "_line", stamp)
        if rejects is not None
        else None,
        read=read,
        rejected=refused,
        warnings=tuple(warnings),
    )


def _parse(context: TaskContext[BronzeConfig], files: Sequence[RawFile]) -> list[FileOutcome]:
    """Parse files side by side: the reader spends most of its time outside the interpreter's lock."""
    config = context.config
    spec = raw_source(config.options, [name for name, _ in config.declared] or None)
    sink = context.scratch / "raw"
    sink.mkdir(parents=True, exist_ok=True)
    outcomes = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, outcome in enumerate(pool.map(lambda file: read_file(file, spec, sink=sink), files), 1):
            outcomes.append(outcome)
            context.progress(done, len(files), "files read")
    return outcomes


def _compared(
    context: TaskContext[BronzeConfig], files: Sequence[RawFile], outcomes: Sequence[FileOutcome], table: Sequence[str]
) -> list[str]:
    """Compare the columns that the files bring; with a declared schema the reader has done it."""
    if context.config.declared:
        return []
    from pyarrow.parquet import read_schema

    found: list[tuple[str, dict[str, str]]] = []
    for file, outcome in zip(files, outcomes, strict=True):
        name = relative(file.path, context.root)
        if taken := [column for column in outcome.columns if column in sqltext.LINEAGE]:
            raise TaskFailed(f"{name}: the layer itself adds the column {taken[0]}; rename it or declare a schema")
        for piece in outcome.rows_files[:1]:
            schema = read_schema(piece)
            found.append((name, {field.name: str(field.type) for field in schema if field.name not in _LOCATION}))
    return compare(found, [column for column in table if column not in sqltext.LINEAGE])


def _united(context: TaskContext[BronzeConfig], pieces: Sequence[Path]) -> DataFrame | None:
    """Read Parquet pieces of any columns as one frame, null where a piece lacks a column; None without pieces."""
    from pyarrow.parquet import read_schema

    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for piece in pieces:
        groups.setdefault(tuple((field.name, str(field.type)) for field in read_schema(piece)), []).append(str(piece))
    frames = [context.spark.read.parquet(*paths) for paths in groups.values()]
    return reduce(lambda left, right: left.unionByName(right, allowMissingColumns=True), frames) if frames else None


def _cast(rows: DataFrame, declared: Sequence[tuple[str, str]]) -> tuple[DataFrame, DataFrame, int]:
    """Cast the declared columns; returns the good rows, the others as rejects with their reasons, and how many."""
    casts = [(name, kind) for name, kind in declared if not sqltext.always_casts(kind)]
    bad = " OR ".join(sqltext.uncastable(sqltext.name(name), kind) for name, kind in casts) or "false"
    counts = rows.selectExpr(f"count_if({bad}) AS `bad`", "count(`_rescued`) AS `rescued`").collect()[0]
    values = [f"try_cast({sqltext.name(name)} AS {kind}) AS {sqltext.name(name)}" for name, kind in declared]
    rescued = ["_rescued"] if counts["rescued"] else []
    good = rows.where(f"NOT ({bad})").selectExpr(*values, *rescued, *_LOCATION)
    names = [sqltext.name(name) for name, _ in declared] + rescued
    record = f"to_json(struct({', '.join(names)})) AS `_record`"
    rejects = rows.where(bad).selectExpr(record, f"{_reasons(casts)} AS `_reason`", *_LOCATION)
    return good, rejects, counts["bad"]


def _reasons(casts: Sequence[tuple[str, str]]) -> str:
    """Write the sentence that names each column and value that does not cast."""
    each = [
        f"CASE WHEN {sqltext.uncastable(sqltext.name(name), kind)} THEN concat({sqltext.literal(f'column {name}: ')}, "
        f"substring({sqltext.name(name)}, 1, 100), {sqltext.literal(f' is not {kind}')}) END"
        for name, kind in casts
    ]
    return f"array_join(array_compact(array({', '.join(each)})), '; ')" if each else "''"
