"""Read Unix cron expressions: minutes, hours, day of month, month, day of week (0 and 7 are Sunday).

croniter reads each field, we walk the calendar: its own walk is due twice in a fold, cannot count, and takes some 40
microseconds a tick. Before it reads, we refuse what cron has no word for, and keep from it what it reads wrongly in
silence: ``2-2`` (to it everything), ranges with a step across the end, ranges and steps from Sunday as 7.
"""

from __future__ import annotations

import re
from functools import lru_cache

from wfengine.errors import ScheduleError, shown
from wfengine.schedule.days import Days, Either, MonthDays, WeekDays
from wfengine.schedule.due import Expression
from wfengine.schedule.local import LocalTimes

_FIELDS = (
    ("minutes", "0 to 59", 59),
    ("hours", "0 to 23", 23),
    ("day of month", "1 to 31", 31),
    ("month", "1 to 12 or JAN to DEC", 12),
    ("day of week", "0 to 7 or MON to SUN, 0 and 7 are Sunday", 7),
)
_WEEKDAY = 4
#: What cron knows; croniter would take more (``L``, ``#``, ``?``, ``@daily``, hashes) with meanings of its own.
_WORD = r"(?:[0-9]{1,4}|[A-Za-z]{3})"
_PART = re.compile(rf"(?P<first>\*|{_WORD})(?:-(?P<last>{_WORD}))?(?:/(?P<step>[0-9]{{1,4}}))?")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


def parse(text: str) -> Expression:
    """Read a Unix cron expression; ScheduleError says which field is wrong and how to mend it."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        hint = "minutes, hours, day of month, month, day of week"
        if len(fields) in (6, 7):
            hint = f"Quartz has {len(fields)} fields: use schedule.quartz_cron_expression"
        elif text.startswith("@"):
            hint = "write the fields: 0 0 * * * is daily"
        raise ScheduleError("schedule.cron", f"should have 5 fields, has {len(fields)}", hint, value=shown(text))
    minutes, hours, days, months, weekdays = map(_numbers, range(len(_FIELDS)), fields)
    times = LocalTimes(
        seconds=(0,),
        minutes=minutes or range(60),
        hours=hours or range(24),
        days=_days(days, weekdays),
        months=months or range(1, 13),
    )
    fixed = all(part.isdecimal() for field in fields[:2] for part in field.split(","))
    return Expression(text, times, fixed)


@lru_cache(maxsize=1024)  # most jobs share most of their fields, and croniter takes 100 microseconds to read one
def _numbers(index: int, field: str) -> tuple[int, ...]:
    """Return the numbers that one field names; none when it names all of them and so restricts nothing."""
    if field == "*":
        return ()
    checked = ",".join(_part(index, field, part) for part in field.split(","))
    from croniter import croniter  # 80 ms to import

    try:
        expanded, _ = croniter.expand(" ".join(checked if place == index else "*" for place in range(len(_FIELDS))))
    except ValueError:
        raise _wrong(index, field) from None
    return () if "*" in expanded[index] else tuple(int(number) for number in expanded[index])


def _days(days: tuple[int, ...], weekdays: tuple[int, ...]) -> Days:
    numbers = MonthDays(frozenset(days or range(1, 32)))
    names = WeekDays(frozenset(number or 7 for number in weekdays or range(7)))
    if days and weekdays:
        return Either(numbers, names)
    return names if weekdays else numbers


def _part(index: int, field: str, part: str) -> str:
    """Return one entry of a list as croniter reads it rightly; ScheduleError when there is no such way."""
    match = _PART.fullmatch(part)
    high = _FIELDS[index][2]
    if not match or (match["first"] == "*" and match["last"]):
        raise _wrong(index, field)
    first, last, step = match.group("first", "last", "step")
    if step and not 1 <= int(step) <= high:
        raise _wrong(index, field, f"the step after / should be 1 to {high}")
    if first == "7" and index == _WEEKDAY and (last or step):
        raise _wrong(index, field, "a range or step should begin Sunday as 0")
    if last and _rank(first) == _rank(last):
        return first
    if last and step and _rank(first) > _rank(last):
        raise _wrong(index, field, "a range with a step should not end before it starts")
    return part


def _rank(word: str) -> int:
    """Return the number of a word, -1 for a name that croniter will refuse."""
    if word.isdecimal():
        return int(word)
    names = _MONTHS if word.upper() in _MONTHS else _WEEKDAYS
    return names.index(word.upper()) if word.upper() in names else -1


def _wrong(index: int, field: str, message: str = "") -> ScheduleError:
    title, values, _ = _FIELDS[index]
    message = message or f"should be numbers from {values}, ranges, lists or steps of them"
    hint = "midnight is 0" if index == 1 and "24" in field else "* stands for all of them"
    if set(field) & set("?L#W") and index in (2, 4):
        hint = "?, L, W and # are Quartz: use schedule.quartz_cron_expression"
    return ScheduleError("schedule.cron", f"{title} {shown(field, 40)!r}: {message}", hint)
