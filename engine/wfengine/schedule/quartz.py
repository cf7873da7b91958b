"""Read Quartz cron expressions: seconds, minutes, hours, day of month, month, day of week, and a year if wanted.

Read by us from end to end. croniter has no ``6L``, ``LW``, ``L-3`` or ``15W``, counts weekdays from 0 and accepts much
that Quartz refuses; handing it the rest would give one language two readers. It serves as the oracle of the tests
for the expressions that both know. Where Quartz itself ignores in silence what was written, we refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from wfengine.errors import ScheduleError, shown
from wfengine.schedule.days import Days, LastDay, LastWeekDay, MonthDays, NearestWorkday, NthWeekDay, WeekDays
from wfengine.schedule.due import Expression
from wfengine.schedule.local import LocalTimes

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_SATURDAY = 6
_ALONE = "write another job for the other days"


class _Field(NamedTuple):
    """What one field of an expression may hold."""

    title: str
    low: int
    high: int
    names: Mapping[str, int] = {}

    @property
    def range(self) -> str:
        names = list(self.names)
        return f"{self.low} to {self.high}" + (f" or {names[0]} to {names[-1]}" if names else "")


_SECONDS = _Field("seconds", 0, 59)
_MINUTES = _Field("minutes", 0, 59)
_HOURS = _Field("hours", 0, 23)
_DAY = _Field("day of month", 1, 31)
_MONTH = _Field("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)})
_WEEKDAY = _Field("day of week", 1, 7, {name: number for number, name in enumerate(_WEEKDAYS, 1)})
_YEAR = _Field("year", 1970, 2099)


def parse(text: str) -> Expression:
    """Read a Quartz cron expression; ScheduleError says which field is wrong and how to mend it."""
    fields = text.upper().split()
    if len(fields) not in (6, 7):
        hint = "seconds, minutes, hours, day of month, month, day of week, and year if wanted"
        if len(fields) == 5:
            hint = "Unix cron has 5 fields: use schedule.cron"
        elif text.startswith("@"):
            hint = "write the fields: 0 0 0 * * ? is daily"
        raise _error(f"should have 6 or 7 fields, has {len(fields)}", hint, text)
    days = _days(fields[3], fields[5])
    times = LocalTimes(
        seconds=_values(_SECONDS, fields[0]),
        minutes=_values(_MINUTES, fields[1]),
        hours=_values(_HOURS, fields[2]),
        days=days,
        months=_values(_MONTH, fields[4]),
        years=_values(_YEAR, fields[6]) if len(fields) == 7 and fields[6] != "*" else None,
    )
    fixed = all(part.isdecimal() for field in fields[1:3] for part in field.split(","))
    return Expression(text, times, fixed)


def _days(day: str, weekday: str) -> Days:
    """Return the rule of the two day fields, of which exactly one is ``?``."""
    if (day == "?") == (weekday == "?"):
        both = "are both ?" if day == "?" else f"are both given, {shown(day, 40)!r} and {shown(weekday, 40)!r}"
        raise _error(f"day of month and day of week {both}", "write ? for exactly one of them")
    return _weekday_rule(weekday) if day == "?" else _day_rule(day)


def _day_rule(text: str) -> Days:
    if not set(text) & set("LW"):
        return MonthDays(_values(_DAY, text))
    if "," in text:
        raise _wrong(_DAY, text, "L and W stand alone, not in a list", _ALONE)
    if match := re.fullmatch(r"L(?:-([0-9]{1,2}))?(W?)", text):
        before = int(match[1] or 0)
        if before > 30:
            raise _wrong(_DAY, text, "should be at most 30 days before the last", "write L-1 to L-30")
        return LastDay(before, bool(match[2]))
    if match := re.fullmatch(r"([0-9]+)W", text):
        return NearestWorkday(_number(_DAY, match[1], text))
    raise _wrong(_DAY, text, "cannot be read", "write L, L-3, LW, 15W, or days from 1 to 31")


def _weekday_rule(text: str) -> Days:
    if text == "L":
        return WeekDays(frozenset({_SATURDAY}))
    special = "L" in text or "#" in text
    if special and "," in text:
        raise _wrong(_WEEKDAY, text, "L and # stand alone, not in a list", _ALONE)
    if match := re.fullmatch(r"([0-9]+|[A-Z]{3})L", text):
        return LastWeekDay(_iso(_number(_WEEKDAY, match[1], text)))
    if match := re.fullmatch(r"([0-9]+|[A-Z]{3})#([0-9]+)", text):
        if match[2] not in ("1", "2", "3", "4", "5"):
            raise _wrong(_WEEKDAY, text, "# should be followed by 1 to 5", "for the last one of the month write 6L")
        return NthWeekDay(_iso(_number(_WEEKDAY, match[1], text)), int(match[2]))
    if special:
        raise _wrong(_WEEKDAY, text, "cannot be read", "write L, 6L, 6#3, or days from 1 (Sunday) to 7")
    return WeekDays(frozenset(_iso(number) for number in _values(_WEEKDAY, text)))


def _iso(number: int) -> int:
    """Turn a weekday of Quartz (Sunday is 1) into one of ISO (Monday is 1)."""
    return (number + 5) % 7 + 1


def _values(field: _Field, text: str) -> frozenset[int]:
    """Return the numbers that a field names by ``*``, numbers, names, ranges, steps and lists of them."""
    if "?" in text:
        raise _wrong(field, text, "? stands alone, in day of month or day of week only", "write *")
    return _shared(frozenset(number for part in text.split(",") for number in _part(field, part, text)))


@lru_cache(maxsize=1024)
def _shared(numbers: frozenset[int]) -> frozenset[int]:
    """Return one and the same set for equal ones, of which thousands of schedules have the same few."""
    return numbers


def _part(field: _Field, part: str, text: str) -> range | list[int]:
    head, slash, step_text = part.partition("/")
    start, dash, end = head.partition("-")
    step = _step(field, step_text, text) if slash else 1
    if start in field.names and slash:
        raise _wrong(field, text, "Quartz ignores a step after a name", f"write the number {field.names[start]} for it")
    if head == "*" or (slash and not head):
        return range(field.low, field.high + 1, step)
    first = _number(field, start, text)
    last = _number(field, end, text) if dash else field.high if slash else first
    if last >= first:
        return range(first, last + 1, step)
    if field is _YEAR:
        raise _wrong(field, text, "should not end before it starts", f"write {last}-{first}")
    size = field.high - field.low + 1
    return [field.low + (number - field.low) % size for number in range(first, last + size + 1, step)]


def _number(field: _Field, word: str, text: str) -> int:
    if word in field.names:
        return field.names[word]
    number = int(word) if re.fullmatch("[0-9]{1,4}", word) else -1
    if field.low <= number <= field.high:
        return number
    if word == "0" and field is _WEEKDAY:
        raise _wrong(field, text, "should be 1 to 7", "Sunday is 1 in Quartz, Saturday is 7")
    subject = "" if word == text else f"{shown(word, 20)!r} " if word else "a number is missing: each "
    hint = "midnight is 0" if field is _HOURS and number == 24 else ""
    raise _wrong(field, text, f"{subject}should be {field.range}", hint)


def _step(field: _Field, word: str, text: str) -> int:
    step = int(word) if re.fullmatch("[0-9]{1,4}", word) else 0
    high = field.high if field is not _YEAR else field.high - field.low
    if not 1 <= step <= high:
        raise _wrong(field, text, f"the step after / should be 1 to {high}", "a step begins anew with each range")
    return step


def _wrong(field: _Field, text: str, message: str, hint: str) -> ScheduleError:
    return _error(f"{field.title} {shown(text, 40)!r}: {message}", hint)


def _error(message: str, hint: str, text: str = "") -> ScheduleError:
    return ScheduleError("schedule.quartz_cron_expression", message, hint, value=shown(text))
