"""Read Parquet files and refuse, before any is read, those whose columns do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from wfengine.errors import TaskFailed, shown
from wfengine_layers.raw.sink import Sink
from wfengine_layers.raw.source import RawFile, printable, refuse_added

_BATCH_ROWS = 64 * 1024
_DAMAGE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)


def check_parquet(files: Sequence[RawFile]) -> pa.Schema:
    """Merge the schemas of Parquet files: a column that only some files have is null in the others.

    Reads footers only. Columns of nulls without a type go with any type and are left out when no file has one. Raises
    TaskFailed naming files and column when one name has two types, or names differ only by case, which would make two
    half-empty columns.
    """
    fields: dict[str, tuple[pa.Field, Path]] = {}
    for file in files:
        for found in _footer(file.path):
            field = pa.field(found.name, _plain(found.type))
            known, first = fields.setdefault(field.name.casefold(), (field, file.path))
            if known.name != field.name:
                raise TaskFailed(
                    f"column {shown(field.name)} of {file.path} and {shown(known.name)} of {first} differ only by case"
                )
            if pa.types.is_null(known.type):
                fields[field.name.casefold()] = field, file.path
            elif known.type != field.type and not pa.types.is_null(field.type):
                raise TaskFailed(
                    f"column {shown(field.name)} is {field.type} in {file.path} but {known.type} in {first}; "
                    "write both with one type"
                )
    return pa.schema([field for field, _ in fields.values() if not pa.types.is_null(field.type)])


def read_parquet(file: RawFile, sink: Sink) -> None:
    """Copy the rows of a Parquet file, typed as they are, into the sink; the line is the row's number from 1."""
    schema = check_parquet([file])
    refuse_added(schema.names, str(file.path))
    names = _footer(file.path).names
    if len(set(names)) != len(names):
        raise TaskFailed(f"{file.path} has two columns of one name")
    if untyped := [name for name in names if name not in schema.names]:
        sink.warnings.append(f"{file.path}: left out {', '.join(map(shown, untyped))}: only nulls, of no type")
    sink.columns(schema.names)
    for batch in _batches(file.path):
        try:
            table = pa.Table.from_batches([batch]).select(schema.names).cast(schema)
        except pa.ArrowInvalid as error:
            raise TaskFailed(f"{file.path}: {error}; tables keep times to the microsecond") from error
        numbers = range(sink.lines + 1, sink.lines + table.num_rows + 1)
        sink.rows(table, printable(file.path), numbers)
        sink.lines += table.num_rows


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without what only says how it is held in memory; nanoseconds are more than tables can keep."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return kind


def _footer(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as parquet:
            yield from parquet.iter_batches(_BATCH_ROWS)
    except _DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TaskFailed:
    return TaskFailed(f"{path} is damaged or not Parquet: {error}")
