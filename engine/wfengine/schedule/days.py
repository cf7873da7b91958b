"""Which days of a month an expression names; every rule tells its days and puts itself in words."""

from __future__ import annotations

import calendar
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = tuple(calendar.month_name)[1:]
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_WEEK = frozenset(range(1, 8))
_MONTH = frozenset(range(1, 32))


class Month(NamedTuple):
    """A month as the rules need it."""

    #: ISO weekday of its first day: Monday is 1.
    first: int
    length: int

    def weekday(self, day: int) -> int:
        """Return the ISO weekday of a day."""
        return (self.first + day - 2) % 7 + 1

    def nearest_workday(self, day: int) -> int:
        """Return the day from Monday to Friday next to ``day`` in this month."""
        weekday = self.weekday(day)
        if weekday == 6:
            return day - 1 if day > 1 else day + 2
        if weekday == 7:
            return day + 1 if day < self.length else day - 2
        return day


class Days(Protocol):
    """A rule that chooses days of a month."""

    def __hash__(self) -> int:
        """Rules are values: equal ones share what was worked out for a month."""
        ...

    def of(self, month: Month) -> Iterable[int]:
        """Return the days chosen, in any order; all exist in the month."""
        ...

    def words(self) -> str:
        """Say the rule as in ``on Monday to Friday``; empty for every day."""
        ...


class MonthDays(NamedTuple):
    """Days by their number: ``1,15``."""

    days: frozenset[int]

    def of(self, month: Month) -> Iterable[int]:
        """Return those that the month has."""
        return (day for day in self.days if day <= month.length)

    def words(self) -> str:
        """Say them as in ``on days 1 and 15 of the month``."""
        unit = "day" if len(self.days) == 1 else "days"
        return "" if self.days == _MONTH else f"on {unit} {spans(self.days, str)} of the month"


class WeekDays(NamedTuple):
    """Days by their ISO weekday: ``MON-FRI``."""

    days: frozenset[int]

    def of(self, month: Month) -> Iterable[int]:
        """Return all days of those weekdays."""
        return (day for day in range(1, month.length + 1) if month.weekday(day) in self.days)

    def words(self) -> str:
        """Say them as in ``on Monday to Friday``."""
        return "" if self.days == _WEEK else f"on {spans(self.days, lambda day: WEEKDAYS[day - 1])}"


class Either(NamedTuple):
    """Days that one of two rules names, as in cron when both day fields are restricted."""

    one: Days
    other: Days

    def of(self, month: Month) -> Iterable[int]:
        """Return the days of both."""
        return {*self.one.of(month), *self.other.of(month)}

    def words(self) -> str:
        """Say both; empty when one of them is every day."""
        said = [self.one.words(), self.other.words()]
        return " or ".join(said) if all(said) else ""


class LastDay(NamedTuple):
    """``L``, ``L-3`` (three days before it) and ``LW`` (moved to the nearest day from Monday to Friday)."""

    before: int = 0
    workday: bool = False

    def of(self, month: Month) -> Iterable[int]:
        """Return the day, none when the month is too short."""
        day = month.length - self.before
        return (month.nearest_workday(day) if self.workday else day,) if day > 0 else ()

    def words(self) -> str:
        """Say it as in ``on the last day of the month``."""
        days = "day" if self.before == 1 else "days"
        day = f"{self.before} {days} before the last day of the month" if self.before else "the last day of the month"
        if not self.workday:
            return f"on {day}" if not self.before else day
        return "on the last workday of the month" if not self.before else f"on the workday nearest to {day}"


class NearestWorkday(NamedTuple):
    """``15W``: the day from Monday to Friday nearest to a day, never in another month."""

    day: int

    def of(self, month: Month) -> Iterable[int]:
        """Return the day, none when the month is too short."""
        return (month.nearest_workday(self.day),) if self.day <= month.length else ()

    def words(self) -> str:
        """Say it as in ``on the workday nearest to day 15 of the month``."""
        return f"on the workday nearest to day {self.day} of the month"


class NthWeekDay(NamedTuple):
    """``6#3``: a weekday (ISO) for the n-th time in the month."""

    weekday: int
    nth: int

    def of(self, month: Month) -> Iterable[int]:
        """Return the day, none when the month has too few of them."""
        day = (self.weekday - month.first) % 7 + 7 * self.nth - 6
        return (day,) if day <= month.length else ()

    def words(self) -> str:
        """Say it as in ``on the third Friday of the month``."""
        return f"on the {_ORDINALS[self.nth - 1]} {WEEKDAYS[self.weekday - 1]} of the month"


class LastWeekDay(NamedTuple):
    """``6L``: a weekday (ISO) for the last time in the month."""

    weekday: int

    def of(self, month: Month) -> Iterable[int]:
        """Return the day."""
        return (month.length - (month.weekday(month.length) - self.weekday) % 7,)

    def words(self) -> str:
        """Say it as in ``on the last Friday of the month``."""
        return f"on the last {WEEKDAYS[self.weekday - 1]} of the month"


def spans(numbers: Iterable[int], name: Callable[[int], str]) -> str:
    """Say numbers with runs of three or more drawn together: ``1 to 5, 10 and 20``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said: list[str] = []
    for run in runs:
        said += [f"{name(run[0])} to {name(run[-1])}"] if len(run) > 2 else [name(number) for number in run]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
