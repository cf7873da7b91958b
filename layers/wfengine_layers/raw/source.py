"""The words of the raw reader: a file to read, how to read it, and what came of it."""

from __future__ import annotations

import codecs
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from wfengine.errors import TaskFailed, shown

#: Bytes that are read, split and certified at a time; what fits a processor's cache is read fastest.
BLOCK_SIZE = 1024 * 1024
#: Columns that the reader adds after the data; no file may have columns of these names.
ADDED = RESCUED, SOURCE_FILE, LINE = "_rescued", "_source_file", "_line"

#: What the options of Spark's readers are called here; names are compared without case.
_NAMES = {
    "sep": "separator",
    "delimiter": "separator",
    "separator": "separator",
    "header": "header",
    "quote": "quote",
    "escape": "escape",
    "encoding": "encoding",
    "charset": "encoding",
    "multiline": "multiline",
    "missing": "missing",
}


class RawFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file to read, and as what."""

    path: Path
    #: ``csv``, ``tsv``, ``json`` (lines or documents), ``jsonl`` (lines only), ``parquet`` or ``text``.
    format: str
    #: Bytes on disk.
    size: int


class RawSource(msgspec.Struct, frozen=True, kw_only=True):
    """How the files of one source are read."""

    #: Names that the declared schema asks for; None takes them from each file.
    columns: tuple[str, ...] | None = None
    #: One ASCII character; None is a tab for ``tsv`` and a comma for ``csv``.
    separator: str | None = None
    #: Whether the first record of a CSV file names the columns.
    header: bool = True
    #: One ASCII character, or empty when quotes mean nothing.
    quote: str = '"'
    #: One ASCII character that takes the meaning from the next one, or empty; a doubled quote is always understood.
    escape: str = ""
    #: Encoding of text without a byte order mark; a mark beats it.
    encoding: str = "utf-8"
    #: CSV: whether a quoted value may hold line ends (default yes). JSON: whether the file is a document or an array
    #: (yes) or one object a line (no); by default the first line of a ``json`` file decides.
    multiline: bool | None = None
    #: What a CSV file without a declared column means: a failed task or nulls.
    missing: Literal["error", "null"] = "error"

    def __post_init__(self) -> None:
        for option in ("separator", "quote", "escape"):
            value = getattr(self, option)
            if value and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
                raise TaskFailed(f"option {option}: {shown(value)} is not one ASCII character")
        if self.separator == "":
            raise TaskFailed("option separator: it may not be empty")
        if self.quote and self.quote in (self.separator or ""):
            raise TaskFailed(f"options separator and quote are both {shown(self.quote)}")
        try:
            codecs.lookup(self.encoding)
            "".encode(self.encoding)
        except (LookupError, ValueError):
            raise TaskFailed(f"option encoding: {shown(self.encoding)} is not a known text encoding") from None


class FileOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """Where every record of one file went; all counts are exact."""

    #: Records that came out as rows.
    rows: int
    #: Physical lines (elements of a JSON document) in quarantine.
    rejects: int
    #: Physical lines of the file; rows of a Parquet file.
    lines: int
    #: Physical lines of headers.
    header_lines: int = 0
    #: Empty physical lines outside of records.
    blank_lines: int = 0
    #: Data columns in order, without those that the reader adds.
    columns: tuple[str, ...] = ()
    #: Sentences for people; nothing that they tell of is lost.
    warnings: tuple[str, ...] = ()
    #: Parquet pieces of the data columns, then ``_rescued`` (when columns are declared), ``_source_file``, ``_line``.
    rows_files: list[Path] = []
    #: Parquet pieces of ``_record``, ``_reason``, ``_source_file``, ``_line``.
    rejects_files: list[Path] = []


def raw_source(options: Mapping[str, object], columns: Sequence[str] | None = None) -> RawSource:
    """Build a RawSource from reader options as written in a job file, Spark's names included.

    Raises TaskFailed naming the option that is unknown, given twice, or of the wrong type.
    """
    given: dict[str, object] = {}
    for name, value in options.items():
        field = _NAMES.get(name.casefold())
        if field is None:
            near = difflib.get_close_matches(name.casefold(), _NAMES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(_NAMES))}"
            raise TaskFailed(f"option {shown(name)} is not known to the raw reader ({hint})")
        if field in given:
            raise TaskFailed(f"option {field} is given twice, the second time as {shown(name)}")
        given[field] = value
    if given.get("escape") == given.get("quote", '"'):
        given["escape"] = ""  # Spark's way to ask for doubled quotes, which are always understood
    if columns is not None:
        given["columns"] = _unique(columns)
    try:
        return msgspec.convert(given, RawSource, strict=False)
    except msgspec.ValidationError as error:
        raise TaskFailed(f"options: {error}") from None


def printable(path: Path) -> str:
    """A path as text for a table, whatever bytes its name is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def refuse_added(names: Iterable[str], where: str) -> None:
    """Raise TaskFailed when a file or a schema has a column that the reader itself adds."""
    if taken := next((name for name in names if name.casefold() in ADDED), None):
        raise TaskFailed(f"{where} has the column {shown(taken)}, which the reader itself adds; rename it")


def _unique(columns: Sequence[str]) -> tuple[str, ...]:
    """Check that the declared names stay apart without case, as tables need it."""
    refuse_added(columns, "the schema")
    seen: dict[str, str] = {}
    for name in columns:
        if name.casefold() in seen:
            raise TaskFailed(
                f"schema: columns {shown(seen[name.casefold()])} and {shown(name)} are the same to a table"
            )
        seen[name.casefold()] = name
    return tuple(columns)
