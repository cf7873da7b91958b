"""Read one JSON text: an object a line, or a document that is decoded element by element."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import pyarrow as pa

from wfengine.errors import TaskFailed
from wfengine_layers.raw.decode import Member
from wfengine_layers.raw.jsontext import Decoder, RefusedError, Row, as_text
from wfengine_layers.raw.lines import bare, chunks, fault
from wfengine_layers.raw.sink import Sink
from wfengine_layers.raw.source import RESCUED, RawSource

#: Longest element of a document, in characters; also bounds how far the reader looks for the end of a broken one.
ELEMENT_LIMIT = 32 * 1024 * 1024
#: Rows that are collected before they are turned into a table; more would keep the garbage collector busy.
_BATCH = 2_000
_SPACE = re.compile(r"[ \t\n\r]*")


class _Element(NamedTuple):
    line: int
    text: str
    row: Row | RefusedError


def read_json(member: Member, source: RawSource, sink: Sink, *, lines_only: bool) -> None:
    """Read a JSON text into the sink.

    A line, or an element of a document, that is JSON but not fit for a table is a reject; so is a line that is not
    JSON. A document that is not JSON raises TaskFailed, since nobody can tell where its next element begins.
    """
    document = source.multiline
    if document is None and not lines_only:
        document, blocks = _is_document(member.blocks)
        member = member._replace(blocks=blocks)
    decoder = Decoder(source.columns, member.name)
    out = _Out(decoder, member, sink, rescue=source.columns is not None)
    if document:
        _read_document(member, decoder, out)
    else:
        _read_lines(member, decoder, out)
    sink.columns(list(decoder.columns))
    sink.warnings.extend(decoder.warnings)


class _Out:
    """Turns rows into tables."""

    def __init__(self, decoder: Decoder, member: Member, sink: Sink, *, rescue: bool) -> None:
        self._decoder = decoder
        self._name = member.name
        self._rescue = rescue
        self.sink = sink

    def write(self, rows: Sequence[Row], numbers: Sequence[int], bad: Sequence[tuple[int, str, str]]) -> None:
        self.sink.rejects(bad, self._name)
        if rows:
            names = [*self._decoder.columns, *([RESCUED] if self._rescue else [])]
            # objects without any key are rows too
            table = _table(rows, names) if names else pa.table({"": pa.nulls(len(rows))}).select([])
            self.sink.rows(table, self._name, numbers)


def _table(rows: Sequence[Row], names: Sequence[str]) -> pa.Table:
    kind = pa.struct([(name, pa.string()) for name in names])
    try:
        columns = pa.array(rows, kind)
    except (pa.ArrowTypeError, pa.ArrowInvalid):  # there are truth values, arrays or objects among them
        columns = pa.array([{name: as_text(value) for name, value in row.items()} for row in rows], kind)
    return pa.table(columns.flatten(), names)


def _is_document(blocks: Iterator[bytes]) -> tuple[bool, Iterator[bytes]]:
    """Whether the text begins with a bracket, or with a brace alone on its line; also all blocks again."""
    head = b""
    for block in blocks:
        head += block
        text = head.lstrip(b" \t\r\n")
        if text[:1] == b"[":
            return True, chain((head,), blocks)
        if text[:1] not in (b"", b"{") or b"\n" in text or b"\r" in text:
            break
    return bare(head.lstrip(b" \t\r\n").splitlines()[0] if head.strip() else b"").strip() == b"{", chain(
        (head,), blocks
    )


def _read_lines(member: Member, decoder: Decoder, out: _Out) -> None:
    first = 1
    for data, _ in chunks(member.blocks, member.name):
        lines = data.splitlines()
        for at in range(0, len(lines), _BATCH):
            _take(lines[at : at + _BATCH], first + at, member, decoder, out)
        first += len(lines)
        out.sink.lines += len(lines)


def _take(lines: Sequence[bytes], first: int, member: Member, decoder: Decoder, out: _Out) -> None:
    rows: list[Row] = []
    numbers: list[int] = []
    bad: list[tuple[int, str, str]] = []
    for number, line in enumerate(lines, first):
        row = _row(line, decoder)
        if isinstance(row, dict):
            rows.append(row)
            numbers.append(number)
        elif line.strip(b" \t"):
            bad.append((number, member.show(line), row))
    out.sink.blank_lines += len(lines) - len(rows) - len(bad)
    out.write(rows, numbers, bad)


def _row(line: bytes, decoder: Decoder) -> Row | str:
    """Decode a line, or say why it is no row."""
    try:
        return decoder.row(line.decode())
    except UnicodeDecodeError:
        return fault(line)
    except RefusedError as error:
        return str(error)


def _read_document(member: Member, decoder: Decoder, out: _Out) -> None:
    rows: list[Row] = []
    numbers: list[int] = []
    bad: list[tuple[int, str, str]] = []
    text = _Text(member)
    for line, raw, row in _elements(text, decoder):
        encoded = raw.encode("utf-8", "surrogateescape") if not raw.isascii() else b""
        if isinstance(row, RefusedError):
            bad.append((line, member.show(encoded or raw.encode()), str(row)))
        elif why := fault(encoded):
            bad.append((line, member.show(encoded), why))
        else:
            rows.append(row)
            numbers.append(line)
        if len(rows) + len(bad) >= _BATCH:
            out.write(rows, numbers, bad)
            rows, numbers, bad = [], [], []
    out.write(rows, numbers, bad)
    out.sink.lines += text.line - 1 + (not text.ended)


class _Text:
    """The part of a document that is looked at: grows at its end, is dropped at its start."""

    def __init__(self, member: Member) -> None:
        self.name = member.name
        self._blocks = member.blocks
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.buffer = ""
        self.at = 0
        #: Line on which ``at`` is, from 1.
        self.line = 1
        self.final = False
        #: Whether the text is empty or its last character so far is a line end.
        self.ended = True
        self._return = False

    def more(self) -> bool:
        """Read on until what is held has at least doubled; False when there is no more."""
        if self.final:
            return False
        held = self.buffer[self.at :]
        parts, new = [held], 0
        while not self.final and new <= len(held):
            block = next(self._blocks, None)
            self.final = block is None
            part = self._lines(self._decoder.decode(block or b"", final=self.final))
            parts.append(part)
            new += len(part)
        self.buffer, self.at = "".join(parts), 0
        return True

    def _lines(self, text: str) -> str:
        """Make every line end a line feed; a carriage return at the end waits for what follows it."""
        text = "\r" * self._return + text
        self._return = text.endswith("\r") and not self.final
        text = text.removesuffix("\r") if self._return else text
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        self.ended = text.endswith("\n") if text else self.ended
        return text

    def peek(self) -> str:
        """The next character that is no space, without taking it; empty at the end."""
        while True:
            match = _SPACE.match(self.buffer, self.at)
            end = match.end() if match else self.at
            self.line += self.buffer.count("\n", self.at, end)
            self.at = end
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return ""

    def wrong(self, what: str) -> TaskFailed:
        """The error that the document is not JSON at this place."""
        return TaskFailed(
            f"{self.name}: line {self.line}: {what}; a JSON document can only be read whole, so mend it, or deliver one"
            " object a line and declare format: jsonl"
        )


def _elements(text: _Text, decoder: Decoder) -> Iterator[_Element]:
    """The elements of an array, or objects one after another."""
    if text.peek() != "[":
        while text.peek():
            yield _element(text, decoder)
        return
    text.at += 1
    if text.peek() != "]":
        yield _element(text, decoder)
        while text.peek() == ",":
            text.at += 1
            text.peek()
            yield _element(text, decoder)
    if text.peek() != "]":
        raise text.wrong("the array ends too early" if not text.peek() else "expected a comma or ]")
    text.at += 1
    if text.peek():
        raise text.wrong("text after the end of the array")


def _element(text: _Text, decoder: Decoder) -> _Element:
    """Decode the value at the place reached, reading on as far as it needs."""
    while True:
        try:
            row, end = decoder.element(text.buffer, text.at)
        except json.JSONDecodeError as error:
            if len(text.buffer) - text.at <= ELEMENT_LIMIT and text.more():
                continue
            raise text.wrong(f"not JSON: {error.msg}") from None
        except RecursionError:
            raise text.wrong("nested too deeply") from None
        # a number at the end of what is held may go on
        if end == len(text.buffer) and text.buffer[text.at] not in '{["' and text.more():
            continue
        raw = text.buffer[text.at : end]
        element = _Element(text.line, raw, row)
        text.line += raw.count("\n")
        text.at = end
        return element
