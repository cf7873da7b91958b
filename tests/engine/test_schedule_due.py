"""Ticks, catching up and words (``docs/semantics.md``, section 7)."""

from __future__ import annotations

import itertools
from datetime import datetime, timezone

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wfengine import schedule
from wfengine.errors import JobFileError, ScheduleError
from wfengine.jobfile import read
from wfengine.jobs import Schedule
from wfengine.layer import Layer
from wfengine.schedule import CatchUp, MissedRange, catch_up

#: A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
#: 2026-01-01, a Thursday.
START = int(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()) * 1000
MINUTELY = schedule.compile(Schedule(cron="* * * * *"))
SECONDLY = schedule.compile(Schedule(quartz_cron_expression="* * * * * ?", timezone_id="Europe/Berlin"))
DAILY = schedule.compile(Schedule(cron="0 6 * * *"))


def test_a_tick_is_strictly_after_the_moment_asked_for():
    assert DAILY.next_after(START) == START + 6 * HOUR
    assert DAILY.next_after(START + 6 * HOUR - 1) == START + 6 * HOUR
    assert DAILY.next_after(START + 6 * HOUR) == START + DAY + 6 * HOUR
    assert DAILY.next_after(START + 6 * HOUR + 999) == START + DAY + 6 * HOUR


@pytest.mark.parametrize("ms", [-(2**62), -1, 0, 253_402_300_799_000, 2**62])
def test_moments_far_away_are_answered_too(ms):
    """docs/reliability.md, D12: a clock may show anything."""
    for due in (DAILY, SECONDLY):
        tick = due.next_after(ms)
        assert (tick is None) == (ms > 222_000_000_000_000)
        assert tick is None or tick >= 0
        assert due.count(ms, ms) == 0


class TestCatchUp:
    """docs/semantics.md, section 7; docs/reliability.md, D11, D12, D13, D18."""

    def test_latest_runs_the_newest_and_tells_the_rest_as_one_range(self):
        now = START + 5 * MINUTE + 30_000
        assert catch_up("latest", MINUTELY, START, now) == CatchUp(
            (START + 5 * MINUTE,), MissedRange(START + MINUTE, START + 4 * MINUTE, 4)
        )

    def test_all_runs_each_of_them(self):
        assert catch_up("all", MINUTELY, START, START + 3 * MINUTE) == CatchUp(
            (START + MINUTE, START + 2 * MINUTE, START + 3 * MINUTE)
        )

    def test_all_runs_the_newest_hundred_and_no_more(self):
        made = catch_up("all", MINUTELY, START, START + DAY)
        assert len(made.run) == 100
        assert made.run[-1] == START + DAY
        assert made.missed == MissedRange(START + MINUTE, START + DAY - 100 * MINUTE, 1340)

    def test_none_runs_nothing_that_was_missed(self):
        made = catch_up("none", MINUTELY, START, START + 3 * MINUTE)
        assert made == CatchUp((), MissedRange(START + MINUTE, START + 3 * MINUTE, 3))

    def test_none_runs_what_is_on_time(self):
        made = catch_up("none", MINUTELY, START, START + 3 * MINUTE + 400, grace=30_000)
        assert made == CatchUp((START + 3 * MINUTE,), MissedRange(START + MINUTE, START + 2 * MINUTE, 2))

    @pytest.mark.parametrize("policy", schedule.POLICIES)
    def test_nothing_is_due_between_ticks_and_when_the_clock_went_back(self, policy):
        assert catch_up(policy, DAILY, START + 7 * HOUR, START + 8 * HOUR) == CatchUp()
        assert catch_up(policy, DAILY, START + DAY, START + DAY - 2 * HOUR) == CatchUp()

    def test_thirty_days_of_a_minutely_job_are_one_run_and_one_range(self):
        made = catch_up("latest", MINUTELY, START, START + 30 * DAY)
        assert made == CatchUp((START + 30 * DAY,), MissedRange(START + MINUTE, START + 30 * DAY - MINUTE, 43_199))

    def test_ten_years_of_a_secondly_job_are_counted_and_not_listed(self, monkeypatch):
        asked = itertools.count()
        first = SECONDLY._times.first
        monkeypatch.setattr(SECONDLY._times, "first", lambda local: (next(asked), first(local))[1])
        made = catch_up("all", SECONDLY, START, START + 3652 * DAY)
        assert made.missed.count == 3652 * 86_400 - 100
        assert next(asked) < 1_000

    def test_an_unknown_policy_is_refused(self):
        with pytest.raises(ScheduleError, match=r"should be one of latest, all, none \(did you mean 'latest'\?\)"):
            catch_up("lates", DAILY, START, START)

    @patient
    @given(
        st.sampled_from(schedule.POLICIES), st.sampled_from(["*/7 * * * *", "30 1,2 * * *", "0 6 * * 1", "15 */5 1-9 * *"]),
        st.integers(0, 20 * DAY), st.integers(0, 20 * DAY), st.integers(1, 9), st.sampled_from([0, HOUR, 30 * DAY]),
    )  # fmt: skip
    def test_every_tick_is_run_or_missed_exactly_once(self, policy, cron, begin, length, cap, grace):
        due = schedule.compile(Schedule(cron=cron, timezone_id="Europe/Berlin"))
        cursor = 1_774_000_000_000 + begin  # March 2026: the clocks change on the 29th
        made = catch_up(policy, due, cursor, cursor + length, cap=cap, grace=grace)
        ticks = due.between(cursor, cursor + length, 100_000)
        missed = ticks[: len(ticks) - len(made.run)]
        assert list(made.run) == ticks[len(missed) :]
        on_time = sum(tick > cursor + length - grace for tick in ticks)
        assert len(made.run) == min(len(ticks), {"latest": 1, "all": cap, "none": min(on_time, cap)}[policy])
        assert made.missed == (MissedRange(missed[0], missed[-1], len(missed)) if missed else None)


@patient
@given(st.lists(st.integers(0, 40 * DAY), min_size=3, max_size=3))
def test_a_window_split_in_two_gives_the_same_ticks(offsets):
    """docs/reliability.md, D13: where the cursor stops makes no difference."""
    due = schedule.compile(Schedule(cron="5,40 */3 * * *", timezone_id="America/New_York"))
    begin, middle, end = (1_772_000_000_000 + offset for offset in sorted(offsets))  # over the change of 8 March 2026
    whole = due.between(begin, end, 10_000)
    assert due.between(begin, middle, 10_000) + due.between(middle, end, 10_000) == whole
    assert due.count(begin, middle) + due.count(middle, end) == due.count(begin, end) == len(whole)


@pytest.mark.parametrize(("unit", "length"), [("MINUTES", MINUTE), ("HOURS", HOUR), ("DAYS", DAY), ("WEEKS", 7 * DAY)])
def test_periodic_ticks_count_from_their_anchor(unit, length):
    """docs/semantics.md, section 7."""
    due = schedule.every(3, unit, START + 7)
    assert due.next_after(0) == START + 7 + 3 * length
    assert due.next_after(START + 7 + 3 * length) == START + 7 + 6 * length
    assert due.count(0, START + 7 + 9 * length) == 3
    assert due.count(START + 7 + 3 * length, START + 7 + 9 * length - 1) == 1
    assert due.latest(0, START + 7 + 10 * length, 1) == [START + 7 + 9 * length]
    assert due.words() == f"every 3 {unit.lower()}"


def test_a_periodic_trigger_of_another_unit_or_no_length_is_refused():
    with pytest.raises(
        ScheduleError, match=r"trigger.periodic.unit 'HOUR': should be one of .* \(did you mean 'HOURS'\?\)"
    ):
        schedule.every(1, "HOUR", 0)
    with pytest.raises(ScheduleError, match=r"trigger.periodic.interval '0': should be at least 1"):
        schedule.every(0, "HOURS", 0)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("15 2 * * 1-5", "at 02:15 on Monday to Friday"),
        ("0 6 * * *", "at 06:00"),
        ("0,30 6,18 * * *", "at 06:00, 06:30, 18:00 and 18:30"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/7 * * * *", "*/7 * * * *"),
        ("0 * * * *", "every hour"),
        ("5 */2 * * *", "every 2 hours at :05"),
        ("5,35 9-17 * * MON,WED", "every hour at :05 and :35 from 09 to 17 o'clock on Monday and Wednesday"),
        ("*/10 8-9 * * *", "every 10 minutes from 08:00 to 09:59"),
        ("0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month or on Friday"),
        ("0 0 1 1-3,12 *", "at 00:00 on day 1 of the month in January to March and December"),
        ("0 15 10 ? * 6L 2027-2029", "at 10:15 on the last Friday of the month in 2027 to 2029"),
        ("0 15 10 ? * 6#3", "at 10:15 on the third Friday of the month"),
        ("30 15 10 L * ?", "at 10:15:30 on the last day of the month"),
        ("0 0 0 L-1 * ?", "at 00:00 1 day before the last day of the month"),
        ("0 0 0 LW * ?", "at 00:00 on the last workday of the month"),
        ("0 0 0 L-3W * ?", "at 00:00 on the workday nearest to 3 days before the last day of the month"),
        ("0 0 0 15W * ?", "at 00:00 on the workday nearest to day 15 of the month"),
        ("*/10 * * * * ?", "every 10 seconds"),
        ("10 */5 * * * ?", "every 5 minutes at second 10"),
        ("*/7 3 * * * ?", "*/7 3 * * * ?"),
    ],
)
def test_a_schedule_is_said_in_words(expression, words):
    unix = len(expression.split()) == 5
    found = Schedule(cron=expression if unix else "", quartz_cron_expression="" if unix else expression)
    assert schedule.compile(found).words() == f"{words}, UTC"


def test_an_unknown_time_zone_is_refused_with_a_suggestion():
    with pytest.raises(ScheduleError, match=r"timezone_id 'Europe/Roma': is not .* \(did you mean 'Europe/Rome'\?\)"):
        schedule.compile(Schedule(cron="0 6 * * *", timezone_id="Europe/Roma"))


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to say."""


class Quiet(Layer[Config]):
    """A layer that does nothing."""

    name = "quiet"
    Config = Config

    def run(self, context):
        raise NotImplementedError


@pytest.fixture
def job_file(tmp_path):
    def write(schedule_line: str):
        path = tmp_path / "job.yml"
        path.write_text(f"name: j\n{schedule_line}\ntasks: [{{task_key: a, quiet_task: {{}}}}]\n")
        return read(path, {"quiet": Quiet}, root=tmp_path).job

    return write


@pytest.mark.parametrize("policy", schedule.POLICIES)
def test_a_job_file_says_what_becomes_of_missed_ticks(job_file, policy):
    """docs/semantics.md, section 7."""
    assert job_file("schedule: {cron: 0 6 * * *}").schedule.catch_up == "latest"
    assert job_file(f"schedule: {{cron: 0 6 * * *, catch_up: {policy}}}").schedule.catch_up == policy


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("schedule: {cron: 0 6 * * *, catch_up: newest}", "schedule.catch_up: should be one of all, latest, none"),
        ("schedule: {cron: 0 0 30 2 *}", "schedule.cron: names no day that exists, so it never fires"),
        ("schedule: {cron: 0 25 * * *}", "schedule.cron: hours '25': should be numbers from 0 to 23"),
        (
            "schedule: {quartz_cron_expression: 0 0 6 * * *}",
            "schedule.quartz_cron_expression: day of month and day of week are both given",
        ),
        (
            "schedule: {quartz_cron_expression: 0 15 10 ? * 6L 2002-2005}",
            "schedule.quartz_cron_expression: fires only in the past",
        ),
        ("schedule: {timezone_id: Mars/Phobos}", "schedule.timezone_id: is not a time zone of the IANA list"),
    ],
)
def test_a_job_file_with_a_bad_schedule_is_refused_with_its_line(job_file, line, fault):
    """docs/reliability.md, D16."""
    with pytest.raises(JobFileError) as refused:
        job_file(line)
    assert any(found.line == 2 and fault in str(found) for found in refused.value.faults)


def test_a_bad_zone_and_a_bad_expression_are_both_listed(job_file):
    with pytest.raises(JobFileError) as refused:
        job_file("schedule: {cron: 0 25 * * *, timezone_id: Europe/Roma}")
    assert [found.field for found in refused.value.faults] == ["schedule.cron", "schedule.timezone_id"]
