"""Time zones as stretches of constant offset: all that is needed to lay a calendar over real time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

from wfengine.errors import ScheduleError, did_you_mean, shown

#: Seconds of a day on the calendar.
DAY = 86_400
#: Stretches are looked for in steps of this length: no zone of the IANA list has changed its offset and changed it
#: back within less than seven days since 1970, so equal offsets at both ends mean no change between.
_STEP = 6 * DAY


class Zone:
    """A time zone of the IANA list; ScheduleError for an unknown name."""

    def __init__(self, name: str) -> None:
        try:
            self._info = ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise _unknown(name) from None
        self.name = name

    def local(self, second: int) -> datetime:
        """Return the aware local time of an epoch second."""
        return datetime.fromtimestamp(second, self._info)

    def epoch(self, local: datetime) -> int:
        """Return the epoch second of a local time without zone; the first one when the clocks show it twice."""
        return int(local.replace(tzinfo=self._info).timestamp())

    def moment(self, text: str) -> int:
        """Return the epoch second of an ISO time, which is one of this zone when it names no offset.

        Raises ValueError or OverflowError when it is none.
        """
        found = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))  # Python 3.10 knows no Z
        return self.epoch(found) if found.tzinfo is None else int(found.timestamp())

    def offset(self, second: int) -> int:
        """Return how many seconds local time is ahead of UTC at an epoch second."""
        ahead = datetime.fromtimestamp(second, self._info).utcoffset()
        return ahead.days * DAY + ahead.seconds if ahead else 0

    def stretches(self, second: int) -> Iterator[tuple[int, int, int]]:
        """Yield ``(start, end, offset)`` without end and without holes from ``second`` on; ``end`` is not part of it.

        Neighbours may have the same offset: a stretch is at most six days long.
        """
        offset = self.offset(second)
        while True:
            end = second + _STEP
            following = self.offset(end)
            if following != offset:
                end = self._change(second, end, offset)
            yield second, end, offset
            second, offset = end, self.offset(end) if following != offset else offset

    def changes(self, second: int, until: int) -> Iterator[int]:
        """Yield the epoch seconds after ``second`` and before ``until`` at which the offset changes."""
        before: int | None = None
        for start, _, offset in self.stretches(second):
            if start >= until:
                return
            if before is not None and offset != before:
                yield start
            before = offset

    def _change(self, low: int, high: int, offset: int) -> int:
        """Return the first second after ``low`` whose offset is no longer ``offset``, as that of ``high``."""
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high


def _unknown(name: str) -> ScheduleError:
    message = "is not a time zone of the IANA list"
    return ScheduleError("schedule.timezone_id", message, did_you_mean(name, available_timezones()), value=shown(name))
