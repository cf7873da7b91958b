"""The batches of a table: planned in a line before the data, confirmed in a line after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from wfengine.clock import Clock, SystemClock, iso, to_utc
from wfengine.errors import StateError


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch of rows, the same however often it has to be written."""

    #: What the batch is for, for example a run and task; chosen by the caller.
    key: str
    #: Later batches have greater ids; goes into every row.
    batch_id: str
    #: What was planned.
    data: dict[str, Any] = {}
    #: Whether the rows are known to be in the table.
    done: bool = False
    #: What was said at the confirmation.
    result: dict[str, Any] = {}


class _Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the file; ``key`` is empty in a confirmation."""

    batch_id: str
    at: str
    key: str = ""
    data: dict[str, Any] = {}
    #: Takes an earlier confirmation back.
    reopened: bool = False


class Ledger:
    """An append-only file of JSON lines that lives in the table's folder and is copied and removed with it.

    Call ``plan`` and ``done`` while holding the table's lock. A line that a crash cut off was never answered for and
    is removed by the next write.
    """

    def __init__(self, path: Path, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()

    def batches(self) -> dict[str, Batch]:
        """Return every batch by batch id, in the order of planning. Raises StateError for an unreadable file."""
        found: dict[str, Batch] = {}
        for number, text in enumerate(self._whole().splitlines(), 1):
            line = self._read(text, number)
            if line.key:
                found[line.batch_id] = Batch(key=line.key, batch_id=line.batch_id, data=line.data)
            elif line.reopened and line.batch_id in found:
                found[line.batch_id] = msgspec.structs.replace(found[line.batch_id], done=False, result={})
            elif line.batch_id in found:
                found[line.batch_id] = msgspec.structs.replace(found[line.batch_id], done=True, result=line.data)
        return found

    def open_plans(self) -> list[Batch]:
        """Return the batches that were planned and never confirmed; their rows may or may not be in the table."""
        return [batch for batch in self.batches().values() if not batch.done]

    def find(self, key: str) -> Batch | None:
        """Return the last batch planned for ``key``."""
        return next((batch for batch in reversed(self.batches().values()) if batch.key == key), None)

    def plan(self, key: str, **data: Any) -> Batch:
        """Write down a new batch for ``key`` and return it once it is on the disk."""
        if not key:
            raise ValueError("a batch needs a key")
        batch = Batch(key=key, batch_id=_after(max(self.batches(), default=""), self._clock.now_ms()), data=data)
        self._append(_Line(batch_id=batch.batch_id, at=iso(self._clock.now_ms()), key=key, data=data))
        return batch

    def done(self, batch_id: str, **data: Any) -> None:
        """Confirm that the rows of a batch are in the table. Raises KeyError for an unknown batch."""
        if batch_id not in self.batches():
            raise KeyError(batch_id)
        self._append(_Line(batch_id=batch_id, at=iso(self._clock.now_ms()), data=data))

    def reopen(self, length: int) -> list[str]:
        """Take back the confirmations in the file beyond its first ``length`` bytes; their rows are to be undone.

        Returns the ids of the batches that are open again; the next attempt writes their rows.
        """
        known = self.batches()
        lines = [self._read(text, number) for number, text in enumerate(self._whole()[length:].splitlines(), 1)]
        ids = dict.fromkeys(line.batch_id for line in lines if not line.key and not line.reopened)
        again = [batch_id for batch_id in ids if batch_id in known and known[batch_id].done]
        for batch_id in again:
            self._append(_Line(batch_id=batch_id, at=iso(self._clock.now_ms()), reopened=True))
        return again

    def _read(self, text: bytes, number: int) -> _Line:
        try:
            return msgspec.json.decode(text, type=_Line)
        except msgspec.DecodeError as error:
            raise StateError(f"{self.path}:{number}: not a line of a batch ledger ({error}); restore it") from error

    def _whole(self) -> bytes:
        """Return the content without a last line that was cut off."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return b""
        return content[: content.rfind(b"\n") + 1]

    def _append(self, line: _Line) -> None:
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.ftruncate(descriptor, len(self._whole()))
            with os.fdopen(descriptor, "ab", closefd=False) as file:
                file.write(msgspec.json.encode(line) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            _sync_folder(self.path.parent)


def _after(last: str, now_ms: int) -> str:
    """Return an id like ``20260102T030405.678000Z-0007`` for ``now_ms``, or the next above a greater ``last``."""
    stamp = to_utc(now_ms).strftime("%Y%m%dT%H%M%S.%fZ")
    last_stamp, _, count = last.rpartition("-")
    if last_stamp < stamp:
        return f"{stamp}-0000"
    # The clock stands or went back: count on. Wider numbers would sort wrongly, hence a letter as an overflow digit.
    number = int(count[-4:]) + 1
    return f"{last_stamp}-{count[:-4]}{number:04d}" if number < 10_000 else f"{last_stamp}-{count[:-4]}a0000"


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
