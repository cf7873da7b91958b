"""Unix cron expressions (``docs/semantics.md``, section 7)."""

from __future__ import annotations

from datetime import datetime, timezone

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
#: 2026-01-01 is a Thursday.
START = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()) * 1000


def unix(expression: str, zone: str = "UTC", now: int = 0) -> schedule.Due:
    return schedule.compile(Schedule(cron=expression, timezone_id=zone), now)


def ticks(expression: str, count: int) -> list[str]:
    found = unix(expression).between(START - 1, START * 2, count)
    return [datetime.fromtimestamp(tick / 1000, timezone.utc).strftime("%m-%d %H:%M") for tick in found]


@pytest.mark.parametrize(
    ("expression", "want"),
    [
        ("0 6 * * *", ["01-01 06:00", "01-02 06:00"]),
        ("*/15 * * * *", ["01-01 00:00", "01-01 00:15", "01-01 00:30"]),
        ("5/20 * * * *", ["01-01 00:05", "01-01 00:25", "01-01 00:45", "01-01 01:05"]),
        ("15 2 * * 1-5", ["01-01 02:15", "01-02 02:15", "01-05 02:15"]),
        ("15 2 * * mon-fri", ["01-01 02:15", "01-02 02:15", "01-05 02:15"]),
        ("0 0 * * 0", ["01-04 00:00", "01-11 00:00"]),
        ("0 0 * * 7", ["01-04 00:00", "01-11 00:00"]),
        ("0 0 * * SUN", ["01-04 00:00", "01-11 00:00"]),
        ("0 0 * * 5-7", ["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-09 00:00"]),
        ("0 0 * * FRI-SUN", ["01-02 00:00", "01-03 00:00", "01-04 00:00", "01-09 00:00"]),
        ("0 0 * * 2-2", ["01-06 00:00", "01-13 00:00"]),
        ("0 22-2 * * *", ["01-01 00:00", "01-01 01:00", "01-01 02:00", "01-01 22:00"]),
        # Both day fields restricted: one of them is enough. 13 January 2026 is a Tuesday.
        ("0 0 13 * 5", ["01-02 00:00", "01-09 00:00", "01-13 00:00", "01-16 00:00"]),
        ("0 0 13 * *", ["01-13 00:00", "02-13 00:00"]),
        ("0 0 1 JAN,JUL *", ["01-01 00:00", "07-01 00:00", "01-01 00:00"]),
        ("0 0 30 2 1", ["02-02 00:00", "02-09 00:00"]),
        ("0 *,1-3 * * *", ["01-01 00:00", "01-01 01:00", "01-01 02:00", "01-01 03:00", "01-01 04:00"]),
    ],
)
def test_unix_expressions_mean_what_cron_means(expression, want):
    """docs/semantics.md, section 7."""
    assert ticks(expression, len(want)) == want


@pytest.mark.parametrize(
    ("expression", "message", "mend"),
    [
        ("0 0 6 * * ?", "should have 5 fields, has 6", "Quartz has 6 fields: use schedule.quartz_cron_expression"),
        ("0 6 * *", "should have 5 fields, has 4", "minutes, hours, day of month"),
        ("@daily", "should have 5 fields, has 1", "0 0 * * * is daily"),
        ("0 24 * * *", "hours '24': should be numbers from 0 to 23", "midnight is 0"),
        ("60 * * * *", "minutes '60': should be numbers from 0 to 59", ""),
        ("0 0 0 * *", "day of month '0': should be numbers from 1 to 31", ""),
        ("0 0 1 13 *", "month '13': should be numbers from 1 to 12 or JAN to DEC", ""),
        ("0 0 * * 8", "day of week '8': should be numbers from 0 to 7 or MON to SUN", ""),
        ("0 0 * * MUN", "day of week 'MUN': should be", ""),
        ("0 0 * * JAN", "day of week 'JAN': should be", ""),
        ("0 0 ? * 1", "day of month '?': should be", "use schedule.quartz_cron_expression"),
        ("0 0 L * *", "day of month 'L': should be", "use schedule.quartz_cron_expression"),
        ("0 0 * * 5#2", "day of week '5#2': should be", "use schedule.quartz_cron_expression"),
        ("h h * * *", "minutes 'h': should be", ""),
        ("R(0-9) * * * *", "minutes 'R(0-9)': should be", ""),
        ("*/90 * * * *", "minutes '*/90': the step after / should be 1 to 59", ""),
        ("*/0 * * * *", "minutes '*/0': the step after / should be 1 to 59", ""),
        ("0 22-2/2 * * *", "hours '22-2/2': a range with a step should not end before it starts", ""),
        ("0 0 * * 7/2", "day of week '7/2': a range or step should begin Sunday as 0", ""),
        ("*-5 * * * *", "minutes '*-5': should be", ""),
        ("1,,2 * * * *", "minutes '1,,2': should be", ""),
        (f"{'9' * 5000} * * * *", "minutes '999", ""),
    ],
)
def test_what_cron_does_not_know_is_refused_with_field_value_and_mend(expression, message, mend):
    """docs/semantics.md, section 7."""
    with pytest.raises(ScheduleError) as refused:
        unix(expression)
    assert refused.value.field == "schedule.cron"
    assert message in refused.value.message
    assert mend in refused.value.hint
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4 *", "0 0 31 2,4,6,9,11 *", "0 0 30-31 2 *"])
def test_an_expression_that_names_no_day_is_refused(expression):
    """docs/reliability.md, D16."""
    with pytest.raises(ScheduleError, match="names no day that exists, so it never fires"):
        unix(expression)


BOUNDS = {
    "minute": (0, 0, 59, 59),
    "hour": (1, 0, 23, 23),
    "day": (2, 1, 31, 31),
    "month": (3, 1, 12, 12),
    "weekday": (4, 0, 6, 7),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_every_range_and_step_is_read_as_written(field):
    """docs/semantics.md, section 7: all ``a``, ``a-b``, ``a/n``, ``a-b/n`` and ``*/n``, against their definition."""
    index, low, high, top = BOUNDS[field]
    from wfengine.schedule.cron import _numbers

    step_of = (None, 1, 2, 3, 7)
    wrong = {}
    for a, b, step in (
        (a, b, step) for a in range(low, top + 1) for b in (None, *range(low, top + 1)) for step in step_of
    ):
        text = f"{a}" + ("" if b is None else f"-{b}") + (f"/{step}" if step else "")
        last = b if b is not None else high if step else a
        want = [
            low + (n - low) % (high - low + 1)
            for n in range(a, (last if last >= a else last + high - low + 1) + 1, step or 1)
        ]
        try:
            found = _numbers.__wrapped__(index, text) or range(low, high + 1)
        except ScheduleError:
            # Refused, and rightly so: a step across the end, or Sunday written as 7 at the start of a range.
            assert (step and b is not None and b < a) or (field == "weekday" and (a == 7 or (a, b) == (0, 7))), text
            continue
        if set(found) != set(want):
            wrong[text] = found
    assert wrong == {}


@patient
@given(
    st.lists(st.integers(0, 59), min_size=1, max_size=3), st.sampled_from(["*", "*/3", "9-17", "0,12"]),
    st.sampled_from(["*", "1", "10-20", "31", "*/2"]), st.sampled_from(["*", "2", "JAN-MAR", "*/5"]),
    st.sampled_from(["*", "0", "7", "MON-FRI", "1,3", "5-7"]), MOMENTS,
)  # fmt: skip
def test_we_walk_the_calendar_as_croniter_does(minutes, hours, days, months, weekdays, start):
    """docs/semantics.md, section 7."""
    expression = f"{','.join(map(str, minutes))} {hours} {days} {months} {weekdays}"
    start = datetime.fromtimestamp(start, timezone.utc)
    try:
        due = unix(expression)
    except ScheduleError:
        assume(False)  # it names no day that exists
    oracle = croniter(expression, start)
    after = int(start.timestamp()) * 1000
    for _ in range(5):
        after = due.next_after(after)
        assert after == int(oracle.get_next(datetime).timestamp()) * 1000


def test_croniter_is_imported_only_when_a_unix_expression_is_read():
    import subprocess
    import sys

    code = (
        "import sys; from wfengine import schedule; from wfengine.jobs import Schedule\n"
        "schedule.compile(Schedule(quartz_cron_expression='0 0 12 * * ?')); assert 'croniter' not in sys.modules\n"
        "schedule.compile(Schedule(cron='0 12 * * *')); assert 'croniter' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
