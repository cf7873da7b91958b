"""Quartz expressions (``docs/semantics.md``, section 7): a golden table, what is refused, and a second opinion."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from croniter import croniter
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from wfengine import schedule
from wfengine.errors import ScheduleError
from wfengine.jobs import Schedule

#: A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: Seconds of the years 2024 to 2029.
MOMENTS = st.integers(1_704_067_200, 1_893_456_000)
#: 2026-01-01 is a Thursday, 2027-01-01 a Friday; 2028 is a leap year.
START = "2025-12-31T23:59:59"

#: Expression, the second from which to look, the next ticks in UTC. Found with a calendar on paper, not by running code; the
#: first block are the examples of Quartz' own tutorial and API page.
GOLDEN = """
0 0 12 * * ? | 2026-01-01T12:00 2026-01-02T12:00 2026-01-03T12:00
0 15 10 ? * * | 2026-01-01T10:15 2026-01-02T10:15
0 15 10 * * ? | 2026-01-01T10:15 2026-01-02T10:15
0 15 10 * * ? * | 2026-01-01T10:15 2026-01-02T10:15
0 15 10 * * ? 2005 | 2005-12-30T11:00 2005-12-31T10:15 never
0 * 14 * * ? | 2026-01-01T14:00 2026-01-01T14:01 2026-01-01T14:02
0 0/5 14 * * ? | 2026-01-01T14:00 2026-01-01T14:05 2026-01-01T14:10
0 0/5 14,18 * * ? | 2026-01-01T14:54 2026-01-01T14:55 2026-01-01T18:00 2026-01-01T18:05
0 0-5 14 * * ? | 2026-01-01T14:04 2026-01-01T14:05 2026-01-02T14:00
0 10,44 14 ? 3 WED | 2026-03-04T14:10 2026-03-04T14:44 2026-03-11T14:10
0 15 10 ? * MON-FRI | 2026-01-01T10:15 2026-01-02T10:15 2026-01-05T10:15
0 15 10 15 * ? | 2026-01-15T10:15 2026-02-15T10:15 2026-03-15T10:15
0 15 10 L * ? | 2026-01-31T10:15 2026-02-28T10:15 2026-03-31T10:15
0 15 10 L-2 * ? | 2026-01-29T10:15 2026-02-26T10:15 2026-03-29T10:15
0 15 10 ? * 6L | 2026-01-30T10:15 2026-02-27T10:15 2026-03-27T10:15
0 15 10 ? * 6L 2002-2005 | 2001-12-31T00:00 2002-01-25T10:15 2002-02-22T10:15 2002-03-29T10:15
0 15 10 ? * 6L 2002-2005 | 2005-12-29T00:00 2005-12-30T10:15 never
0 15 10 ? * 6#3 | 2026-01-16T10:15 2026-02-20T10:15 2026-03-20T10:15
0 0 12 1/5 * ? | 2026-01-25T00:00 2026-01-26T12:00 2026-01-31T12:00 2026-02-01T12:00
0 11 11 11 11 ? | 2026-11-11T11:11 2027-11-11T11:11
0 0/5 * * * ? | 2026-01-01T00:00 2026-01-01T00:05
10 0/5 * * * ? | 2026-01-01T00:00:10 2026-01-01T00:05:10
0 30 10-13 ? * WED,FRI | 2026-01-02T10:30 2026-01-02T11:30 2026-01-02T12:30 2026-01-02T13:30 2026-01-07T10:30
0 0/30 8-9 5,20 * ? | 2026-01-05T08:00 2026-01-05T08:30 2026-01-05T09:00 2026-01-05T09:30 2026-01-20T08:00

0 0 0 LW * ? | 2026-01-30T00:00 2026-02-27T00:00 2026-03-31T00:00
0 0 0 LW 5 ? | 2026-05-29T00:00 2027-05-31T00:00
0 0 0 15W * ? | 2026-01-15T00:00 2026-02-16T00:00 2026-03-16T00:00 2026-04-15T00:00
0 0 0 15W 8 ? | 2026-08-14T00:00
0 0 0 1W * ? | 2026-01-01T00:00 2026-02-02T00:00 2026-03-02T00:00 2026-04-01T00:00
0 0 0 1W 8 ? | 2026-08-03T00:00
0 0 0 28W 2 ? | 2026-02-27T00:00 2027-02-26T00:00
0 0 0 30W * ? | 2026-01-30T00:00 2026-03-30T00:00 2026-04-30T00:00 2026-05-29T00:00
0 0 0 31W * ? | 2026-01-30T00:00 2026-03-31T00:00 2026-05-29T00:00 2026-07-31T00:00 2026-08-31T00:00
0 0 0 L-3 * ? | 2026-01-28T00:00 2026-02-25T00:00 2026-03-28T00:00
0 0 0 L-3W * ? | 2026-01-28T00:00 2026-02-25T00:00 2026-03-27T00:00
0 0 0 L-30 * ? | 2026-01-01T00:00 2026-03-01T00:00 2026-05-01T00:00
0 0 0 L 2 ? | 2026-02-28T00:00 2027-02-28T00:00 2028-02-29T00:00
0 0 0 29 2 ? | 2028-02-29T00:00 2032-02-29T00:00
0 0 0 29 2 ? | 2095-01-01T00:00 2096-02-29T00:00 2104-02-29T00:00
0 0 0 31 * ? | 2026-01-31T00:00 2026-03-31T00:00 2026-05-31T00:00
0 0 0 1,15 * ? | 2026-01-01T00:00 2026-01-15T00:00 2026-02-01T00:00
0 0 0 30-2 * ? | 2026-01-01T00:00 2026-01-02T00:00 2026-01-30T00:00 2026-01-31T00:00 2026-02-01T00:00
0 0 0 ? * L | 2026-01-03T00:00 2026-01-10T00:00
0 0 0 ? * 7 | 2026-01-03T00:00 2026-01-10T00:00
0 0 0 ? * SAT | 2026-01-03T00:00 2026-01-10T00:00
0 0 0 ? * 1 | 2026-01-04T00:00 2026-01-11T00:00
0 0 0 ? * SUN | 2026-01-04T00:00 2026-01-11T00:00
0 0 9 ? * 2-6 | 2026-01-01T09:00 2026-01-02T09:00 2026-01-05T09:00
0 0 0 ? * FRI-MON | 2026-01-02T00:00 2026-01-03T00:00 2026-01-04T00:00 2026-01-05T00:00 2026-01-09T00:00
0 0 0 ? * 6-2 | 2026-01-02T00:00 2026-01-03T00:00 2026-01-04T00:00 2026-01-05T00:00 2026-01-09T00:00
0 0 0 ? * 7/2 | 2026-01-03T00:00 2026-01-10T00:00
0 0 0 ? * 2/2 | 2026-01-02T00:00 2026-01-05T00:00 2026-01-07T00:00 2026-01-09T00:00
0 0 0 ? * */2 | 2026-01-01T00:00 2026-01-03T00:00 2026-01-04T00:00 2026-01-06T00:00
0 0 0 ? * MON#1 | 2026-01-05T00:00 2026-02-02T00:00 2026-03-02T00:00
0 0 0 ? * 2#5 | 2026-03-30T00:00 2026-06-29T00:00
0 0 0 ? 2 6#5 | 2036-02-29T00:00 2064-02-29T00:00
0 0 0 ? * FRIL | 2026-01-30T00:00 2026-02-27T00:00
0 0 0 ? * 1L | 2026-01-25T00:00 2026-02-22T00:00 2026-03-29T00:00
0 43 9 ? * 5L | 2026-01-29T09:43 2026-02-26T09:43 2026-03-26T09:43
0 0 0 ? JAN,JUN SAT,SUN | 2026-01-03T00:00 2026-01-04T00:00 2026-01-10T00:00
0 0 0 ? jan mon-fri | 2026-01-01T00:00 2026-01-02T00:00 2026-01-05T00:00
0 0 0 1 NOV-FEB ? | 2026-01-01T00:00 2026-02-01T00:00 2026-11-01T00:00 2026-12-01T00:00
0 0 0 1 11-2 ? | 2026-01-01T00:00 2026-02-01T00:00 2026-11-01T00:00 2026-12-01T00:00
0 0 0 1 */5 ? | 2026-01-01T00:00 2026-06-01T00:00 2026-11-01T00:00 2027-01-01T00:00
0 0 22-2 * * ? | 2026-01-01T00:00 2026-01-01T01:00 2026-01-01T02:00 2026-01-01T22:00 2026-01-01T23:00
0 0 22-2/2 * * ? | 2026-01-01T00:00 2026-01-01T02:00 2026-01-01T22:00 2026-01-02T00:00
0 0 */6 * * ? | 2026-01-01T00:00 2026-01-01T06:00 2026-01-01T12:00 2026-01-01T18:00
50-10/10 * * * * ? | 2026-01-01T00:00:00 2026-01-01T00:00:10 2026-01-01T00:00:50 2026-01-01T00:01:00
/20 * * * * ? | 2026-01-01T00:00:00 2026-01-01T00:00:20 2026-01-01T00:00:40 2026-01-01T00:01:00
0 45 8-10/2 ? * MON | 2026-01-05T08:45 2026-01-05T10:45 2026-01-12T08:45
0 0 8-9,14 * * ? | 2026-01-01T08:00 2026-01-01T09:00 2026-01-01T14:00 2026-01-02T08:00
0 0 0 1 1 ? 2027/2 | 2027-01-01T00:00 2029-01-01T00:00
0 0 0 1 1 ? 2030,2028 | 2028-01-01T00:00 2030-01-01T00:00 never
0 0 0 1 1 ? 2099 | 2099-01-01T00:00 never
59 59 23 31 12 ? | 2026-12-31T23:59:59 2027-12-31T23:59:59
"""
#: The rows above whose first time is where to look from and not a tick.
STARTS = {
    "2005-12-30T11:00",
    "2026-01-01T14:54",
    "2026-01-01T14:04",
    "2001-12-31T00:00",
    "2005-12-29T00:00",
    "2026-01-25T00:00",
    "2095-01-01T00:00",
}
ROWS = [tuple(part.strip() for part in line.split("|")) for line in GOLDEN.strip().splitlines() if line]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


def quartz(expression: str, zone: str = "UTC", now: int = 0) -> schedule.Due:
    return schedule.compile(Schedule(quartz_cron_expression=expression, timezone_id=zone), now)


@pytest.mark.parametrize(("expression", "times"), ROWS)
def test_quartz_expressions_fire_as_its_documentation_says(expression, times):
    """docs/semantics.md, section 7."""
    want = times.split()
    start = want.pop(0) if want[0] in STARTS else START
    due, after = quartz(expression), ms(start)
    for text in want:
        after = due.next_after(after)
        assert after == (None if text == "never" else ms(text))


def test_the_golden_table_is_long_enough():
    assert len({expression for expression, _ in ROWS}) >= 60


#: Expression, what the message names, the mend it offers.
REFUSED = [
    ("0 0 12 * *", "should have 6 or 7 fields, has 5", "Unix cron has 5 fields: use schedule.cron"),
    ("0 0 12 * * ? 2026 1", "should have 6 or 7 fields, has 8", "seconds, minutes, hours"),
    ("@daily", "should have 6 or 7 fields, has 1", "0 0 0 * * ? is daily"),
    ("0 0 12 * * *", "are both given, '*' and '*'", "write ? for exactly one of them"),
    ("0 0 12 1 * MON", "are both given, '1' and 'MON'", "write ? for exactly one of them"),
    ("0 0 12 ? * ?", "are both ?", "write ? for exactly one of them"),
    ("0 0 ? * * ?", "hours '?'", "write *"),
    ("0 0 12 ?,5 * MON", "are both given, '?,5' and 'MON'", "write ? for exactly one of them"),
    ("0 0 12 ?,5 * ?", "day of month '?,5': ? stands alone", "write *"),
    ("0 0 12 ? * 0", "day of week '0': should be 1 to 7", "Sunday is 1 in Quartz"),
    ("0 0 12 ? * 0-5", "day of week '0-5': should be 1 to 7", "Sunday is 1 in Quartz"),
    ("0 0 12 ? * 8", "day of week '8': should be 1 to 7 or SUN to SAT", ""),
    ("0 0 12 ? * MUN", "day of week 'MUN': should be 1 to 7 or SUN to SAT", ""),
    ("60 0 12 * * ?", "seconds '60': should be 0 to 59", ""),
    ("0 60 12 * * ?", "minutes '60': should be 0 to 59", ""),
    ("0 0 24 * * ?", "hours '24': should be 0 to 23", "midnight is 0"),
    ("0 0 8-24 * * ?", "hours '8-24': '24' should be 0 to 23", "midnight is 0"),
    ("0 0 12 0 * ?", "day of month '0': should be 1 to 31", ""),
    ("0 0 12 32 * ?", "day of month '32': should be 1 to 31", ""),
    ("0 0 12 1 13 ?", "month '13': should be 1 to 12 or JAN to DEC", ""),
    ("0 0 12 1 0 ?", "month '0': should be 1 to 12 or JAN to DEC", ""),
    ("0 0 12 1 1 ? 1969", "year '1969': should be 1970 to 2099", ""),
    ("0 0 12 1 1 ? 2030-2028", "year '2030-2028': should not end before it starts", "write 2028-2030"),
    ("0 0/60 * * * ?", "minutes '0/60': the step after / should be 1 to 59", "a step begins anew"),
    ("0 */90 * * * ?", "minutes '*/90': the step after / should be 1 to 59", "a step begins anew"),
    ("0 0 */24 * * ?", "hours '*/24': the step after / should be 1 to 23", ""),
    ("0 0 0 ? * 2/8", "day of week '2/8': the step after / should be 1 to 7", ""),
    ("0 0/0 * * * ?", "minutes '0/0': the step after / should be 1 to 59", ""),
    ("0 0/ * * * ?", "minutes '0/': the step after / should be 1 to 59", ""),
    (
        "0 0 12 ? * MON-FRI/2",
        "day of week 'MON-FRI/2': Quartz ignores a step after a name",
        "write the number 2 for it",
    ),
    ("0 0 12 L,15 * ?", "day of month 'L,15': L and W stand alone", "another job"),
    ("0 0 12 1W,15W * ?", "day of month '1W,15W': L and W stand alone", "another job"),
    ("0 0 12 32W * ?", "day of month '32W': '32' should be 1 to 31", ""),
    ("0 0 12 L-31 * ?", "day of month 'L-31': should be at most 30 days before the last", "L-1 to L-30"),
    ("0 0 12 15L * ?", "day of month '15L': cannot be read", "write L, L-3, LW, 15W"),
    ("0 0 12 W * ?", "day of month 'W': cannot be read", "write L, L-3, LW, 15W"),
    ("0 0 12 1-5W * ?", "day of month '1-5W': cannot be read", ""),
    ("0 0 12 ? * 6L,2", "day of week '6L,2': L and # stand alone", "another job"),
    ("0 0 12 ? * 6#3,2#1", "day of week '6#3,2#1': L and # stand alone", "another job"),
    ("0 0 12 ? * 6#6", "day of week '6#6': # should be followed by 1 to 5", "write 6L"),
    ("0 0 12 ? * 6#0", "day of week '6#0': # should be followed by 1 to 5", ""),
    ("0 0 12 ? * 8L", "day of week '8L': '8' should be 1 to 7", ""),
    ("0 0 12 ? * #3", "day of week '#3': cannot be read", "write L, 6L, 6#3"),
    ("0 L * * * ?", "minutes 'L': should be 0 to 59", ""),
    ("0 1,,2 * * * ?", "minutes '1,,2': a number is missing", ""),
    ("0 5- * * * ?", "minutes '5-': a number is missing", ""),
    ("0 -5 * * * ?", "minutes '-5': a number is missing", ""),
    ("0 1-2-3 * * * ?", "minutes '1-2-3': '2-3' should be 0 to 59", ""),
    ("0 1.5 * * * ?", "minutes '1.5': should be 0 to 59", ""),
    ("0 ٣ * * * ?", "minutes '٣': should be 0 to 59", ""),
    (f"0 {'9' * 5000} * * * ?", "should be 0 to 59", ""),
    ("", "should have exactly one of quartz_cron_expression, cron", ""),
]


@pytest.mark.parametrize(("expression", "message", "mend"), REFUSED)
def test_what_quartz_refuses_is_refused_with_field_value_and_mend(expression, message, mend):
    """docs/semantics.md, section 7."""
    with pytest.raises(ScheduleError) as refused:
        quartz(expression)
    assert message in refused.value.message
    assert mend in refused.value.hint
    assert refused.value.field.startswith("schedule")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("0 0 0 30 2 ?", "names no day that exists, so it never fires"),
        ("0 0 0 31 4 ?", "names no day that exists, so it never fires"),
        ("0 0 0 31 2,4,6,9,11 ?", "names no day that exists, so it never fires"),
        ("0 0 0 31W 6 ?", "names no day that exists, so it never fires"),
        ("0 0 0 30W 2 ?", "names no day that exists, so it never fires"),
        ("0 0 0 L-29 2 ?", "names no day that exists, so it never fires"),
        ("0 0 0 29 2 ? 2026", "names no day that exists, so it never fires"),
        ("0 0 0 ? 2 6#5 2026-2030", "names no day that exists, so it never fires"),
        ("0 15 10 ? * 6L 2002-2005", "fires only in the past"),
        ("0 0 0 1 1 ? 2025", "fires only in the past"),
    ],
)
def test_an_expression_that_never_fires_again_is_refused(expression, message):
    """docs/reliability.md, D16."""
    with pytest.raises(ScheduleError) as refused:
        quartz(expression, now=ms("2026-01-01"))
    assert refused.value.message == message


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    pairs = st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1])  # croniter reads 2-2 as everything
    ranges = pairs.map(lambda pair: f"{pair[0]}-{pair[1]}")
    steps = st.tuples(st.one_of(st.just("*"), ranges), st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    part = st.one_of(numbers.map(str), ranges, steps)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


#: Pairs of a Quartz expression and what croniter needs to be told for it, weekdays as sets of numbers.
@st.composite
def common(draw: st.DrawFn) -> tuple[str, str]:
    second, minute, hour = (draw(st.integers(0, 59).map(str)), draw(_field(0, 59)), draw(_field(0, 23)))
    month = draw(st.one_of(st.just("*"), _field(1, 12)))
    if draw(st.booleans()):
        day = draw(_field(1, 31))
        return f"{second} {minute} {hour} {day} {month} ?", f"{second} {minute} {hour} {day} {month} *"
    weekdays = draw(st.sets(st.integers(1, 7), min_size=1))
    listed = ",".join(map(str, sorted(weekdays)))
    shifted = ",".join(str(number - 1) for number in sorted(weekdays))
    return f"{second} {minute} {hour} ? {month} {listed}", f"{second} {minute} {hour} * {month} {shifted}"


@patient
@given(common(), MOMENTS)
def test_croniter_agrees_where_it_speaks_the_language(pair, start):
    """docs/semantics.md, section 7."""
    expression, translated = pair
    start = datetime.fromtimestamp(start, timezone.utc)
    try:
        due = quartz(expression)
    except ScheduleError:
        assume(False)  # it names no day that exists
    oracle = croniter(translated, start, second_at_beginning=True)
    after = int(start.timestamp()) * 1000
    for _ in range(5):
        after = due.next_after(after)
        assert after == int(oracle.get_next(datetime).timestamp()) * 1000


@patient
@given(common(), st.integers(0, 4_000_000_000_000), st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]))
def test_ticks_only_go_forward_and_are_whole_seconds(pair, start, zone):
    """docs/reliability.md, D11."""
    try:
        due = quartz(pair[0], zone)
    except ScheduleError:
        return
    ticks = due.between(start, start + int(timedelta(days=3650).total_seconds() * 1000), 20)
    assert ticks == sorted(set(ticks))
    assert all(tick > start and tick % 1000 == 0 for tick in ticks)
