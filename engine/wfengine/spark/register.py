"""Tells apart the commits of statements that cannot carry a stamp, such as a MERGE in SQL on the default engine."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wfengine.spark.warehouse import PRIVATE, version

#: A register longer than this starts anew when nobody uses it.
_LIMIT = 64 * 1024
#: Answer of ``next_began_at`` when the register was begun anew meanwhile.
UNKNOWN = -2


class Entry:
    """One statement that is under way; ``leave`` it when the engine has answered."""

    def __init__(self, descriptor: int, place: int, *, alone: bool) -> None:
        self._descriptor: int | None = descriptor
        #: Where in the register the lines of later statements begin.
        self.place = place
        #: Whether no other such statement on the table was under way when this one began.
        self.alone = alone

    def leave(self) -> None:
        """Say that the statement is over; the death of this process says so too."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def enter(warehouse: Path, table: Path) -> Entry:
    """Announce a statement on a table, before it leaves.

    Each statement adds a line with the table's version, so that an earlier one, even of a process that was killed,
    can be told that what was committed after that version may be another's.
    """
    file = _file(warehouse, table)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _gate(file.parent):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        alone = _taken(descriptor)
        if alone and os.fstat(descriptor).st_size > _LIMIT:
            os.ftruncate(descriptor, 0)
        # Nobody asks for the lock but within the gate, so going from exclusive to shared lets nobody slip in.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.write(descriptor, f"{version(table)}\n".encode())
        return Entry(descriptor, os.fstat(descriptor).st_size, alone=alone)


def next_began_at(warehouse: Path, table: Path, place: int) -> int | None:
    """Return the table's version when the next statement began, None when there was none, or UNKNOWN."""
    try:
        content = _file(warehouse, table).read_bytes()
    except FileNotFoundError:
        return UNKNOWN
    if len(content) < place:
        return UNKNOWN
    later = content[place:].splitlines()
    return int(later[0]) if later else None


def _file(warehouse: Path, table: Path) -> Path:
    return warehouse / PRIVATE / "statements" / hashlib.sha256(os.fsencode(table)).hexdigest()[:32]


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    """Let one process at a time through; it is held for a fraction of a millisecond."""
    descriptor = os.open(folder / "gate", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
