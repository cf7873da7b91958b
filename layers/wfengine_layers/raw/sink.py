"""Where all that one file holds ends: Parquet pieces of rows and rejects, and the counts."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wfengine_layers.raw.source import ADDED, LINE, RESCUED, SOURCE_FILE, FileOutcome

#: A piece is begun anew after so many rows, so that readers can share them out.
PIECE_ROWS = 1_000_000
#: A row group is written when either is reached.
GROUP_ROWS, GROUP_BYTES = 128 * 1024, 16 * 1024 * 1024


class Sink:
    """Collects the outcome of one file; memory is bounded by one row group."""

    def __init__(self, folder: Path, file: Path) -> None:
        #: Unique to the file within the folder, so that many files and processes can share it.
        stem = hashlib.sha256(os.fsencode(file)).hexdigest()[:16]
        self._rows = _Pieces(folder, f"{stem}-rows")
        self._rejects = _Pieces(folder, f"{stem}-rejects")
        #: Physical lines seen so far, and what they were.
        self.lines = self.header_lines = self.blank_lines = 0
        #: Sentences for the outcome.
        self.warnings: list[str] = []
        self._columns: dict[str, None] = {}

    def columns(self, names: Sequence[str]) -> None:
        """Make sure of these data columns, even when no row comes."""
        self._columns.update(dict.fromkeys(names))

    def rows(self, table: pa.Table, source: str, numbers: Sequence[int]) -> None:
        """Add rows; ``numbers`` are the first physical lines of their records, from 1."""
        self.columns([name for name in table.column_names if name != RESCUED])
        self._rows.add(_located(table, source, numbers))

    def rejects(self, bad: Sequence[tuple[int, str, str]], source: str) -> None:
        """Add triples of line number, record as text and reason to the quarantine."""
        if bad:
            numbers, texts, reasons = zip(*bad, strict=True)
            table = pa.table({"_record": pa.array(texts, pa.string()), "_reason": pa.array(reasons, pa.string())})
            self._rejects.add(_located(table, source, numbers))

    def close(self) -> None:
        """Finish the files that are open; ``outcome`` may be asked for after."""
        self._rows.close()
        self._rejects.close()

    def outcome(self) -> FileOutcome:
        """Say where everything went."""
        return FileOutcome(
            rows=self._rows.count,
            rejects=self._rejects.count,
            lines=self.lines,
            header_lines=self.header_lines,
            blank_lines=self.blank_lines,
            columns=tuple(self._columns),
            warnings=tuple(self.warnings),
            rows_files=self._rows.files,
            rejects_files=self._rejects.files,
        )


class _Pieces:
    """Tables in, Parquet files of one schema out; the schema is the union of the columns in order of appearance."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self._stem = stem
        self._waiting: list[pa.Table] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._written = 0
        self._schema = pa.schema([])
        self.files: list[Path] = []
        self.count = 0

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self.count += table.num_rows
        self._waiting_rows += table.num_rows
        self._waiting_bytes += table.nbytes
        if self._waiting_rows >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._end()
        for file in self.files:
            self._widen(file)

    def _flush(self) -> None:
        if not self._waiting:
            return
        schema = _union([self._schema, *(table.schema for table in self._waiting)])
        if schema != self._schema or self._written >= PIECE_ROWS:
            self._end()
            self._schema = schema
        table = pa.concat_tables([_fitted(waiting, schema) for waiting in self._waiting]).combine_chunks()
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        if self._writer is None:
            self.files.append(self._folder / f"{self._stem}-{len(self.files):05}.parquet")
            self._writer = _writer(self.files[-1], schema)
        self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._written += table.num_rows

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._written = None, 0

    def _widen(self, file: Path) -> None:
        """Write a piece again that was begun before all columns were known."""
        wide = file.with_suffix(".wide")
        with pq.ParquetFile(file) as narrow:
            if narrow.schema_arrow.names == self._schema.names:
                return
            with _writer(wide, self._schema) as writer:
                for batch in narrow.iter_batches(GROUP_ROWS):
                    writer.write_table(_fitted(pa.Table.from_batches([batch]), self._schema))
        wide.replace(file)


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a piece; dictionaries and statistics of the data would cost more than they save in a file read once."""
    repeated = [name for name in (SOURCE_FILE, "_reason") if name in schema.names]
    return pq.ParquetWriter(file, schema, compression="snappy", use_dictionary=repeated, write_statistics=False)


def _located(table: pa.Table, source: str, numbers: Sequence[int]) -> pa.Table:
    table = table.append_column(SOURCE_FILE, pa.repeat(pa.scalar(source, pa.string()), table.num_rows))
    return table.append_column(LINE, pa.array(numbers, pa.int64()))


def _union(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All fields in order of appearance, those that the reader adds last."""
    fields: dict[str, Any] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, field)
    added = [fields.pop(name) for name in ADDED if name in fields]
    return pa.schema([*fields.values(), *added])


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with the columns of ``schema``, nulls where it has none."""
    if table.schema == schema:
        return table
    has = set(table.column_names)
    columns = [table[f.name] if f.name in has else pa.nulls(table.num_rows, f.type) for f in schema]
    return pa.table(columns, schema=schema)
