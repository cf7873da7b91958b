"""Daylight saving (``docs/semantics.md``, section 7), against a walk over every minute of real time."""

from __future__ import annotations

import re
from bisect import bisect_left
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wfengine import schedule
from wfengine.jobs import Schedule

MINUTE = 60
DAY = 86_400
YEAR_START = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())


def wall(second: int, zone: ZoneInfo) -> int:
    """The clocks at an epoch second, as minutes since 1970 without a zone."""
    local = datetime.fromtimestamp(second, zone)
    return (local.toordinal() - 719_163) * 1440 + local.hour * 60 + local.minute


def numbers(field: str, high: int) -> set[int]:
    """The numbers of a field that uses ``*``, ``*/n``, ``a-b`` and lists."""
    found: set[int] = set()
    for part in field.split(","):
        first, last, step = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part).groups()
        low = int(first or 0)
        top = high if first is None else int(last or first)
        found |= set(range(low, top + 1, int(step or 1)))
    return found


def oracle(expression: str, minutes: list[int], walls: list[int]) -> list[int]:
    """Ticks among ``minutes`` (epoch seconds), given what the clocks show at each; the first and last day are left out.

    Fixed: each local time named is due at the first moment at which the clocks show it or more. Others: whenever the
    clocks show a time that is named.
    """
    minute, hour, *_ = expression.split()
    named_minutes, named_hours = numbers(minute, 59), numbers(hour, 23)
    if not re.fullmatch(r"[\d,]+", minute + hour):
        return [
            at
            for at, shown in zip(minutes, walls, strict=True)
            if shown % 60 in named_minutes and shown // 60 % 24 in named_hours
        ]
    highest, reached = -1, []
    for shown in walls:
        highest = max(highest, shown)
        reached.append(highest)
    ticks = set()
    for day in range(walls[0] // 1440 + 1, max(walls) // 1440 + 1):
        for named in (day * 1440 + h * 60 + m for h in named_hours for m in named_minutes):
            index = bisect_left(reached, named)
            if index < len(minutes):
                ticks.add(minutes[index])
    return sorted(ticks)


def changes(zone: ZoneInfo) -> list[int]:
    """The first minutes of 2026 with another offset than the minute before."""

    def offset(second: int) -> timedelta:
        return datetime.fromtimestamp(second, zone).utcoffset()

    found, step = [], 3 * DAY
    for low, high in pairwise(range(YEAR_START, YEAR_START + 366 * DAY, step)):
        if offset(low) != offset(high):
            found += [at for at in range(low + MINUTE, high + MINUTE, MINUTE) if offset(at) != offset(at - MINUTE)]
    return found


def expressions(change: int, zone: ZoneInfo) -> list[str]:
    """Five schedules that the change concerns: three with fixed times, two without."""
    edges = sorted((wall(change - MINUTE, zone) + 1, wall(change, zone)))  # the minutes skipped or repeated
    first, middle = edges[0], sum(edges) // 2
    hour, minute = middle // 60 % 24, middle % 60
    return [
        f"{minute} {hour} * * *",
        f"{first % 60} {first // 60 % 24} * * *",
        f"0,30 {','.join(str((hour + step) % 24) for step in range(3))} * * *",
        "*/15 * * * *",
        f"{minute} */2,{hour} * * *",
    ]


@cache
def cases() -> list[tuple[str, int]]:
    """Every zone of the list with every change of its clocks in 2026."""
    names = sorted(available_timezones() - {"localtime"})
    return [(name, change) for name in names for change in changes(ZoneInfo(name))]


def test_the_proof_covers_enough_zones():
    assert len({name for name, _ in cases()}) >= 150
    assert len(cases()) >= 300


def test_no_tick_is_missed_or_doubled_at_any_change_of_the_clocks_of_a_year():
    """docs/reliability.md, D14, D15: every zone with a change in 2026, five expressions, every change."""
    wrong = []
    for name, change in cases():
        zone = ZoneInfo(name)
        minutes = list(range(change - 3 * DAY // 2, change + 3 * DAY // 2, MINUTE))
        walls = [wall(at, zone) for at in minutes]
        inside = (change - DAY // 2) * 1000, (change + DAY // 2) * 1000
        for expression in expressions(change, zone):
            due = schedule.compile(Schedule(cron=expression, timezone_id=name))
            want = [at * 1000 for at in oracle(expression, minutes, walls) if inside[0] < at * 1000 <= inside[1]]
            got = due.between(*inside, 10_000)
            if got != want or due.count(*inside) != len(want) or not want:
                wrong.append((name, expression, sorted(set(got) ^ set(want))))
    assert wrong == []


@pytest.mark.parametrize(
    ("zone", "expression", "day", "want"),
    [
        # The gap of Berlin is 02:00 to 03:00 on 29 March 2026, its fold 02:00 to 03:00 on 25 October.
        ("Europe/Berlin", "30 2 * * *", "2026-03-29", ["03:00+02:00"]),
        ("Europe/Berlin", "0,30 2,3 * * *", "2026-03-29", ["03:00+02:00", "03:30+02:00"]),
        ("Europe/Berlin", "*/30 2 * * *", "2026-03-29", []),
        ("Europe/Berlin", "30 2 * * *", "2026-10-25", ["02:30+02:00"]),
        ("Europe/Berlin", "*/30 2 * * *", "2026-10-25", ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"]),
        ("Europe/Berlin", "0 1-3 * * *", "2026-10-25", ["01:00+02:00", "02:00+02:00", "02:00+01:00", "03:00+01:00"]),
        # Half an hour in Lord Howe, midnight in Beirut and Santiago, an hour that begins the next day in Nuuk.
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-04", ["02:30+11:00"]),
        ("Asia/Beirut", "0 0 * * *", "2026-03-29", ["01:00+03:00"]),
        ("America/Santiago", "30 23 * * *", "2026-04-04", ["23:30-03:00"]),
        ("America/Nuuk", "30 23 * * *", "2026-03-28", []),
        ("America/Nuuk", "30 23 * * *", "2026-03-29", ["00:00-01:00", "23:30-01:00"]),
        ("Africa/Casablanca", "30 2 * * *", "2026-02-15", ["02:30+01:00"]),
        # Samoa had no 30 December 2011.
        ("Pacific/Apia", "30 4 * * *", "2011-12-29", ["04:30-10:00"]),
    ],
)  # fmt: skip
def test_known_changes_of_the_clocks(zone, expression, day, want):
    """docs/reliability.md, D14, D15."""
    due = schedule.compile(Schedule(cron=expression, timezone_id=zone))
    start = int(datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000 - 1
    ticks = [
        datetime.fromtimestamp(tick // 1000, ZoneInfo(zone)) for tick in due.between(start, start + 2 * DAY * 1000, 100)
    ]
    assert [tick.isoformat(timespec="minutes")[11:] for tick in ticks if str(tick.date()) == day] == want


def test_notes_say_what_a_change_of_the_clocks_does():
    fixed = schedule.compile(Schedule(cron="30 2 * * *", timezone_id="Europe/Berlin"))
    flowing = schedule.compile(Schedule(cron="*/30 2 * * *", timezone_id="Europe/Berlin"))
    march, october = (int(datetime(2026, m, d, tzinfo=timezone.utc).timestamp()) * 1000 for m, d in ((3, 28), (10, 25)))
    assert [fixed.note(tick) for tick in fixed.between(march, march + 2 * DAY * 1000, 9)] == ["", "in the gap: moved"]
    assert fixed.note(fixed.next_after(october)) == "fold: first occurrence"
    assert [flowing.note(tick)[6:12] for tick in flowing.between(october - 1, october + 7200_000, 9)] == [
        "first ",
        "first ",
        "second",
        "second",
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(
    st.deferred(lambda: st.sampled_from(cases())),
    st.lists(st.integers(0, 59).map(str) | st.just("*/7") | st.just("20-40"), min_size=1, max_size=3).map(",".join),
    st.lists(st.integers(0, 23).map(str) | st.just("*") | st.just("1-3"), min_size=1, max_size=3).map(",".join),
    st.integers(0, 2880), st.integers(0, 2880), st.integers(0, 30),
)  # fmt: skip
def test_windows_counts_and_the_newest_ticks_agree_with_the_walk(case, minute, hour, one, other, limit):
    """docs/reliability.md, D14, D15; windows may begin and end anywhere, within a fold too."""
    name, change = case
    zone = ZoneInfo(name)
    minutes = list(range(change - 5 * DAY // 2, change + 5 * DAY // 2, MINUTE))
    walls = [wall(at, zone) for at in minutes]
    due = schedule.compile(Schedule(cron=f"{minute} {hour} * * *", timezone_id=name))
    after, until = ((change - DAY + at * MINUTE) * 1000 for at in sorted((one, other)))
    want = [at * 1000 for at in oracle(f"{minute} {hour} * * *", minutes, walls) if after < at * 1000 <= until]
    assert due.between(after, until, 10_000) == want
    assert due.count(after, until) == len(want)
    assert due.between(after, until, limit) == want[:limit]
    assert due.latest(after, until, limit) == want[max(len(want) - limit, 0) :]
