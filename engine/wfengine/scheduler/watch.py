"""Notices that the wall clock was set: a leap too large to be believed stops scheduling until a person decides."""

from __future__ import annotations

from collections.abc import Callable

from wfengine.clock import iso

#: Milliseconds; a smaller leap is handled by the cursors: nothing runs twice, nothing early.
BELIEVED_MS = 24 * 3600 * 1000


class ClockWatch:
    """Compares the wall clock with a steady one, and with the newest instant on record.

    A downtime of this process is no leap: nothing is compared across it but the record.
    """

    def __init__(self, steady: Callable[[], float]) -> None:
        self._steady = steady
        #: Wall time minus steady time in milliseconds, when it was last believed.
        self._offset: int | None = None

    def look(self, now: int, newest: int) -> str:
        """Say what is wrong with the time ``now``; empty when it can be believed.

        ``newest`` is the last instant on record. All in epoch milliseconds.
        """
        offset = now - round(self._steady() * 1000)
        leap = 0 if self._offset is None else offset - self._offset
        if newest - now > BELIEVED_MS:
            return _sentence(now, f"is {_days(newest - now)} behind the newest instant on record, {iso(newest)}")
        if abs(leap) > BELIEVED_MS:
            return _sentence(now, f"leapt {_days(abs(leap))} {'forward' if leap > 0 else 'back'}")
        self._offset = offset
        return ""

    def accept(self) -> None:
        """Believe whatever the clock says next, if the record agrees."""
        self._offset = None


def _days(ms: int) -> str:
    return f"{ms / BELIEVED_MS:.1f} days"


def _sentence(now: int, what: str) -> str:
    return f"the clock says {iso(now)} and {what}: nothing is started by schedule until it is set right or confirmed"
