"""The log file of one attempt: whatever is printed, only so much is kept."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_CHUNK = 256 * 1024


class CappedLog:
    """Keeps the head and the tail of a stream of bytes in a file, and says how much lies between.

    The file is made with the first byte: most tasks of a large run print nothing.
    The first half of the limit is written straight to the file, so that it can be read meanwhile; what follows goes
    round in ``<file>.tail``, which ``close`` joins on. A full disk never raises: what cannot be written is left out.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._tail_path = path.with_name(path.name + ".tail")
        self._half = max(limit // 2, 1)
        self._head_room = self._half
        self._tail: int | None = None
        self._tail_total = 0
        self._lost = 0
        self._path = path
        self._file: int | None = None
        self._opened = False

    @property
    def truncated(self) -> bool:
        """Whether bytes have been left out."""
        return self._lost > 0 or self._tail_total > self._half

    def write(self, data: bytes) -> None:
        """Add output."""
        if data and not self._opened:
            self._open()
        head = data[: self._head_room]
        written = self._append(head)
        self._head_room -= len(head)
        if written < len(head):
            # Nothing may follow a gap in the head, or the order would be wrong.
            self._head_room = 0
            self._lost += len(head) - written
        rest = data[len(head) :]
        if rest:
            self._write_tail(rest)

    def close(self) -> bool:
        """Join the tail to the head; return whether bytes were left out."""
        self._join()
        if self._tail is not None:
            self._tail_path.unlink(missing_ok=True)
        truncated = self.truncated
        self.release()
        return truncated

    def release(self) -> None:
        """Close the files as they are; for processes that have inherited them."""
        for descriptor in (self._file, self._tail):
            if descriptor is not None:
                os.close(descriptor)
        self._file = self._tail = None

    def _open(self) -> None:
        self._opened = True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            self._file = None  # what is printed is left out then, and counted

    def _append(self, data: bytes) -> int:
        """Write at the end of the file; return how many bytes there was room for."""
        written = 0
        try:
            while self._file is not None and written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            return written
        return written

    def _write_tail(self, data: bytes) -> None:
        """Write into the ring file; its oldest bytes are written over."""
        skipped = max(len(data) - self._half, 0)
        self._tail_total += skipped
        data = data[skipped:]
        try:
            if self._tail is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
                self._tail = os.open(self._tail_path, flags, 0o600)
            while data:
                place = self._tail_total % self._half
                written = os.pwrite(self._tail, data[: self._half - place], place)
                self._tail_total += written
                data = data[written:]
        except OSError:
            # The ring has a hole now, so all of it is given up.
            self._lost += self._tail_total + len(data)
            self._tail_total = 0

    def _join(self) -> None:
        left_out = self._lost + max(self._tail_total - self._half, 0)
        if left_out:
            self._mark(left_out)
        kept = min(self._tail_total, self._half)
        start = self._tail_total % self._half if self._tail_total > self._half else 0
        while kept and self._tail is not None:
            chunk = os.pread(self._tail, min(_CHUNK, kept, self._half - start), start)
            written = self._append(chunk)
            kept -= written
            if not chunk or written < len(chunk):
                self._lost += kept
                self._mark(left_out + kept)
                return
            start = (start + written) % self._half

    def _mark(self, left_out: int) -> None:
        """Write the line that says how much is missing; on a full disk over the end of what is there."""
        marker = f"\n... {left_out} bytes left out ...\n".encode()
        written = self._append(marker)
        if self._file is None or written == len(marker):
            return
        size = os.fstat(self._file).st_size
        with contextlib.suppress(OSError):
            os.pwrite(self._file, marker[:size], max(size - len(marker), 0))
