"""Certify lines of CSV: tell which bytes are good records, and why the other lines are not.

What is certified means the same to every CSV parser: quotes are balanced, nothing follows a closing quote, every
record has the right number of fields, the text is valid UTF-8 without NUL. No arrow here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from wfengine_layers.raw.lines import LINE_LIMIT, bare, fault

if TYPE_CHECKING:
    from _csv import Reader as _Reader

#: Longest record that may span lines, in bytes: bounds what a quote that is never closed can cost.
RECORD_LIMIT = 4 * 1024 * 1024
_OPEN = "opens a quoted value that is not closed"


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How a CSV file is written; each of the first three is one ASCII character, the last two may be empty."""

    separator: str
    quote: str
    escape: str
    #: Whether quoted values may hold line ends.
    multiline: bool


class Record(NamedTuple):
    """One record, or one line that is none: its lines are ``start`` up to, without, ``stop``."""

    start: int
    stop: int
    #: None when the line ``start`` is not the start of a good record; empty for a blank line.
    fields: list[str] | None
    #: Why not; empty for good records and blank lines.
    reason: str


class Certified(NamedTuple):
    """What a chunk of lines turned out to be."""

    #: The bytes of the good records, nothing else.
    data: bytes
    #: For each good record the index of its first line.
    starts: Sequence[int]
    #: Lines that are no record: index, line, reason.
    bad: list[tuple[int, bytes, str]]
    #: Number of blank lines.
    blank: int
    #: Number of lines dealt with.
    lines: int
    #: The lines of a record that goes on after the chunk.
    rest: bytes


def certify(data: bytes, dialect: Dialect, width: int, *, last: bool) -> Certified:
    """Certify whole lines against a width in fields; only the ``last`` chunk of a file may end in mid-record."""
    lines = data.splitlines(keepends=True)
    if not fault(data) and (_plain(data, lines, dialect, width) or _quoted(data, lines, dialect, width)):
        return Certified(data, range(len(lines)), [], 0, len(lines), b"")
    starts: list[int] = []
    bad: list[tuple[int, bytes, str]] = []
    blank = position = 0
    for start, position, fields, reason in records(lines, dialect, width, last=last):  # noqa: B007
        if fields:
            starts.append(start)
            continue
        if fields is None:
            bad.append((start, bare(lines[start]), reason))
        else:
            blank += 1
        lines[start] = b""
    return Certified(b"".join(lines[:position]), starts, bad, blank, position, b"".join(lines[position:]))


def records(lines: Sequence[bytes], dialect: Dialect, width: int | None, *, last: bool) -> Iterator[Record]:
    """Part lines into records; ``width`` None accepts any number of fields.

    A line that begins no good record is a Record of its own and parsing goes on with the line after it. Unless the
    lines are the ``last``, a record that is not closed at their end is left out, to be tried again with more lines.
    """
    texts = _texts(lines)
    faults = _faults(lines, dialect)
    start = 0
    while start < len(lines):
        for record in _until_bad(texts, start, dialect, width):
            waits = record.reason == _OPEN and dialect.multiline and not last and start not in faults
            if waits and _size(texts, start, record.stop) <= RECORD_LIMIT:
                return
            reason = record.reason
            if faults or record.stop - start > 1:
                reason = _objection(texts, record, faults, dialect)
            if not reason:
                yield record
                start = record.stop
                continue
            yield Record(start, start + 1, None, reason)
            start += 1
            if record.stop != start:
                break


def _until_bad(texts: Sequence[str], start: int, dialect: Dialect, width: int | None) -> Iterator[Record]:
    """Records from line ``start`` on; one with a wrong number of fields is bad, one that does not parse the last."""
    reader = _reader(texts, start, dialect)
    first = start
    try:
        for fields in reader:
            stop = first + reader.line_num
            if fields and width is not None and len(fields) != width:
                yield Record(start, stop, None, f"has {len(fields)} fields, expected {width}")
            else:
                yield Record(start, stop, fields, "")
            start = stop
    except csv.Error as error:
        yield Record(start, first + reader.line_num, None, _words(str(error)))


def _plain(data: bytes, lines: list[bytes], dialect: Dialect, width: int) -> bool:
    """Whether each line is a record just by its number of separators."""
    if any(mark and mark.encode() in data for mark in (dialect.quote, dialect.escape)):
        return False
    separator = dialect.separator.encode()
    if {line.count(separator) for line in lines} - {width - 1}:
        return False
    return width > 1 or all(map(bare, lines))


def _quoted(data: bytes, lines: list[bytes], dialect: Dialect, width: int) -> bool:
    """Whether each line is a record of its own, quotes considered."""
    if dialect.escape and dialect.escape.encode() in data:
        return False
    try:
        widths = list(map(len, _reader(_texts(lines), 0, dialect)))
    except csv.Error:
        return False
    return widths.count(width) == len(lines)


def _faults(lines: Sequence[bytes], dialect: Dialect) -> dict[int, str]:
    """Say by index of what is wrong with lines whatever record they are in."""
    escape = dialect.escape.encode()
    if not fault(b"".join(lines)) and not (escape and any(escape in line for line in lines)):
        return {}
    return {i: why for i, line in enumerate(lines) if (why := fault(line) or _dangling(line, escape))}


def _dangling(line: bytes, escape: bytes) -> str:
    """Object to an escaped line end, which parsers read differently."""
    content = bare(line)
    odd = escape and (len(content) - len(content.rstrip(escape))) % 2
    return "ends with an escape character" if odd else ""


def _objection(texts: Sequence[str], record: Record, faults: dict[int, str], dialect: Dialect) -> str:
    """Say what is wrong with a record, the same whatever was read with it; empty when nothing is."""
    if record.start in faults:
        return faults[record.start]
    if record.stop - record.start > 1:
        too_long = _size(texts, record.start, record.stop) > RECORD_LIMIT
        if too_long or not dialect.multiline:
            return _OPEN
    inner = (faults[i] for i in range(record.start, record.stop) if i in faults)
    return next(inner, record.reason)


def _texts(lines: Sequence[bytes]) -> list[str]:
    """Lines for csv to parse: their structure is ASCII, so the other bytes only have to stay apart."""
    return [line.decode("latin-1") for line in lines]


def _reader(texts: Sequence[str], start: int, dialect: Dialect) -> _Reader:
    """A strict parser of the lines from ``start`` on."""
    csv.field_size_limit(LINE_LIMIT)  # the default would refuse long values, but only those in lines with a quote
    return csv.reader(
        map(texts.__getitem__, range(start, len(texts))),
        delimiter=dialect.separator,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape or None,
        strict=True,
    )


def _size(texts: Sequence[str], start: int, stop: int) -> int:
    return sum(map(len, texts[start:stop]))


def _words(message: str) -> str:
    """Say in our words why csv did not parse a record."""
    if message == "unexpected end of data":
        return _OPEN
    if "expected after" in message:
        return "has text after a closing quote"
    return f"is not CSV: {message}"
