"""What an attempt reads and writes, noted in its folder before each plan leaves, so that a kill loses nothing of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Literal

import msgspec

from wfengine.spark import register
from wfengine.spark.warehouse import PRIVATE, version

#: Name of the notes in the attempt's folder.
FILE = "touched.jsonl"


class Note(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the notes."""

    #: ``session`` opened and ``closed``; ``read``; ``write`` about to leave and ``answered``; ``settled`` once it is
    #: decided what becomes of the writes.
    what: Literal["session", "closed", "read", "write", "answered", "settled"]
    #: Name or path as the task said it, and the real path.
    table: str = ""
    path: str = ""
    #: Version before a read or write, or after an answer; None for what is no Delta table.
    version: int | None = None
    #: Links an answer to its write.
    number: int = 0
    #: What is done: ``WRITE``, ``MERGE``, ...; empty for an output that was only declared.
    operation: str = ""
    #: What the commit will have as userMetadata; empty when it cannot have any.
    stamp: str = ""
    #: Place in the register of statements without a stamp, and whether it was alone there.
    place: int | None = None
    alone: bool = False
    #: Length of the table's ledger before the write.
    ledger: int = 0
    #: With an answer: whether it was an error.
    failed: bool = False
    #: Id of the session; with ``settled`` what was decided, in words.
    text: str = ""


_DECODER = msgspec.json.Decoder(Note)


class Write:
    """A write whose answer is awaited."""

    def __init__(self, path: str, number: int, entry: register.Entry | None, *, delta: bool) -> None:
        self.path, self.number, self.entry, self.delta = path, number, entry, delta


class Touched:
    """Takes notes; without a file it takes none. Threads of one attempt may share it.

    A line is one ``write`` to the file and not flushed to the disk: it outlives every process, not the machine.
    """

    def __init__(self, file: Path | None, warehouse: Path) -> None:
        self._warehouse = warehouse
        self._file = file and Path(os.path.realpath(file))
        self._descriptor: int | None = None
        self._known: set[str] = set()
        self._written = 0
        self._lock = threading.Lock()

    def session(self, session_id: str) -> None:
        """Note the session on the engine, before it is used."""
        self._add(Note(what="session", text=session_id))

    def closed(self) -> None:
        """Note that the session was ended in order, so that the engine works on nothing of it any more."""
        self._add(Note(what="closed"))

    def settled(self, text: str) -> None:
        """Note what became of the writes."""
        self._add(Note(what="settled", text=text))

    def read(self, table: str, path: str, at: int | None = None, *, delta: bool = True) -> None:
        """Note the first read of a table, with its version ``at`` that time, by default the newest one."""
        if self._file is None:
            return
        path = os.path.realpath(path)
        if path in self._known or self._own(path):
            return
        self._known.add(path)
        found = at if at is not None or not delta else version(Path(path))
        self._add(Note(what="read", table=table, path=path, version=found))

    def declared(self, table: str, path: str, stamp: str) -> None:
        """Note an output that the task declares, before the task begins."""
        self._begin(table, os.path.realpath(path), "", stamp, None, delta=True)

    def write(self, table: str, path: str, operation: str, stamp: str, *, delta: bool = True) -> Write | None:
        """Note a write that is about to leave; None when it needs no note."""
        if self._file is None:
            return None
        path = os.path.realpath(path)
        if self._own(path):
            return None
        entry = None if stamp or not delta else register.enter(self._warehouse, Path(path))
        return Write(path, self._begin(table, path, operation, stamp, entry, delta=delta), entry, delta=delta)

    def answered(self, write: Write, *, failed: bool) -> None:
        """Note the engine's answer to a write."""
        if write.entry:
            write.entry.leave()
        after = version(Path(write.path)) if write.delta else None
        self._add(Note(what="answered", number=write.number, version=after, failed=failed))

    def _begin(
        self, table: str, path: str, operation: str, stamp: str, entry: register.Entry | None, *, delta: bool
    ) -> int:
        with self._lock:
            self._written += 1
            number = self._written
        if operation:
            # What a task reads back of its own output is no input.
            self._known.add(path)
        self._add(
            Note(
                what="write",
                table=table,
                path=path,
                version=version(Path(path)) if delta else None,
                number=number,
                operation=operation,
                stamp=stamp,
                place=entry.place if entry else None,
                alone=bool(entry and entry.alone),
                ledger=_length(Path(path, PRIVATE, "ledger.jsonl")),
            )
        )
        return number

    def _own(self, path: str) -> bool:
        """Say whether a path lies in the attempt's own folder, where its scratch files are."""
        return self._file is not None and Path(path).is_relative_to(self._file.parent)

    def _add(self, note: Note) -> None:
        if self._file is None:
            return
        with self._lock:
            if self._descriptor is None:
                self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._descriptor = os.open(self._file, flags, 0o600)
            os.write(self._descriptor, msgspec.json.encode(note) + b"\n")


def notes(folder: Path) -> list[Note]:
    """Return the notes of an attempt; a line that was cut off belongs to a plan that never left."""
    try:
        content = Path(folder, FILE).read_bytes()
    except FileNotFoundError:
        return []
    return [_DECODER.decode(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def pending(folder: Path) -> bool:
    """Say whether an attempt has written, and it is not decided yet what becomes of that."""
    kinds = {note.what for note in notes(folder)}
    return "write" in kinds and "settled" not in kinds


def _length(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
