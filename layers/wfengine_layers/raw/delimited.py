"""Read one CSV text: the header, then chunks of lines that are certified first and converted by arrow after."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv

from wfengine.errors import TaskFailed
from wfengine_layers.raw.certify import Certified, Dialect, certify, records
from wfengine_layers.raw.decode import Member
from wfengine_layers.raw.header import Layout, by_position, from_header
from wfengine_layers.raw.lines import chunks, ended
from wfengine_layers.raw.sink import Sink
from wfengine_layers.raw.source import RESCUED, RawSource

#: A width that no record has, for data that were found to hold no good record.
_UNKNOWN = -1
_MARK = b"\xef\xbb\xbf"


def read_delimited(member: Member, source: RawSource, separator: str, sink: Sink) -> None:
    """Read a CSV text into the sink; raises TaskFailed for a header that does not fit."""
    dialect = Dialect(
        separator=separator, quote=source.quote, escape=source.escape, multiline=source.multiline is not False
    )
    reader = _Reader(member, source, dialect, sink)
    rest = b""
    for data, last in chunks(member.blocks, member.name):
        rest = reader.take(rest + data if rest else data, last=last)


class _Reader:
    """Knows how far one text has been read."""

    def __init__(self, member: Member, source: RawSource, dialect: Dialect, sink: Sink) -> None:
        self._member = member
        self._source = source
        self._dialect = dialect
        self._sink = sink
        self._line = 1
        self._layout: Layout | None = None
        if not source.header and source.columns is not None:
            self._begin(by_position(len(source.columns), source))

    def take(self, data: bytes, *, last: bool) -> bytes:
        """Read whole lines; returns those at the end that must be given again with more."""
        if last and data and not ended(data):
            self._sink.warnings.append(f"{self._member.name}: the last line has no line end; it may be cut short")
        if self._layout is None and self._source.header:
            data = self._header(data, last)
            if self._layout is None:
                return data
        if self._layout is None:
            self._first(data, last)
        width = self._layout.width if self._layout else _UNKNOWN
        certified = certify(data, self._dialect, width, last=last)
        if self._layout and certified.starts:
            table = _converted(certified, self._layout, self._dialect)
            self._sink.rows(table, self._member.name, self._numbers(certified.starts))
        show = self._member.show
        self._sink.rejects([(self._line + i, show(line), why) for i, line, why in certified.bad], self._member.name)
        self._sink.blank_lines += certified.blank
        self._count(certified.lines)
        return certified.rest

    def _header(self, data: bytes, last: bool) -> bytes:
        """Take the header, which is the first record, off the data."""
        lines = data.splitlines(keepends=True)
        for start, stop, fields, reason in records(lines, self._dialect, None, last=last):
            if fields is None:
                raise TaskFailed(
                    f"{self._member.name}: line {self._line + start}, the header, {reason}; "
                    "check the options encoding, quote and header"
                )
            if fields:
                names = [field.encode("latin-1").decode() for field in fields]
                self._begin(from_header(names, self._source, self._member.name, self._dialect.separator))
                self._sink.blank_lines += start
                self._sink.header_lines += stop - start
                self._count(stop)
                return b"".join(lines[stop:])
        blank = next((i for i, line in enumerate(lines) if line.strip(b"\r\n")), len(lines))
        self._sink.blank_lines += blank
        self._count(blank)
        return b"".join(lines[blank:])

    def _first(self, data: bytes, last: bool) -> None:
        """Without header and schema the first good record tells the number of columns."""
        for record in records(data.splitlines(keepends=True), self._dialect, None, last=last):
            if record.fields:
                self._begin(by_position(len(record.fields), self._source))
                return

    def _begin(self, layout: Layout) -> None:
        self._layout = layout
        self._sink.columns([name for name, _ in layout.columns])
        self._sink.warnings.extend(layout.warnings)

    def _numbers(self, starts: Sequence[int]) -> Sequence[int]:
        if isinstance(starts, range):
            return range(self._line + starts.start, self._line + starts.stop)
        return [self._line + start for start in starts]

    def _count(self, lines: int) -> None:
        self._line += lines
        self._sink.lines += lines


def _converted(certified: Certified, layout: Layout, dialect: Dialect) -> pa.Table:
    """Convert certified bytes: an empty field is null, an empty quoted one is the empty string."""
    names = [str(i) for i in range(layout.width)]
    data = certified.data
    if data.startswith(_MARK):
        data = _MARK + data  # arrow takes one byte order mark off, and here it is text
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        read_options=pyarrow.csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=dialect.separator,
            quote_char=dialect.quote or False,
            escape_char=dialect.escape or False,
            newlines_in_values=True,
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    if table.num_rows != len(certified.starts):
        raise AssertionError(f"{len(certified.starts)} records were certified but arrow read {table.num_rows}")
    columns = {
        name: pa.nulls(table.num_rows, pa.string()) if i is None else table.column(i) for name, i in layout.columns
    }
    if layout.rescued is not None:
        columns[RESCUED] = _rescued(table, layout.rescued)
    return pa.table(columns)


def _rescued(table: pa.Table, extra: Sequence[tuple[str, int]]) -> pa.Array:
    """Undeclared fields as one JSON object a row, without nulls; null when nothing is left."""
    if not extra:
        return pa.nulls(table.num_rows, pa.string())
    names = [name for name, _ in extra]
    texts = []
    for values in zip(*(table.column(i).to_pylist() for _, i in extra), strict=True):
        kept = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        texts.append(json.dumps(kept, ensure_ascii=False) if kept else None)
    return pa.array(texts, pa.string())
