"""Read one raw file to its end: the door that the layers use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wfengine.errors import TaskFailed, missing_extra
from wfengine_layers.raw.decode import DamagedError, Member, members
from wfengine_layers.raw.source import BLOCK_SIZE, FileOutcome, RawFile, RawSource

if TYPE_CHECKING:
    from wfengine_layers.raw.sink import Sink

_SEPARATORS = {"csv": ",", "tsv": "\t"}


def read_file(file: RawFile, spec: RawSource, *, sink: Path, block_size: int = BLOCK_SIZE) -> FileOutcome:
    """Read a file into Parquet pieces of rows and rejects in the folder ``sink``; every record is in one of them.

    ``sink`` exists already and may be shared by many files and processes. Memory is bounded by a few blocks, not by
    the file. Raises TaskFailed naming the file when it cannot be unpacked or read as a whole, does not fit the
    source, or changes meanwhile; what lies in ``sink`` then means nothing.
    """
    try:
        from wfengine_layers.raw.sink import Sink
    except ImportError as error:
        raise missing_extra("lakehouse", "reading raw files", error) from error
    before = _state(file.path)
    collected = Sink(sink, file.path)
    try:
        if file.format == "parquet":
            from wfengine_layers.raw.parquet import read_parquet

            read_parquet(file, collected)
        else:
            for member in members(file.path, spec.encoding, block_size):
                _read_member(member, file.format, spec, collected)
    except DamagedError as error:
        raise TaskFailed(f"{file.path} is damaged or cut short after {collected.lines} good lines: {error}") from error
    finally:
        collected.close()
    if _state(file.path) != before or before[0] != file.size:
        raise TaskFailed(f"{file.path} changed while it was read; let its writer finish, then run again")
    return collected.outcome()


def check_files(files: Sequence[RawFile]) -> None:
    """Refuse Parquet files that do not go together, before any is read; other formats are matched by name later.

    Raises TaskFailed naming the files, the column and both types or spellings.
    """
    if parquet := [file for file in files if file.format == "parquet"]:
        from wfengine_layers.raw.parquet import check_parquet

        check_parquet(parquet)


def _read_member(member: Member, kind: str, spec: RawSource, sink: Sink) -> None:
    if member.warning:
        sink.warnings.append(member.warning)
    if kind in _SEPARATORS:
        from wfengine_layers.raw.delimited import read_delimited

        read_delimited(member, spec, spec.separator or _SEPARATORS[kind], sink)
    elif kind == "text":
        from wfengine_layers.raw.plain import read_plain

        read_plain(member, sink)
    else:
        from wfengine_layers.raw.jsonfile import read_json

        read_json(member, spec, sink, lines_only=kind == "jsonl")


def _state(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise TaskFailed(f"{path} cannot be read: {error.strerror or error}") from error
    return status.st_size, status.st_mtime_ns
