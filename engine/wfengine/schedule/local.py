"""The local times that an expression names, on a calendar that knows no time zone.

A local second is the number of seconds since 1970-01-01 00:00 on the clocks of the place.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from wfengine.schedule.days import Days, Month
from wfengine.schedule.zones import DAY

_EPOCH = date(1970, 1, 1).toordinal()
#: Every combination of weekday and date comes again within so many years, 29 February around 2100 included.
_CYCLE = 40
#: No local second from here on is named (year 9000): dates end there.
END = (date(9000, 1, 1).toordinal() - _EPOCH) * DAY


class LocalTimes:
    """Every combination of the seconds, minutes and hours given, on every day given; ``years`` None is all years."""

    def __init__(
        self,
        *,
        seconds: Iterable[int],
        minutes: Iterable[int],
        hours: Iterable[int],
        days: Days,
        months: Iterable[int],
        years: Iterable[int] | None = None,
    ) -> None:
        self.seconds = tuple(sorted(seconds))
        self.minutes = tuple(sorted(minutes))
        self.hours = tuple(sorted(hours))
        self.days = days
        self.months = frozenset(months)
        self.years = None if years is None else frozenset(years)
        self._per_hour = len(self.minutes) * len(self.seconds)
        self._earliest = self.hours[0] * 3600 + self.minutes[0] * 60 + self.seconds[0]

    def first(self, local: int) -> int | None:
        """Return the first local second named that is not before ``local``; None when there is none."""
        if local >= END:
            return None
        day, second = divmod(local, DAY)
        if self._names_day(day) and (found := self._time_from(second)) is not None:
            return day * DAY + found
        following = self._day_after(day)
        return None if following is None else following * DAY + self._earliest

    def count(self, start: int, end: int) -> int:
        """Count the local seconds named from ``start`` to before ``end``; meant for spans of a few days."""
        if end <= start:
            return 0
        first, after_midnight = divmod(start, DAY)
        last, until = divmod(end, DAY)
        whole = sum(self._names_day(day) for day in range(first, last)) * len(self.hours) * self._per_hour
        missing = self._times_before(after_midnight) if self._names_day(first) else 0
        extra = self._times_before(until) if self._names_day(last) else 0
        return whole - missing + extra

    def _time_from(self, second: int) -> int | None:
        """Return the first second of a day that is named and not before ``second``."""
        hour, rest = divmod(second, 3600)
        minute, rest = divmod(rest, 60)
        h, m, s = bisect_left(self.hours, hour), bisect_left(self.minutes, minute), bisect_left(self.seconds, rest)
        if h == len(self.hours):
            return None
        if self.hours[h] == hour:
            if m < len(self.minutes) and self.minutes[m] == minute:
                if s < len(self.seconds):
                    return hour * 3600 + minute * 60 + self.seconds[s]
                m += 1
            if m < len(self.minutes):
                return hour * 3600 + self.minutes[m] * 60 + self.seconds[0]
            h += 1
        return None if h == len(self.hours) else self._earliest + (self.hours[h] - self.hours[0]) * 3600

    def _times_before(self, second: int) -> int:
        """Count the seconds of a day that are named and before ``second``."""
        hour, rest = divmod(second, 3600)
        minute, rest = divmod(rest, 60)
        found = bisect_left(self.hours, hour) * self._per_hour
        if hour in self.hours:
            found += bisect_left(self.minutes, minute) * len(self.seconds)
            if minute in self.minutes:
                found += bisect_left(self.seconds, rest)
        return found

    def _names_day(self, day: int) -> bool:
        at = date.fromordinal(day + _EPOCH)
        days = self._month(at.year, at.month)
        index = bisect_left(days, day)
        return index < len(days) and days[index] == day

    def _day_after(self, day: int) -> int | None:
        """Return the first day named after ``day``; days count from 1970-01-01."""
        at = date.fromordinal(day + _EPOCH)
        last = max(self.years) if self.years else at.year + _CYCLE
        month = at.year * 12 + at.month - 1
        while month < (last + 1) * 12:
            days = self._month(month // 12, month % 12 + 1)
            index = bisect_right(days, day)
            if index < len(days):
                return days[index]
            month += 1
        return None

    def _month(self, year: int, month: int) -> tuple[int, ...]:
        """Return the days named in a month, counted from 1970-01-01."""
        if month not in self.months or (self.years is not None and year not in self.years):
            return ()
        return _days_of(self.days, year, month)


@lru_cache(maxsize=4096, typed=True)  # two kinds of rule may compare equal, being tuples
def _days_of(days: Days, year: int, month: int) -> tuple[int, ...]:
    """Return the days that a rule names in a month, counted from 1970-01-01; shared by all schedules of the rule."""
    before, length = date(year, month, 1).toordinal() - _EPOCH - 1, calendar.monthrange(year, month)[1]
    first = date(year, month, 1).isoweekday()
    return tuple(sorted(before + day for day in days.of(Month(first, length))))
